"""A real window on a screen without hardware, and a virtual camera that a stand-in takes."""

import os
import shutil
import subprocess
import sys
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import ImageGrab

from nstc.core.errors import DisplayError, MissingExtraError
from nstc.runtime.video.displays import VirtualCamera, Window

needs_a_screen = pytest.mark.skipif(
    shutil.which("Xvfb") is None, reason="not installed: apt-get install xvfb"
)


@pytest.fixture(scope="module")
def screen():
    """The name of a screen of 320x240 that is not shown anywhere."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "320x240x24"]
    with subprocess.Popen(
        [*command, "-nolisten", "tcp"], pass_fds=[writing], stderr=subprocess.DEVNULL
    ) as server:
        os.close(writing)
        with os.fdopen(reading) as told:
            yield f":{told.readline().strip()}"
        server.terminate()


@pytest.fixture
def window(screen, monkeypatch):
    pytest.importorskip("tkinter", reason="not installed: apt-get install python3-tk")
    monkeypatch.setenv("DISPLAY", screen)
    with closing(Window()) as opened:
        yield opened


def frame(height=60, width=80):
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 3 % 256, columns * 2 % 256, 0 * rows + 200], axis=2).astype(np.uint8)


@needs_a_screen
class TestWindow:
    @staticmethod
    def seen(window, screen, height, width):
        left, top = window.root.winfo_rootx(), window.root.winfo_rooty()
        box = (left, top, left + width, top + height)
        return np.asarray(ImageGrab.grab(bbox=box, xdisplay=screen).convert("RGB"))

    def test_it_shows_one_frame_after_the_other(self, window, screen) -> None:
        assert window.root.state() == "withdrawn"
        for rgb in (frame(), 255 - frame(), frame(30, 100)):
            window.show(rgb, "12 ms")
            np.testing.assert_array_equal(self.seen(window, screen, *rgb.shape[:2]), rgb)
        assert window.root.title() == "nstc: 12 ms"

    def test_frames_beyond_the_screen_are_scaled_to_fit(self, window) -> None:
        window.show(frame(480, 1000), "")
        assert (window.root.winfo_width(), window.root.winfo_height()) == (288, 138)

    def test_what_is_typed(self, window) -> None:
        window.show(frame(), "")
        assert window.keys() == ""
        window.root.focus_force()
        for name in ("plus", "minus", "c", "Escape", "Shift_L"):
            window.root.event_generate("<KeyPress>", keysym=name)
        assert window.keys() == "+-c\x1b"
        assert window.keys() == ""

    def test_closing_it_is_typing_q(self, window) -> None:
        window.show(frame(), "")
        window.root.tk.call(window.root.protocol("WM_DELETE_WINDOW"))
        assert window.keys() == "q"

    def test_one_that_is_gone(self, window) -> None:
        window.root.destroy()
        with pytest.raises(DisplayError, match="the window is gone"):
            window.show(frame(), "")


class TestNoWindow:
    @pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="a screen is always there")
    def test_without_a_screen(self, monkeypatch) -> None:
        pytest.importorskip("tkinter", reason="not installed: apt-get install python3-tk")
        monkeypatch.delenv("DISPLAY", raising=False)
        with pytest.raises(DisplayError, match=r"no window can be opened: .*record with -o"):
            Window()

    @pytest.mark.parametrize("missing", ["tkinter", "_tkinter", "PIL.ImageTk"])
    def test_without_tk(self, monkeypatch, missing) -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "tkinter"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.delattr("PIL.ImageTk", raising=False)
        monkeypatch.setitem(sys.modules, missing, None)
        with pytest.raises(DisplayError, match=r"install tkinter .* or leave out --show"):
            Window()


class TestVirtualCamera:
    @pytest.fixture
    def cameras(self, monkeypatch):
        """Those that were opened, by a module in pyvirtualcam's place, strict as it is."""
        opened = []

        class Camera:
            device = "/dev/video7"

            def __init__(self, *, width, height, fps):
                self.shape, self.sent, self.open = (height, width, 3), [], True
                assert fps > 0
                opened.append(self)

            def send(self, rgb) -> None:
                assert (rgb.shape, rgb.dtype) == (self.shape, np.uint8)
                self.sent.append(rgb.copy())

            def close(self) -> None:
                self.open = False

        monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=Camera))
        return opened

    def test_it_gets_frames_of_the_first_ones_size(self, cameras) -> None:
        told = []
        with closing(VirtualCamera(told.append)) as camera:
            assert cameras == []
            for rgb in (frame(), 255 - frame(), frame(30, 40)):
                camera.show(rgb, "12 ms")
            assert camera.keys() == ""
            assert cameras[0].open
        assert told == ["frames of 80x60 go to the camera /dev/video7"]
        (own,) = cameras
        np.testing.assert_array_equal(own.sent[:2], [frame(), 255 - frame()])
        assert own.sent[2].shape == (60, 80, 3)
        assert not own.open

    @pytest.mark.parametrize(
        ("size", "even"), [((61, 81), (60, 80)), ((1, 5), (2, 4)), ((8, 3), (8, 2))]
    )
    def test_its_size_is_even(self, cameras, size, even) -> None:
        with closing(VirtualCamera(lambda _: None)) as camera:
            camera.show(frame(*size), "")
        assert cameras[0].sent[0].shape == (*even, 3)

    def test_not_installed(self, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
        with pytest.raises(MissingExtraError, match="run  pip install pyvirtualcam"):
            VirtualCamera(lambda _: None)

    def test_no_device(self, monkeypatch) -> None:
        def refuse(**_own):
            raise RuntimeError("'v4l2loopback' backend: No v4l2 loopback device found")

        monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=refuse))
        with (
            closing(VirtualCamera(lambda _: None)) as camera,
            pytest.raises(DisplayError, match=r"No v4l2 .* load the module v4l2loopback"),
        ):
            camera.show(frame(), "")
