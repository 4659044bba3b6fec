"""What a network made by others takes and gives; every usual way is tried on photographs.

A graph does not say whether white is 1 or 255, or whether ImageNet's mean is taken off. Fed
wrongly, it gives a washed-out, a saturated, or no picture, so the ways are compared by what comes
out. Where several ways give good pictures that differ, nothing in the file says which is meant.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nstc.core import errors, graph_form
from nstc.core.graph_form import NO_MEAN, NO_STD, RANGES, GraphForm, Layout, Triple, ValueRange
from nstc.core.images import Pixels
from nstc.runtime.arrays import Array
from nstc.runtime.foreign.other_inputs import NO_OTHERS, OtherInputs

_OVERRIDING_FLAGS: Final = (
    "--layout, --input-range, --output-range, --mean, --std, --channels, --size-multiple"
)
LEAST_SCORE: Final = 0.02  # below this an output has nothing to do with the photograph
# Standard deviation of a stylised picture from 0 to 1; less is taken for washed out.
_USUAL_CONTRAST: Final = 0.2
# Ways that score so near to the best are equal, and the most usual one is taken.
_AS_GOOD: Final = 0.97
_RIVAL: Final = 0.7  # a way that scores at least this share of the best can't be ruled out
_WORTH_NAMING: Final = 0.4
# About so many pixels of a picture, evenly over it, are compared: what a graph fixes may be 8K.
_COMPARED: Final = 2**20
# Mean difference of two pictures that are not the same. Borders and epsilons make up to half.
_CLEARLY_DIFFERENT: Final = 14 / 255
_FLAT: Final = 0.01  # values so near to an output's darkest or brightest are clamped
_OUTSIDE: Final = 0.02  # how far beyond black or white a value counts as outside
_LARGEST_SMALL: Final = 4.0  # outputs beyond this are on the scale of 255
_BELOW_BLACK: Final = -0.4

# How usual pairs of ways in and out are: most networks give what they take.
_SAME_BOTH_WAYS: Final = 1.15
_NORMALISED: Final = 0.85
_NORMALISED_BOTH_WAYS: Final = 0.65


@dataclass(frozen=True, kw_only=True)
class GraphContract:
    """The form of a graph that takes a picture, with fixed other inputs, and gives one as large."""

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
    channels: graph_form.Channels = "rgb"  # order of the colours, "rgb" or "bgr", in and out
    mean: Triple = NO_MEAN  # taken off the input in its range, by the graph's own order of channels
    std: Triple = NO_STD  # what the input is then divided by
    # Added to the output, after `output_std`, for a picture in the output's range.
    output_mean: Triple = NO_MEAN
    output_std: Triple = NO_STD  # what the output is multiplied by
    others: OtherInputs = NO_OTHERS  # what its inputs besides the picture get
    # How sure probing is of it, in words; empty if nothing was left to find.
    certainty: str = dataclasses.field(default="", compare=False)

    @property
    def form(self) -> GraphForm:
        """Everything that flags can say of it: with this nothing is left to find by trying."""
        known = {own.name: getattr(self, own.name) for own in dataclasses.fields(GraphForm)}
        return GraphForm(**known)

    @property
    def inputs(self) -> tuple[graph_form.GivenInput, ...] | None:
        """What the inputs besides the picture get, as flags say it; None of a graph without any."""
        return self.others.given

    @property
    def is_plain(self) -> bool:
        """Whether the input has neither mean nor deviation."""
        return (self.mean, self.std) == (NO_MEAN, NO_STD)

    @property
    def black_and_white(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """What the graph's output calls black and white, (3,) each in its own order of channels."""
        low, high = RANGES[self.output_range]
        mean, std = np.array(self.output_mean, np.float32), np.array(self.output_std, np.float32)
        return (np.float32(low) - mean) / std, (np.float32(high) - mean) / std

    def describe(self) -> str:
        """One line: what was found, how sure that is, and which flags say otherwise."""

        def ends(value_range: ValueRange) -> str:
            return "{:g} to {:g}".format(*RANGES[value_range])

        def shown(word: str, values: Triple, nothing: Triple) -> str:
            return "" if values == nothing else f" {word} {graph_form.shown_numbers(values)}"

        size = f"sizes in multiples of {self.size_multiple}"
        if self.fixed_size is not None:
            size = f"{self.fixed_size[0]}x{self.fixed_size[1]} (height x width) only"
        elif self.size_multiple == 1:
            size = "any size"
        taken = shown("less", self.mean, NO_MEAN) + shown("over", self.std, NO_STD)
        given = shown("times", self.output_std, NO_STD) + shown("plus", self.output_mean, NO_MEAN)
        others = "".join(f" with {own}" for own in self.inputs or ())
        certainty = f"; {self.certainty}" if self.certainty else ""
        return (
            f"takes {self.layout} {self.dtype} {self.channels.upper()} from "
            f"{ends(self.input_range)}{taken}{others}, gives {self.output_layout} from "
            f"{ends(self.output_range)}{given}, {size}{certainty}; "
            f"if that is wrong: {_OVERRIDING_FLAGS}"
        )

    def encode(self, rgb: Pixels) -> Array:
        """(H, W, 3) uint8 as the graph's input."""
        low, high = RANGES[self.input_range]
        values: Array = rgb if self.channels == "rgb" else rgb[:, :, ::-1]
        if self.dtype != "uint8":
            scaled = values.astype(np.float32) / 255 * (high - low) + low
            if not self.is_plain:
                scaled = (scaled - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
            values = scaled.astype(self.dtype)
        if self.layout == "NCHW":
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values[None])

    def feeds_of_others(self) -> dict[str, Array]:
        """What the inputs besides the picture get, by name; paintings as the picture is fed."""
        paintings = {
            name: replace(self, layout=own.layout or self.layout, dtype=own.dtype).encode(own.rgb)
            for name, own in self.others.paintings.items()
        }
        return {**self.others.numbers, **paintings}

    def feeds(self, rgb: Pixels) -> dict[str, Array]:
        """What all inputs get for a picture (H, W, 3) uint8, by name."""
        return {self.input_name: self.encode(rgb), **self.feeds_of_others()}

    def decode(self, raw: Array) -> npt.NDArray[np.float32]:
        """The graph's output as (H, W, 3), black at 0 and white at 1, not clipped."""
        return self.to_unit(self.output_rows(raw))

    def output_rows(self, raw: Array) -> Array:
        """The graph's output as (H, W, 3) with its own values and order of channels."""
        picture: Array = raw[0]
        return picture.transpose(1, 2, 0) if self.output_layout == "NCHW" else picture

    def to_unit(self, rows: Array) -> npt.NDArray[np.float32]:
        """Values of `output_rows` with black at 0 and white at 1, red first, not clipped."""
        black, white = self.black_and_white
        picture = (np.asarray(rows, dtype=np.float32) - black) / (white - black)
        return picture if self.channels == "rgb" else picture[:, :, ::-1]


