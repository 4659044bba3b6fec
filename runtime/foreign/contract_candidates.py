"""Which values a network made by others takes and gives: every usual way is tried on photographs.

A network does not say whether white is 1 or 255, or whether ImageNet's mean is taken off. Fed
wrongly, it gives a washed-out, a saturated, or no picture, so the ways are compared by what comes
out. Where several ways give good pictures that differ, nothing in the file tells which is meant.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nstc.core.errors import OptionError
from nstc.core.graph_form import (
    NO_MEAN,
    NO_STD,
    RANGES,
    GraphForm,
    Layout,
    Statistic,
    Triple,
    ValueRange,
    mean_of,
    std_of,
)
from nstc.core.images import Pixels
from nstc.runtime.arrays import Array
from nstc.runtime.foreign.graph_contract import GraphContract, picture_of

# The raw output for a picture (H, W, 3), fed by a contract.
Run = Callable[[GraphContract, Pixels], Array]
LEAST_SCORE: Final = 0.02  # below this an output has nothing to do with the photograph
# Standard deviation of a stylised picture from 0 to 1; less is taken for washed out.
_USUAL_CONTRAST: Final = 0.2
# Ways that score so near to the best are equal, and the most usual one is taken.
_AS_GOOD: Final = 0.97
_RIVAL: Final = 0.7  # a way that scores at least this share of the best can't be ruled out
_WORTH_NAMING: Final = 0.4

# About so many pixels of a picture, evenly over it, are compared: what a graph fixes may be 8K.
_LOOKED_AT: Final = 2**20
# Mean difference of two pictures that are not the same. Borders and epsilons make up to half.
_CLEARLY_DIFFERENT: Final = 14 / 255
_FLAT: Final = 0.01  # values so near to an output's darkest or brightest have run into it
_OUTSIDE: Final = 0.02
_LARGEST_SMALL: Final = 4.0  # outputs beyond this are on the scale of 255
_BELOW_BLACK: Final = -0.4

# How usual pairs of ways in and out are: most networks give what they take.
_SAME_BOTH_WAYS: Final = 1.15
_NORMALISED: Final = 0.85
_NORMALISED_BOTH_WAYS: Final = 0.65


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
    """Try all ways that a form leaves open.

    Args:
        run: Runs the network.
        contract: Names, layouts and type; ranges are filled in.
        photos: (H, W, 3) each, of one size.
        form: What is known.

    Raises:
        OptionError: what is known can't be.
    """
    tried = [
        _tried(run, dataclasses.replace(contract, **way), photos, form)
        for way in _ways_in(form, contract)
    ]
    most = max(one.score for one in tried)
    best = next(one for one in tried if one.score >= _AS_GOOD * most)

    def may_rival(one: ContractCandidate) -> bool:
        return one.score > _RIVAL * best.score and _apart(one, best) > _CLEARLY_DIFFERENT

    caffe = next((own for own in tried if own.contract.descends_from_caffe), None)
    if caffe is not None and form.channels is None and (caffe is best or may_rival(caffe)):
        mean = mean_of(form.mean or "imagenet", 255, "bgr")
        swapped = dataclasses.replace(caffe.contract, channels="bgr", mean=mean)
        tried.append(_tried(run, swapped, photos, form))
    others = [one for one in tried if one is not best and _apart(one, best) > _CLEARLY_DIFFERENT]
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


def _ways_in(form: GraphForm, contract: GraphContract) -> Iterator[dict[str, Any]]:
    """Input ranges with means and deviations, the most usual first."""
    channels = form.channels or "rgb"
    plain = {"channels": channels, "mean": NO_MEAN, "std": NO_STD}
    told = [one for one in (form.mean, form.std) if one is not None]
    if contract.dtype == "uint8":
        if form.input_range not in (None, 255) or any(one not in (NO_MEAN, NO_STD) for one in told):
            raise OptionError(
                f"the network takes bytes, 0 to 255 as they are: {form.flags()} can't be."
            )
        yield {**plain, "input_range": 255}
    elif told:
        for one in (form.input_range,) if form.input_range else _ranges_of(told):
            mean, std = mean_of(form.mean, one, channels), std_of(form.std, one, channels)
            yield {"channels": channels, "input_range": one, "mean": mean, "std": std}
    elif form.input_range is not None:
        yield {**plain, "input_range": form.input_range}
    else:
        for one in RANGES:
            yield {**plain, "input_range": one}
        mean, std = mean_of("imagenet", 1, channels), std_of("imagenet", 1, channels)
        yield {"channels": channels, "input_range": 1, "mean": mean, "std": std}
        mean = mean_of("imagenet", 255, channels)
        yield {"channels": channels, "input_range": 255, "mean": mean, "std": NO_STD}


def _ranges_of(statistics: Sequence[Statistic]) -> tuple[ValueRange, ...]:
    """The ranges in whose units numbers are likely to be."""
    numbers = [abs(value) for one in statistics if one != "imagenet" for value in one]
    if numbers:
        return (255,) if max(numbers) > _LARGEST_SMALL else (1,)
    return (1,) if len(statistics) == 2 else (1, 255)  # with both, the two are the same


def _tried(
    run: Run, contract: GraphContract, photos: Sequence[Pixels], form: GraphForm
) -> ContractCandidate:
    outputs = [_thinned_output(run(contract, photo), contract.output_layout) for photo in photos]
    photos = [thinned(photo) for photo in photos]
    contract = dataclasses.replace(contract, **_way_out(contract, outputs, form))
    with np.errstate(invalid="ignore"):
        pictures = [contract.decode(raw) for raw in outputs]
    scores = [_score(*pair) for pair in zip(pictures, photos, strict=True)]
    return ContractCandidate(
        contract=contract,
        score=float(np.mean(scores)) * _usual(contract),
        pictures=np.clip(np.nan_to_num(np.stack(pictures)), 0, 1),
        flags=_flags(contract, form),
    )


def thinned(picture: Pixels) -> Pixels:
    """Every n-th row and column of (H, W, 3), so that about a megapixel is left at most."""
    step = _step(*picture.shape[:2])
    return np.ascontiguousarray(picture[::step, ::step])


def _thinned_output(raw: Array, layout: Layout) -> Array:
    """The same rows and columns of a graph's output, in memory of their own."""
    height, width = raw.shape[2:] if layout == "NCHW" else raw.shape[1:3]
    step = _step(height, width)
    kept = raw[:, :, ::step, ::step] if layout == "NCHW" else raw[:, ::step, ::step]
    return np.ascontiguousarray(kept)


