"""Image-to-image files made by others, behind the same face as nstc's own."""

from dataclasses import dataclass
from pathlib import Path

from nstc.core.errors import ImageError, OptionError, TeacherError
from nstc.core.images import Pixels
from nstc.runtime.arrays import Array, checked, replicate_edges, unit_to_pixels
from nstc.runtime.foreign_graph import GraphFailedError, open_foreign_graph
from nstc.runtime.graph_contract import GraphContract
from nstc.runtime.probing import probe_contract

__all__ = ["ForeignSession", "Framed", "GraphContract", "probe_contract"]


@dataclass(frozen=True)
class Framed:
    """What a graph takes or gives, with a picture of this height and width at the upper left."""

    values: Array
    height: int
    width: int


class ForeignSession:
    """Runs a graph by its contract: edges are repeated up to a size it takes, and cropped off.

    Args:
        path: The file, ONNX or TorchScript.
        contract: From `probe_contract`.
        threads: Threads within an operator; None for one a core.
        trust: Whether TorchScript, which is a program, may be loaded.

    Raises:
        TeacherError: the file can't be loaded.
        UnsafeFileError: it is TorchScript and was not trusted.
    """

    def __init__(
        self,
        path: Path,
        contract: GraphContract,
        threads: int | None = None,
        *,
        trust: bool = False,
    ) -> None:
        self.path = path
        self.artifact = path.name
        self.contract = contract
        self._threads = threads
        self._trust = trust
        self._graph = open_foreign_graph(path, threads, trust=trust)

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """Height and width of the only pictures it takes; None for any."""
        return self.contract.fixed_size

    def reopened(self) -> "ForeignSession":
        """The same file in a session of its own."""
        return ForeignSession(self.path, self.contract, self._threads, trust=self._trust)

    def prepare(self, rgb: Pixels) -> Framed:
        """(H, W, 3) uint8 as the graph's input, enlarged where it must be.

        Raises:
            ImageError: it is no picture.
            OptionError: the graph takes one size only, and this is another.
        """
        height, width = checked(rgb).shape[:2]
        fixed = self.contract.fixed_size
        if fixed is None:
            multiple, least = self.contract.size_multiple, self.contract.minimum_size
            rows, columns = (
                -(-max(side, least) // multiple) * multiple for side in (height, width)
            )
            rgb = replicate_edges(rgb, rows, columns)
        elif fixed != (height, width):
            raise OptionError(
                f"{self.path} takes pictures of {fixed[0]}x{fixed[1]} (height x width) only, "
                f"this one is {height}x{width}: export it with free sizes."
            )
        return Framed(self.contract.encode(rgb), height, width)

    def infer(self, feed: Framed) -> Framed:
        """Run the graph.

        Raises:
            ImageError: it failed on a picture of this size, for want of memory as a rule.
        """
        try:
            raw = self._graph.call(feed.values)
        except GraphFailedError as error:
            raise ImageError(
                f"{self.path.name} failed on a picture of {feed.height}x{feed.width}, it may be "
                f"too large for the memory: {error}"
            ) from error
        return Framed(raw, feed.height, feed.width)

    def finish(self, raw: Framed) -> Pixels:
        """The graph's output as (H, W, 3) uint8, without what was added.

        Raises:
            UnusableModelError: it is not finite.
            TeacherError: it is smaller than the picture.
        """
        picture = self.contract.decode(raw.values)[: raw.height, : raw.width]
        if picture.shape[:2] != (raw.height, raw.width):
            raise TeacherError(
                f"{self.path} gave {picture.shape[0]}x{picture.shape[1]} for a picture of "
                f"{raw.height}x{raw.width}: --size-multiple may be wrong."
            )
        return unit_to_pixels(picture, self.path)

    def run(self, rgb: Pixels) -> Pixels:
        """Stylise (H, W, 3) uint8; see `nstc.runtime.session.Session`."""
        return self.finish(self.infer(self.prepare(rgb)))