Run = Callable[[GraphContract, Pixels], Array]
"""The raw output for a picture (H, W, 3), fed by a contract."""


@dataclass(frozen=True, kw_only=True)
class ContractCandidate:
    """A way to feed the network."""

    contract: GraphContract  # with the output's range that fits best
    score: float  # how much its output looks like a picture made from the photograph; about 0 to 1
    # (photographs, H, W, 3), what it makes of them, from 0 to 1, `thinned`.
    pictures: npt.NDArray[np.float32]
    flags: str  # what says so at the prompt


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was found."""

    best: ContractCandidate  # the likeliest way
    # Others that give clearly different pictures, likeliest first; none unless one of them can't be
    # ruled out.
    rivals: tuple[ContractCandidate, ...]
    certainty: str  # in words; empty if nothing was left to find


def choose(run: Run, contract: GraphContract, photos: Sequence[Pixels], form: GraphForm) -> Choice:
    """Try all ways that a form leaves open on photographs (H, W, 3) of one size.

    The contract has names, layouts and type; ranges are filled in. `OptionError` for a form that
    contradicts them.
    """
    tried = [_tried(run, way, photos, form) for way in _ways_in(form, contract)]
    most = max(one.score for one in tried)
    best = next(one for one in tried if one.score >= _AS_GOOD * most)

    def differs(one: ContractCandidate) -> bool:
        return float(np.abs(one.pictures - best.pictures).mean()) > _CLEARLY_DIFFERENT

    def may_rival(one: ContractCandidate) -> bool:
        return one.score > _RIVAL * best.score and differs(one)

    # Networks from Caffe take off a mean and divide by nothing; in Caffe blue comes first.
    for one in tried if form.channels is None else []:
        fed = one.contract
        from_caffe = fed.mean != NO_MEAN and fed.std == NO_STD and fed.input_range == 255
        if from_caffe and (one is best or may_rival(one)):
            mean = graph_form.mean_of(form.mean or "imagenet", 255, "bgr")
            tried.append(_tried(run, replace(fed, channels="bgr", mean=mean), photos, form))
            break
    others = [one for one in tried if one is not best and differs(one)]
    others.sort(key=lambda one: -one.score)
    others = [one for one in others if one.score > _WORTH_NAMING * best.score]
    is_doubtful = any(map(may_rival, others))
    certainty = "certain, no other values give such a picture"
    if others:
        share = round(100 * others[0].score / best.score)
        certainty = f"likely, but {others[0].flags} fits {share} % as well"
    certainty += "" if form.channels else ", the order of colours is taken to be RGB"
    certainty = "" if len(tried) == 1 else certainty
    return Choice(best=best, rivals=tuple(others) if is_doubtful else (), certainty=certainty)


def _ways_in(form: GraphForm, contract: GraphContract) -> list[GraphContract]:
    """The contract with every input range, mean and deviation, the most usual first."""
    given = [one for one in (form.mean, form.std) if one is not None]
    ways: list[tuple[ValueRange, graph_form.Statistic | None, graph_form.Statistic | None]]
    if contract.dtype == "uint8":
        is_plain = all(one in (NO_MEAN, NO_STD) for one in given)
        if form.input_range not in (None, 255) or not is_plain:
            raise errors.OptionError(
                f"the network takes bytes, 0 to 255 as they are: {form.flags()} can't be."
            )
        ways = [(255, None, None)]
    elif given:
        ranges = (form.input_range,) if form.input_range else _ranges_of(given)
        ways = [(one, form.mean, form.std) for one in ranges]
    elif form.input_range is not None:
        ways = [(form.input_range, None, None)]
    else:
        ways = [(one, None, None) for one in RANGES]
        ways += [(1, "imagenet", "imagenet"), (255, "imagenet", None)]
    channels = form.channels or "rgb"
    return [
        replace(
            contract,
            channels=channels,
            input_range=one,
            mean=graph_form.mean_of(mean, one, channels),
            std=graph_form.std_of(std, one, channels),
        )
        for one, mean, std in ways
    ]


def _ranges_of(statistics: Sequence[graph_form.Statistic]) -> tuple[ValueRange, ...]:
    """The ranges in whose units numbers are likely to be."""
    numbers = [abs(value) for one in statistics if one != "imagenet" for value in one]
    if numbers:
        return (255,) if max(numbers) > _LARGEST_SMALL else (1,)
    return (1,) if len(statistics) == 2 else (1, 255)  # with both, the two are the same


def _tried(
    run: Run, contract: GraphContract, photos: Sequence[Pixels], form: GraphForm
) -> ContractCandidate:
    # What is kept is thinned and in memory of its own: outputs may be 8K.
    outputs = [thinned(contract.output_rows(run(contract, photo))) for photo in photos]
    contract = _with_way_out(contract, outputs, form)
    with np.errstate(invalid="ignore"):
        pictures = [contract.to_unit(rows) for rows in outputs]
    scores = [_score(made, thinned(photo)) for made, photo in zip(pictures, photos, strict=True)]
    taken = (contract.input_range, contract.mean, contract.std)
    same = taken == (contract.output_range, contract.output_mean, contract.output_std)
    if contract.is_plain:
        usual = _SAME_BOTH_WAYS if same else 1.0
    else:
        usual = _NORMALISED_BOTH_WAYS if same else _NORMALISED
    return ContractCandidate(
        contract=contract,
        score=float(np.mean(scores)) * usual,
        pictures=np.clip(np.nan_to_num(np.stack(pictures)), 0, 1),
        flags=_flags(contract, form),
    )


def thinned(picture: Array) -> Array:
    """Every n-th row and column of (H, W, 3), so that about a megapixel is left at most."""
    step = math.ceil(math.sqrt(picture.shape[0] * picture.shape[1] / _COMPARED))
    return np.ascontiguousarray(picture[::step, ::step])


def _with_way_out(
    contract: GraphContract, outputs: Sequence[Array], form: GraphForm
) -> GraphContract:
    """The contract with the output's range, mean and deviation that fit its values."""
    if outputs[0].dtype == np.uint8:
        return replace(contract, output_range=255)
    given = [one for one in (form.output_mean, form.output_std) if one is not None]
    if given:
        likeliest = form.output_range or _ranges_of(given)[0]
        mean = graph_form.mean_of(form.output_mean, likeliest, contract.channels)
        std = graph_form.std_of(form.output_std, likeliest, contract.channels)
        return replace(contract, output_range=likeliest, output_mean=mean, output_std=std)
    pixels = np.concatenate([rows.reshape(1, -1, 3) for rows in outputs], axis=1)
    values = np.nan_to_num(pixels.astype(np.float32))
    low, high = np.percentile(values, [1, 99])
    fitting: ValueRange = -1 if low < _BELOW_BLACK else 1
    if max(abs(low), abs(high)) > _LARGEST_SMALL:
        fitting = 255
    plain = replace(contract, output_range=form.output_range or fitting)
    if contract.is_plain:
        return plain
    # The input's mean and deviation, on the scale of the output's range.
    wanted = form.output_range or contract.input_range
    (low_in, high_in), (start, end) = RANGES[contract.input_range], RANGES[wanted]
    scale = (end - start) / (high_in - low_in)
    means: Any = tuple(start + (value - low_in) * scale for value in contract.mean)
    stds: Any = tuple(value * scale for value in contract.std)
    normalised = replace(contract, output_range=wanted, output_mean=means, output_std=stds)

    def outside(way: GraphContract) -> float:
        """The share of the values that are darker than black or brighter than white."""
        unit = way.to_unit(values)
        return float(((unit < -_OUTSIDE) | (unit > 1 + _OUTSIDE)).mean())

    return normalised if outside(normalised) + _OUTSIDE < outside(plain) else plain


