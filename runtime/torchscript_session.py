"""TorchScript files of a bundle, run by torch where it is installed."""

import contextlib
import importlib.util
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nstc.core.errors import CorruptBundleError, ImageError, MissingExtraError
from nstc.core.files import as_utf8
from nstc.core.images import Pixels
from nstc.runtime.arrays import checked, to_unit_nchw, unit_to_pixels


def availability() -> str | None:
    """None if torch is installed, or how to install it."""
    if importlib.util.find_spec("torch") is None:
        return 'TorchScript files need torch: pip install "nstc[compress]"'
    return None


class TorchScriptSession:
    """A float NCHW graph in [0, 1]. A TorchScript file is a program: open only a trusted one.

    Args:
        path: The file.
        artifact: Its artifact name.
        threads: Threads within an operator, which torch sets for the whole process; None leaves
            them as they are.

    Raises:
        MissingExtraError: torch is not installed.
        CorruptBundleError: the file is damaged or no TorchScript.
    """

    def __init__(self, path: Path, artifact: str, threads: int | None = None) -> None:
        if (missing := availability()) is not None:
            raise MissingExtraError(missing)
        self.path = path
        self.artifact = artifact
        try:
            self._network = load_torchscript(path, threads)
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CorruptBundleError(
                f"{path} can't be loaded as TorchScript: {reason} Delete it and make it again."
            ) from error

    def prepare(self, rgb: Pixels) -> Any:
        """(H, W, 3) uint8 as a tensor (1, 3, H, W) in [0, 1]."""
        import torch

        return torch.from_numpy(to_unit_nchw(checked(rgb)))

    def infer(self, feed: Any) -> Any:
        """Run the graph."""
        import torch

        try:
            with torch.inference_mode():
                return self._network(feed)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise ImageError(
                f"{self.path.name} failed on a picture of shape {tuple(feed.shape)}: {reason}"
            ) from error

    def finish(self, raw: Any) -> Pixels:
        """The graph's output as (H, W, 3) uint8."""
        return unit_to_pixels(raw[0].permute(1, 2, 0).numpy(), self.path)

    def run(self, rgb: Pixels) -> Pixels:
        """Stylise (H, W, 3) uint8; see `nstc.runtime.session.Session`."""
        return self.finish(self.infer(self.prepare(rgb)))


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Give torch's operators so many threads, in the whole process, for as long as the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load_torchscript(path: Path, threads: int | None) -> Any:
    """The callable in a file; `threads` as for `TorchScriptSession`.

    Raises:
        Exception: RuntimeError, ValueError or OSError if the file is damaged or no TorchScript.
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    with warnings.catch_warnings():
        # torch recommends torch.export instead; the format stays for the devices that run it
        warnings.filterwarnings("ignore", message=".*torch.jit.load.* is deprecated")
        with as_utf8(path) as name:
            return torch.jit.load(name, map_location="cpu")  # type: ignore[no-untyped-call]
