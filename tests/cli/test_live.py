"""`nstc stylize --show` and `--virtual-camera`."""

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from unplugged_cameras import unplug_after

pytest.importorskip("av", reason='not installed: pip install "nstc[video]"')

import av
import numpy as np

from nstc.core.errors import DisplayError

CAMERA = "lavfi:testsrc=size=64x48:rate=60"


@pytest.fixture
def windows(monkeypatch):
    """Those that were opened, in the place of real ones; the first types what `typed` holds."""
    opened = []

    class Window:
        typed = ""

        def __init__(self):
            self.frames, self.open = [], True
            opened.append(self)

        def show(self, rgb, status) -> None:
            self.frames.append(rgb)

        def keys(self) -> str:
            typed = Window.typed if self.frames else ""
            Window.typed = "" if self.frames else Window.typed
            return typed

        def close(self) -> None:
            self.open = False

    monkeypatch.setattr("nstc.runtime.video.displays.Window", Window)
    return SimpleNamespace(opened=opened, kind=Window)


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=50)
        stream.width, stream.height = 64, 48
        for level in range(5):
            rgb = np.full((48, 64, 3), 50 * level, np.uint8)
            rgb[:24] = 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def frames_in(path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_camera_is_shown_and_nothing_written(nstc, bundle, windows, tmp_path) -> None:
    done = nstc("stylize", "--camera", CAMERA, "--show", "--frames", 6, "-m", bundle.path)
    assert done.code == 0, done.err
    (window,) = windows.opened
    shown = len(window.frames)
    assert done.out.startswith(f"camera {CAMERA}  {shown} frames shown, ")
    assert done.out.endswith(f" ms each  {6 - shown} dropped\n")
    assert "keys in the window: + and - change the strength" in done.err
    assert not window.open
    assert [path.name for path in tmp_path.iterdir()] == ["negative"]


def test_json_and_a_recording(nstc, bundle, windows, tmp_path) -> None:
    out = tmp_path / "out.mp4"
    options = ["--frames", 6, "--size", 32, "--stabilize", "--crf", 30, "--json"]
    done = nstc("stylize", "--camera", CAMERA, "--show", "-m", bundle.path, "-o", out, *options)
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["schema"] == "nstc.stylize-live/1"
    assert said["frames"] + said["dropped"] == 6
    assert (said["stabilized"], said["interrupted"], said["damage"]) == (True, False, None)
    assert (said["recording"]["output"], said["recording"]["crf"]) == (str(out), 30)
    assert frames_in(out) == said["frames"] == said["recording"]["frames"]
    assert {rgb.shape for rgb in windows.opened[0].frames} == {(24, 32, 3)}


def test_a_line_for_what_is_recorded(nstc, bundle, windows, tmp_path) -> None:
    out = tmp_path / "out.mp4"
    windows.kind.typed = "sq"
    done = nstc("stylize", "--camera", CAMERA, "--show", "-m", bundle.path, "-o", out)
    assert done.code == 0, done.err
    shown, written = done.out.splitlines()
    count = frames_in(out)
    assert f"  {count} frames shown, " in shown
    assert written.startswith(f"{out}  64x48  {count} frame")
    assert f"saved {tmp_path / 'out-0001.png'}" in done.err
    assert (tmp_path / "out-0001.png").is_file()


def test_a_video_is_played(nstc, bundle, windows, clip) -> None:
    done = nstc("stylize", clip, "--show", "-m", bundle.path, "--strength", 0)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{clip}  ")
    last = windows.opened[0].frames[-1].astype(int)
    assert abs(last - 200).max() <= 3  # the fifth frame, of which strength 0 changes nothing


def test_a_virtual_camera(nstc, bundle, monkeypatch) -> None:
    sent = []

    def camera(*, width, height, fps):
        return SimpleNamespace(device="/dev/video7", send=sent.append, close=lambda: None)

    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=camera))
    done = nstc("stylize", "--camera", CAMERA, "--virtual-camera", "--frames", 3, "-m", bundle.path)
    assert done.code == 0, done.err
    assert "frames of 64x48 go to the camera /dev/video7" in done.err
    assert f"  {len(sent)} frames shown, " in done.out
    assert sent


