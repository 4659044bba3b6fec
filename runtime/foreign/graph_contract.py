"""What a network made by others takes and gives."""

from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nstc.core.graph_form import (
    NO_MEAN,
    NO_STD,
    RANGES,
    Channels,
    GraphForm,
    Layout,
    Triple,
    ValueRange,
    shown_numbers,
)
from nstc.runtime.arrays import Array

OVERRIDING_FLAGS: Final = (
    "--layout",
    "--input-range",
    "--output-range",
    "--mean",
    "--std",
    "--channels",
    "--size-multiple",
)


@dataclass(frozen=True, kw_only=True)
class GraphContract:
    """The form of a graph that takes one picture and gives one of the same size."""

    input_name: str
    output_name: str
    layout: Layout  # of the input
    dtype: str  # of the input: float32, float16 or uint8
    input_range: ValueRange  # 1 for values from 0 to 1, 255 for 0 to 255, -1 for -1 to 1
    output_layout: Layout  # of the output
    output_range: ValueRange  # as `input_range`
    size_multiple: int  # heights and widths must be multiples of it
    minimum_size: int  # the smallest height and width that was tried
    fixed_size: tuple[int, int] | None  # the only (height, width) the graph takes, or None for any
    channels: Channels = "rgb"  # order of the colours, "rgb" or "bgr", in and out
    mean: Triple = NO_MEAN  # taken off the input in its range, by the graph's own order of channels
    std: Triple = NO_STD  # what the input is then divided by
    # Added to the output, after `output_std`, for a picture in the output's range.
    output_mean: Triple = NO_MEAN
    output_std: Triple = NO_STD  # what the output is multiplied by
    # How sure probing is of it, in words; empty if nothing was left to find.
    certainty: str = field(default="", compare=False)

    @property
    def form(self) -> GraphForm:
        """Everything that flags can say of it: with this nothing is left to find by trying."""
        known = {own.name: getattr(self, own.name) for own in fields(GraphForm)}
        return GraphForm(**known)

    @property
    def descends_from_caffe(self) -> bool:
        """Whether it has a mean and no deviation, as networks from Caffe, which has blue first."""
        return self.mean != NO_MEAN and self.std == NO_STD and self.input_range == 255

    @property
    def black_and_white(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """What the graph's output calls black and white, (3,) each in its own order of channels."""
        low, high = RANGES[self.output_range]
        mean, std = _numbers(self.output_mean), _numbers(self.output_std)
        return (np.float32(low) - mean) / std, (np.float32(high) - mean) / std

    def describe(self) -> str:
        """One line: what was found, how sure that is, and which flags say otherwise."""
        size = f"sizes in multiples of {self.size_multiple}"
        if self.fixed_size is not None:
            size = f"{self.fixed_size[0]}x{self.fixed_size[1]} (height x width) only"
        elif self.size_multiple == 1:
            size = "any size"
        taken = _shown("less", self.mean, NO_MEAN) + _shown("over", self.std, NO_STD)
        given = _shown("times", self.output_std, NO_STD) + _shown("plus", self.output_mean, NO_MEAN)
        certainty = f"; {self.certainty}" if self.certainty else ""
        return (
            f"takes {self.layout} {self.dtype} {self.channels.upper()} from "
            f"{_ends(self.input_range)}{taken}, gives {self.output_layout} from "
            f"{_ends(self.output_range)}{given}, {size}{certainty}; "
            f"if that is wrong: {', '.join(OVERRIDING_FLAGS)}"
        )

    def encode(self, rgb: npt.NDArray[np.uint8]) -> Array:
        """(H, W, 3) uint8 as the graph's input."""
        low, high = RANGES[self.input_range]
        values: Array = rgb if self.channels == "rgb" else rgb[:, :, ::-1]
        if self.dtype != "uint8":
            scaled = values.astype(np.float32) / 255 * (high - low) + low
            if (self.mean, self.std) != (NO_MEAN, NO_STD):
                scaled = (scaled - _numbers(self.mean)) / _numbers(self.std)
            values = scaled.astype(self.dtype)
        if self.layout == "NCHW":
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values[None])

    def decode(self, raw: Array) -> npt.NDArray[np.float32]:
        """The graph's output as (H, W, 3), black at 0 and white at 1, not clipped."""
        black, white = self.black_and_white
        picture = (picture_of(raw, self.output_layout) - black) / (white - black)
        return picture if self.channels == "rgb" else picture[:, :, ::-1]


def picture_of(raw: Any, layout: Layout) -> npt.NDArray[np.float32]:
    """A batch of one picture as (H, W, 3) float32 on the graph's own scale."""
    picture = raw[0].transpose(1, 2, 0) if layout == "NCHW" else raw[0]
    return np.asarray(picture, dtype=np.float32)


def _numbers(values: Triple) -> npt.NDArray[np.float32]:
    return np.array(values, np.float32)


def _ends(value_range: ValueRange) -> str:
    low, high = RANGES[value_range]
    return f"{low:g} to {high:g}"


def _shown(word: str, values: Triple, nothing: Triple) -> str:
    return "" if values == nothing else f" {word} {shown_numbers(values)}"