def _step(height: int, width: int) -> int:
    return math.ceil(math.sqrt(height * width / _LOOKED_AT))


def _way_out(contract: GraphContract, outputs: Sequence[Array], form: GraphForm) -> dict[str, Any]:
    """The output's range, mean and deviation that fit its values."""
    if outputs[0].dtype == np.uint8:
        return {"output_range": 255}
    pixels = [picture_of(raw, contract.output_layout) for raw in outputs]
    values = np.nan_to_num(np.concatenate([picture.reshape(-1, 3) for picture in pixels]))
    told = [one for one in (form.output_mean, form.output_std) if one is not None]
    if told:
        likeliest = form.output_range or _ranges_of(told)[0]
        mean = mean_of(form.output_mean, likeliest, contract.channels)
        std = std_of(form.output_std, likeliest, contract.channels)
        return {"output_range": likeliest, "output_mean": mean, "output_std": std}
    low, high = np.percentile(values, [1, 99])
    fitting = 255 if max(abs(low), abs(high)) > _LARGEST_SMALL else -1 if low < _BELOW_BLACK else 1
    plain: dict[str, Any] = {"output_range": form.output_range or fitting}
    if (contract.mean, contract.std) == (NO_MEAN, NO_STD):
        return plain
    wanted = form.output_range or contract.input_range
    normalised = {
        "output_range": wanted,
        "output_mean": _in_units_of(wanted, contract, contract.mean, offset=True),
        "output_std": _in_units_of(wanted, contract, contract.std, offset=False),
    }
    outside = [
        _outside(values, dataclasses.replace(contract, **way)) for way in (plain, normalised)
    ]
    return normalised if outside[1] + _OUTSIDE < outside[0] else plain