def test_a_camera_that_is_unplugged(nstc, bundle, windows, monkeypatch, tmp_path) -> None:
    unplug_after(3, monkeypatch)
    out = tmp_path / "out.mp4"
    done = nstc("stylize", "--camera", CAMERA, "--show", "-m", bundle.path, "-o", out)
    assert (done.code, done.error) == (
        15,
        f"nstc: camera {CAMERA}: it breaks off: No such device after 3 frames. What came before "
        f"was shown and recorded in {out}.",
    )
    assert frames_in(out) > 0


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "nstc stylize needs --output: the picture or video to write, a folder for"),
        (["clip.mp4"], 2, "nstc stylize needs --output: "),
        (["--camera", "0"], 2, "nstc stylize needs --output: "),
        (["--show"], 3, "no video was given: name a file, or give --camera"),
        (["a.png", "--show"], 3, "--show applies to videos only"),
        (["a.png", "--virtual-camera", "-o", "b.png"], 3, "--virtual-camera applies to videos"),
        (["clip.mp4", "--show", "-o", "out.mp4"], 3, "with -o, or watch it with --show, not both"),
        (["clip.mp4", "--show", "-o", "-"], 3, "-o - works for pictures only"),
        (["clip.mp4", "--show", "--crf", "20"], 3, "codec and crf are of a recording"),
        (["clip.mp4", "clip.mp4", "--show"], 3, "give one video at a time"),
        (["--camera", CAMERA, "--show", "-o", "out.png"], 3, "ends in .mp4"),
        (["--camera", "v4l2:/dev/video99", "--show"], 14, "can't be opened: No such file"),
        (["missing.mp4", "--show"], 14, "there is no such file"),
        (["--camera", CAMERA, "--virtual-camera"], 5, "run  pip install pyvirtualcam"),
    ],
)
def test_what_can_not_be(
    nstc, bundle, clip, windows, monkeypatch, tmp_path, arguments, code, told
) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    monkeypatch.chdir(tmp_path)
    done = nstc("stylize", *arguments, "-m", bundle.path)
    assert (done.code, told in done.error) == (code, True), done.err
    assert not any(window.open for window in windows.opened)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "negative"]


def test_no_screen(nstc, bundle, monkeypatch) -> None:
    def none() -> None:
        raise DisplayError("no window can be opened.")

    monkeypatch.setattr("nstc.runtime.video.displays.Window", none)
    done = nstc("stylize", "--camera", CAMERA, "--show", "-m", bundle.path)
    assert (done.code, done.err) == (16, "nstc: no window can be opened.\n")


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="not installed: apt-get install xvfb")
def test_a_real_window_in_a_real_process(bundle, tmp_path) -> None:
    pytest.importorskip("tkinter", reason="not installed: apt-get install python3-tk")
    reading, writing = os.pipe()
    screen = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "320x240x24", "-nolisten", "tcp"]
    with subprocess.Popen(screen, pass_fds=[writing], stderr=subprocess.DEVNULL) as server:
        os.close(writing)
        with os.fdopen(reading) as told:
            environment = {**os.environ, "DISPLAY": f":{told.readline().strip()}"}
        command = [sys.executable, "-m", "nstc", "stylize", "--camera", CAMERA, "--show"]
        done = subprocess.run(
            [*command, "-m", str(bundle.path), "--frames", "5"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=environment,
        )
        server.terminate()
    assert done.returncode == 0, done.stderr
    assert " frames shown, " in done.stdout
    assert done.stderr.startswith("keys in the window: ")
    assert len(done.stderr.splitlines()) == 1
