"""What a network made by others takes and gives."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from nstc.runtime.arrays import Array

Layout = Literal["NCHW", "NHWC"]
ValueRange = Literal[1, 255, -1]

LAYOUTS: Final[tuple[Layout, ...]] = ("NCHW", "NHWC")
RANGES: Final[dict[ValueRange, tuple[float, float]]] = {
    1: (0.0, 1.0),
    255: (0.0, 255.0),
    -1: (-1.0, 1.0),
}
"""The short name of a value range, as flags take it, and its ends."""

OVERRIDING_FLAGS: Final = ("--layout", "--value-range", "--size-multiple")


@dataclass(frozen=True, kw_only=True)
class GraphContract:
    """The form of a graph that takes one picture and gives one of the same size.

    Attributes:
        input_name: Of the graph's input.
        output_name: Of its output.
        layout: Of the input.
        dtype: Of the input: float32, float16 or uint8.
        input_range: 1 for values from 0 to 1, 255 for 0 to 255, -1 for -1 to 1.
        output_layout: Of the output.
        output_range: As `input_range`.
        size_multiple: Heights and widths must be multiples of it.
        minimum_size: The smallest height and width that was tried.
        fixed_size: The only (height, width) the graph takes, or None for any.
    """

    input_name: str
    output_name: str
    layout: Layout
    dtype: str
    input_range: ValueRange
    output_layout: Layout
    output_range: ValueRange
    size_multiple: int
    minimum_size: int
    fixed_size: tuple[int, int] | None

    def describe(self) -> str:
        """One line: what was found, and which flags say otherwise."""
        size = f"sizes in multiples of {self.size_multiple}"
        if self.fixed_size is not None:
            size = f"{self.fixed_size[0]}x{self.fixed_size[1]} (height x width) only"
        elif self.size_multiple == 1:
            size = "any size"
        return (
            f"takes {self.layout} {self.dtype} from {_ends(self.input_range)}, gives "
            f"{self.output_layout} from {_ends(self.output_range)}, {size}; "
            f"if that is wrong: {', '.join(OVERRIDING_FLAGS)}"
        )

    def encode(self, rgb: npt.NDArray[np.uint8]) -> Array:
        """(H, W, 3) uint8 as the graph's input."""
        low, high = RANGES[self.input_range]
        values: Array = rgb
        if self.dtype != "uint8":
            values = (rgb.astype(np.float32) / 255 * (high - low) + low).astype(self.dtype)
        if self.layout == "NCHW":
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values[None])

    def decode(self, raw: Array) -> npt.NDArray[np.float32]:
        """The graph's output as (H, W, 3), black at 0 and white at 1, not clipped."""
        low, high = RANGES[self.output_range]
        return (picture_of(raw, self.output_layout) - low) / (high - low)


def picture_of(raw: Any, layout: Layout) -> npt.NDArray[np.float32]:
    """A batch of one picture as (H, W, 3) float32 on the graph's own scale."""
    picture = raw[0].transpose(1, 2, 0) if layout == "NCHW" else raw[0]
    return np.asarray(picture, dtype=np.float32)


def _ends(value_range: ValueRange) -> str:
    low, high = RANGES[value_range]
    return f"{low:g} to {high:g}"