def _in_units_of(
    wanted: ValueRange, contract: GraphContract, values: Triple, *, offset: bool
) -> Triple:
    """A mean or a deviation of the input's range on the scale of another."""
    (low, high), (start, end) = RANGES[contract.input_range], RANGES[wanted]
    scale = (end - start) / (high - low)
    first, second, third = (
        start + (value - low) * scale if offset else value * scale for value in values
    )
    return first, second, third


def _outside(values: npt.NDArray[np.float32], contract: GraphContract) -> float:
    """The share of an output's values, (pixels, 3), that are darker than black or brighter."""
    black, white = contract.black_and_white
    unit = (values - black) / (white - black)
    return float(((unit < -_OUTSIDE) | (unit > 1 + _OUTSIDE)).mean())


def _score(picture: npt.NDArray[np.float32], photo: Pixels) -> float:
    """How much an output looks like a picture made from the photograph; 0 to 1.

    Correlation of the brightness of 8x8 blocks, less for little contrast and for saturation.
    """
    if not np.isfinite(picture).all():
        return 0.0
    seen = np.clip(picture, 0, 1)
    contrast = min(1.0, float(seen.std()) / _USUAL_CONTRAST)
    # A network that clamps need not do so at black and white.
    darkest, brightest = seen.min() + _FLAT, seen.max() - _FLAT
    flat = float(((seen <= darkest) | (seen >= brightest)).mean())
    saturated = float(((picture <= 0) | (picture >= 1)).mean())
    likeness = abs(_correlation(_blocks(seen), _blocks(photo)))
    return likeness * contrast * (1 - flat) * (1 - saturated)


def _usual(contract: GraphContract) -> float:
    """How usual it is that a network which takes this gives that."""
    taken = (contract.input_range, contract.mean, contract.std)
    given = (contract.output_range, contract.output_mean, contract.output_std)
    if (contract.mean, contract.std) == (NO_MEAN, NO_STD):
        return _SAME_BOTH_WAYS if taken == given else 1.0
    return _NORMALISED_BOTH_WAYS if taken == given else _NORMALISED


def _apart(one: ContractCandidate, other: ContractCandidate) -> float:
    return float(np.abs(one.pictures - other.pictures).mean())


def _flags(contract: GraphContract, form: GraphForm) -> str:
    """What says at the prompt how the input is fed."""
    if (contract.mean, contract.std) == (NO_MEAN, NO_STD):
        said = GraphForm(input_range=contract.input_range)
    else:
        units = contract.input_range, contract.channels
        std: Statistic = "imagenet" if contract.std == std_of("imagenet", *units) else contract.std
        said = GraphForm(
            input_range=contract.input_range,
            channels=None if form.channels else contract.channels,
            mean="imagenet" if contract.mean == mean_of("imagenet", *units) else contract.mean,
            std=None if contract.std == NO_STD else std,
        )
    return said.flags()


def _blocks(picture: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Mean brightness of 8x8 blocks, flattened."""
    height, width = (side // 8 * 8 for side in picture.shape[:2])
    brightness = picture[:height, :width].astype(np.float64).mean(axis=2)
    means: npt.NDArray[np.float64] = brightness.reshape(height // 8, 8, width // 8, 8).mean(
        axis=(1, 3)
    )
    return means.ravel()


def _correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 1e-9 else 0.0