def _score(picture: npt.NDArray[np.float32], photo: Pixels) -> float:
    """How much an output looks like a picture made from the photograph; 0 to 1.

    Correlation of the brightness of 8x8 blocks, less for little contrast and for saturation.
    """
    if not np.isfinite(picture).all():
        return 0.0
    clipped = np.clip(picture, 0, 1)
    contrast = min(1.0, float(clipped.std()) / _USUAL_CONTRAST)
    # A network that clamps need not do so at black and white.
    darkest, brightest = clipped.min() + _FLAT, clipped.max() - _FLAT
    flat = float(((clipped <= darkest) | (clipped >= brightest)).mean())
    saturated = float(((picture <= 0) | (picture >= 1)).mean())

    def blocks(of: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        height, width = (side // 8 * 8 for side in of.shape[:2])
        brightness = of[:height, :width].astype(np.float64).mean(axis=2)
        means: npt.NDArray[np.float64] = (
            brightness.reshape(height // 8, 8, width // 8, 8).mean(axis=(1, 3)).ravel()
        )
        means -= means.mean()
        return means

    a, b = blocks(clipped), blocks(photo)
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    likeness = abs(float(a @ b) / norm) if norm > 1e-9 else 0.0
    return likeness * contrast * (1 - flat) * (1 - saturated)


def _flags(contract: GraphContract, form: GraphForm) -> str:
    """The flags that feed the input so."""
    if contract.is_plain:
        return GraphForm(input_range=contract.input_range).flags()
    units = contract.input_range, contract.channels
    mean: graph_form.Statistic = contract.mean
    std: graph_form.Statistic | None = None if contract.std == NO_STD else contract.std
    if mean == graph_form.mean_of("imagenet", *units):
        mean = "imagenet"
    if std == graph_form.std_of("imagenet", *units):
        std = "imagenet"
    channels = None if form.channels else contract.channels
    fed = GraphForm(input_range=contract.input_range, channels=channels, mean=mean, std=std)
    return fed.flags()
