"""Where stylised frames are shown as they come: a window, and a virtual camera.

The window is Tk's, through tkinter and Pillow's ImageTk: Python and Pillow bring both, and a frame
in a label is all that is needed. pygame-ce is a download of 12 MB, OpenCV one of 60 MB, and neither
does more for one picture and four keys. Tk runs in the one thread that opened the window; its
events are handled whenever `show` or `keys` is called.

The virtual camera is pyvirtualcam's: v4l2loopback on Linux, OBS on macOS and Windows. Its licence
is the GPL, version 2, so it is no extra of nstc's: whoever wants it installs it.
"""

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from PIL import Image

from nstc.core.errors import DisplayError, MissingExtraError
from nstc.core.images import Pixels, resize
from nstc.core.images.picture import scaled_size

ESCAPE: Final = "\x1b"
_SHARE_OF_SCREEN: Final = 0.9  # the most of its height and width, for title and task bar
_ADVERTISED_FPS: Final = 30  # other programs are told so; frames come as they are stylised


class Display(Protocol):
    """Shows frames."""

    def show(self, rgb: Pixels, status: str) -> None:
        """Show a frame (H, W, 3) uint8, and the status where there is a place for it."""

    def keys(self) -> str:
        """The characters that were typed since the last call; handles what else happened."""

    def close(self) -> None:
        """Take it off the screen."""


class Window:
    """A window of the frames' size, or of the largest that the screen holds.

    Closing it types q, the key that ends a run.

    Attributes:
        root: Tk's window.

    Raises:
        DisplayError: there is no tkinter or no screen.
    """

    def __init__(self) -> None:
        try:
            import tkinter

            from PIL import ImageTk
        except ImportError as error:
            raise DisplayError(
                f"this Python can't open a window ({error}): install tkinter (Debian: apt install "
                "python3-tk; macOS: brew install python-tk), or leave out --show."
            ) from error
        self._broken: type[Exception] = tkinter.TclError
        self._typed: list[str] = []
        self._photo: ImageTk.PhotoImage | None = None
        try:
            self.root = tkinter.Tk(className="nstc")
        except tkinter.TclError as error:
            raise DisplayError(
                f"no window can be opened: {error}. Run this on a desktop, or record with -o "
                "without --show."
            ) from error
        typed = self._typed  # not self: Tk would keep this window for good
        self.root.withdraw()  # until there is a frame
        self.root.resizable(False, False)
        self.root.protocol("WM_DELETE_WINDOW", lambda: typed.append("q"))
        self.root.bind("<Key>", lambda event: typed.append(event.char))
        self._label = tkinter.Label(self.root, borderwidth=0, highlightthickness=0)
        self._label.pack()

    def show(self, rgb: Pixels, status: str) -> None:
        """Show a frame (H, W, 3) uint8, scaled down to the screen; the title is the status."""
        from PIL import ImageTk

        with self._reporting():
            height, width = rgb.shape[:2]
            room = self.root.winfo_screenheight() / height, self.root.winfo_screenwidth() / width
            scale = min(1.0, *(_SHARE_OF_SCREEN * own for own in room))
            image = Image.fromarray(resize(rgb, *scaled_size(height, width, scale)))
            photo = self._photo
            if photo is None or (photo.width(), photo.height()) != image.size:
                self._photo = ImageTk.PhotoImage(image, master=self.root)
                self._label.configure(image=str(self._photo))
            else:
                photo.paste(image)
            self.root.title(f"nstc: {status}")
            if photo is None:
                self.root.deiconify()
            self.root.update()

    def keys(self) -> str:
        """The characters that were typed since the last call."""
        with self._reporting():
            self.root.update()
        typed = "".join(self._typed)
        self._typed.clear()
        return typed

    def close(self) -> None:
        """Take the window off the screen."""
        with contextlib.suppress(self._broken):  # the screen may have gone before
            self.root.destroy()
        self._photo = None
        del self.root, self._label
        gc.collect()  # Tcl ends the process if another thread frees its interpreter

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except self._broken as error:
            raise DisplayError(f"the window is gone: {error}. Start the command again.") from error


class VirtualCamera:
    """A camera that other programs, such as those of video calls, can choose.

    It is opened with the first frame, whose size it keeps, made even as its formats need it. Frames
    of another size are scaled to it. `notify` is told its name.

    Raises:
        MissingExtraError: pyvirtualcam is not installed.
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        try:
            import pyvirtualcam
        except ImportError as error:
            raise MissingExtraError(
                "--virtual-camera needs pyvirtualcam: run  pip install pyvirtualcam"
            ) from error
        self._open = pyvirtualcam.Camera
        self._notify = notify
        self._camera: Any = None
        self._size = (0, 0)

    def show(self, rgb: Pixels, status: str) -> None:  # noqa: ARG002  (a camera has no title)
        """Send a frame (H, W, 3) uint8; `DisplayError` if no virtual camera is installed."""
        if self._camera is None:
            height, width = (max(2, side - side % 2) for side in rgb.shape[:2])
            self._size = (height, width)
            try:
                self._camera = self._open(width=width, height=height, fps=_ADVERTISED_FPS)
            except RuntimeError as error:
                raise DisplayError(
                    f"no virtual camera can be opened: {error}. On Linux load the module "
                    "v4l2loopback, on macOS and Windows install OBS."
                ) from error
            self._notify(f"frames of {width}x{height} go to the camera {self._camera.device}")
        self._camera.send(resize(rgb, *self._size))

    def keys(self) -> str:
        """None: nobody types into a camera."""
        return ""

    def close(self) -> None:
        """Let other programs see that the camera has ended."""
        if self._camera is not None:
            self._camera.close()
