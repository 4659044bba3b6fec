import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("av", reason='not installed: pip install "nstc[video]"')

import av
import numpy as np


@pytest.fixture
def clip(tmp_path):
    """Writes a grey film of some frames; an ending of .mkv lets it be cut."""

    def make(name="clip.mp4", frames=8):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.codec_context.gop_size = 64, 48, 2
            rng = np.random.default_rng(1)
            for _ in range(frames):
                rgb = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            container.mux(stream.encode(None))
        return path

    return make


def frames_in(path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_line_with_size_frames_and_rate(nstc, bundle, clip, tmp_path) -> None:
    out = tmp_path / "out.mp4"
    done = nstc("stylize", clip(), "-m", bundle.path, "-o", out, "--threads", 1)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{out}  64x48  8 frames at 10 fps  h264  ")
    assert "stylising frames: 8 steps" in done.err
    assert frames_in(out) == 8


def test_json_says_what_was_made(nstc, bundle, clip, tmp_path) -> None:
    out = tmp_path / "out.webm"
    options = ["--frames", 4, "--stabilize", "--crf", 40, "--json", "--size", 32]
    done = nstc("stylize", clip(), "-m", bundle.path, "-o", out, *options)
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert said["schema"] == "nstc.stylize-video/1"
    expected = {
        "source": str(tmp_path / "clip.mp4"), "output": str(out), "width": 32, "height": 24,
        "frames": 4, "seconds": 0.3, "rate_fps": 10, "codec": "vp9", "crf": 40, "sound": [],
        "rotation": 0, "sample_aspect": "1:1", "stabilized": True, "damage": None,
    }  # fmt: skip
    assert {key: said[key] for key in expected} == expected


def test_into_a_folder_it_keeps_its_name(nstc, bundle, clip, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    assert nstc("stylize", clip(), "-m", bundle.path, "-o", tmp_path / "out").code == 0
    assert frames_in(tmp_path / "out" / "clip.mp4") == 8


def test_a_name_that_is_no_utf_8(bundle, clip, tmp_path) -> None:
    """In a locale of UTF-8, whose standard output refuses it."""
    name, out = (os.fsdecode(word) for word in (b"caf\xe9.mp4", b"out\xe9.mp4"))
    clip(name)
    command = [sys.executable, "-m", "nstc", "stylize", name, "-m", str(bundle.path), "-o", out]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("out\\udce9.mp4  64x48  8 frames")
    assert frames_in(tmp_path / out) == 8


def test_a_camera(nstc, bundle, tmp_path) -> None:
    out = tmp_path / "out.mp4"
    camera = "lavfi:testsrc=size=64x48:rate=12"
    options = ["--camera", camera, "--seconds", 0.5]
    done = nstc("stylize", *options, "-m", bundle.path, "-o", out)
    assert done.code == 0, done.err
    assert "6 frames at 12 fps" in done.out
    assert frames_in(out) == 6


def test_a_damaged_film_is_kept_and_told_of_last(nstc, bundle, clip, tmp_path) -> None:
    source = clip("clip.mkv", frames=40)
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    out = tmp_path / "out.mp4"
    done = nstc("stylize", source, "-m", bundle.path, "-o", out, "--json")
    assert done.code == 15
    said = json.loads(done.out)
    assert 0 < said["frames"] == frames_in(out) < 40
    assert done.error == (
        f"nstc: {source} is damaged: {said['damage']}. The {said['frames']} frames that could be "
        f"read are in {out}."
    )


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["clip.mp4", "-o", "out.avi"], 3, "ends in .mp4, .m4v, .mov, .mkv, .webm"),
        (["clip.mp4", "-o", "out.png"], 3, "ends in .mp4"),
        (["clip.mp4", "-o", "-"], 3, "-o - works for pictures only"),
        (["clip.mp4", "-o", "clip.mp4"], 3, "is the video that is read"),
        (["clip.mp4", "clip.mp4", "-o", "out.mp4"], 3, "give one video at a time"),
        (["clip.mp4", "--camera", "0", "-o", "out.mp4"], 3, "were both given"),
        (["-o", "out.mp4"], 3, "no video was given"),
        (["-", "-o", "out.mp4"], 3, "a video must be a file"),
        (["https://nowhere.example/a.mp4", "-o", "out.mp4"], 3, "Save it first"),
        (["clip.mp4", "-o", "out.mp4", "--glob", "*.x"], 3, "--glob applies to pictures only"),
        (
            ["clip.mp4", "-o", "out.mp4", "--skip-existing"],
            3,
            "--skip-existing applies to pictures only",
        ),
        (["clip.mp4", "-o", "out.mp4", "--codec", "divx"], 3, "codec is divx"),
        (["clip.mp4", "-o", "out.mp4", "--crf", "99"], 3, "crf is 99"),
        (["clip.mp4", "-o", "out.mp4", "--frames", "0"], 3, "frames is 0"),
        (["a.png", "-o", "out.png", "--stabilize", "--frames", "2"], 3, "applies to videos only"),
        (["missing.mp4", "-o", "out.mp4"], 14, "there is no such file"),
        (["--camera", "9x", "-o", "out.mp4"], 14, "expected a number"),
        (["-o", "out.png"], 3, "no photographs were given"),
    ],
)
def test_what_can_not_be(nstc, bundle, clip, monkeypatch, tmp_path, arguments, code, told) -> None:
    clip()
    monkeypatch.chdir(tmp_path)
    done = nstc("stylize", *arguments, "-m", bundle.path)
    assert (done.code, told in done.error) == (code, True), done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "negative"]


def test_what_to_install(nstc, bundle, clip, monkeypatch, tmp_path) -> None:
    source = clip()
    for name in [name for name in sys.modules if name.startswith("nstc.runtime.video.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "av", None)
    done = nstc("stylize", source, "-m", bundle.path, "-o", tmp_path / "out.mp4")
    assert (done.code, done.error) == (
        5, 'nstc: av is not installed: run  pip install "nstc[video]"',
    )  # fmt: skip


def test_ctrl_c_ends_a_recording(bundle, tmp_path) -> None:
    """A real signal to a real process: the film is whole and the process ends by itself."""
    out = tmp_path / "out.mp4"
    camera = "lavfi:testsrc=size=64x48:rate=25,realtime"
    command = [sys.executable, "-m", "nstc", "stylize", "--camera", camera, "-o", str(out)]
    with subprocess.Popen(
        [*command, "-m", str(bundle.path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        until = time.monotonic() + 120
        while not any(tmp_path.glob(".out.mp4*")) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(1)
        running.send_signal(signal.SIGINT)
        said, told = running.communicate(timeout=120)
    assert running.returncode == 0, told
    assert frames_in(out) == int(said.split()[2]) > 0
    assert not list(tmp_path.glob(".out*"))
