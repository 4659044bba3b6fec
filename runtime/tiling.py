"""Where to cut a picture so that its tiles, each with a halo, give the picture's own result.

A tile is read with a halo around it that reaches as far as an output pixel sees, and only its core
is kept. A network pads with zeros at the border of what it is given: at a tile's own border that
spoils the halo and no more, and where a tile ends at the picture's border the halo ends there too,
so that the padding is the picture's. Cores and halos begin at multiples of the network's stride,
which keeps its grid where it is in the whole picture.
"""

from dataclasses import dataclass

from nstc.core.manifest import Contract


@dataclass(frozen=True)
class Span:
    """Rows or columns of one tile, in pixels from the picture's top or left.

    Attributes:
        start: Of the core, which is kept.
        stop: Its end, not included.
        read_start: Of what is read: the core and its halo, within the picture.
        read_stop: Its end.
    """

    start: int
    stop: int
    read_start: int
    read_stop: int

    @property
    def core(self) -> slice:
        """The core, within what is read."""
        return slice(self.start - self.read_start, self.stop - self.read_start)

    @property
    def read(self) -> slice:
        """What is read, within the picture."""
        return slice(self.read_start, self.read_stop)

    @property
    def read_length(self) -> int:
        """How much is read."""
        return self.read_stop - self.read_start


@dataclass(frozen=True)
class Tiling:
    """A picture cut into tiles: every pair of one of the rows and one of the columns."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @property
    def largest(self) -> tuple[int, int]:
        """Greatest height and greatest width that are read at once, in pixels."""
        return (
            max(span.read_length for span in self.rows),
            max(span.read_length for span in self.columns),
        )

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.rows) * len(self.columns)

    @property
    def pixels_read(self) -> int:
        """Pixels of all tiles with their halos: what painting them costs."""
        rows = sum(span.read_length for span in self.rows)
        return rows * sum(span.read_length for span in self.columns)


def halo_of(contract: Contract) -> int:
    """Width of the halo in pixels: as far as a pixel sees, up to the next multiple of the stride.

    The receptive field is the side of the square around an output pixel that it depends on.
    """
    return round_up(contract.receptive_field // 2, contract.size_multiple)


def tiling_of(height: int, width: int, core: tuple[int, int], contract: Contract) -> Tiling:
    """Cut a picture into tiles.

    Args:
        height: Of the picture, at least 1.
        width: Likewise.
        core: Height and width of the cores, at least 1; rounded up to multiples of the stride.
        contract: Of the network.
    """
    halo, multiple = halo_of(contract), contract.size_multiple
    return Tiling(
        spans(height, round_up(core[0], multiple), halo),
        spans(width, round_up(core[1], multiple), halo),
    )


def spans(length: int, core: int, halo: int) -> tuple[Span, ...]:
    """Cut a length into cores of `core`, the last of what is left, each read with its halo.

    Raises:
        ValueError: a number is out of range.
    """
    if length < 1 or core < 1 or halo < 0:
        raise ValueError(f"can't cut {length} into cores of {core} with halos of {halo}")
    return tuple(
        Span(
            start,
            min(length, start + core),
            max(0, start - halo),
            min(length, start + core + halo),
        )
        for start in range(0, length, core)
    )


def round_up(number: int, multiple: int) -> int:
    """The least multiple that is at least the number."""
    return -(-number // multiple) * multiple
