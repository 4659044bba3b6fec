"""How an optimisation divides its steps, or its time, among sizes from coarse to fine."""

import functools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from nstc.core import errors, files
from nstc.core.decoding import DecodingError, decode, parse_json, read_file
from nstc.core.recipe import OptimizeRecipe
from nstc.core.recipe.recipe_files import MAX_RECIPE_BYTES

PLAN_FILE: Final = "plan.json"

_COARSEST: Final = 256  # px of the longer side, unless a recipe says how many scales
_LEAST: Final = 32  # px of either side: VGG halves them three times
_MORE_STEPS: Final = 1.5  # times as many steps at a scale as at the next finer one
_LESS_TIME: Final = 0.6  # of the next finer one's
# Steps whose times, by their numbers, give a step's mean time: a balance measures gradients in one
# of ten. The first is not counted, since it takes longer.
_TIMED: Final = (0, 10, 11, 12)
_MOST_STEPS: Final = 1_000_000  # at a scale


def scales(recipe: OptimizeRecipe, shape: Sequence[int]) -> tuple[int, ...]:
    """Long sides in px from coarse to fine, for a photograph (H, W).

    `OptionError` if the coarsest leaves too little of the photograph's other side.
    """
    sizes = [recipe.size]
    while len(sizes) < recipe.scales if recipe.scales else sizes[0] // 2 >= _COARSEST:
        sizes.insert(0, sizes[0] // 2)
    shorter = round(sizes[0] * min(shape) / max(shape))
    if shorter < _LEAST:
        raise errors.OptionError(
            f"the photograph is {shape[1]}x{shape[0]}, and at {sizes[0]} px on its long side "
            f"{shorter} px are left of the other: expected {_LEAST} at least. Give a larger "
            "--size, fewer --scales, or crop it."
        )
    return tuple(sizes)


def shared_steps(steps: int, count: int) -> list[int]:
    """So many steps divided among scales, from coarse to fine, at least one each.

    `OptionError` if there are fewer steps than scales.
    """
    if steps < count:
        raise errors.OptionError(
            f"steps is {steps}, and there are {count} sizes from coarse to fine: give at least "
            f"{count} steps, or --scales {steps}."
        )
    shares = [_MORE_STEPS ** (count - 1 - number) for number in range(count)]
    each = [1 + int((steps - count) * share / sum(shares)) for share in shares]
    return [each[0] + steps - sum(each), *each[1:]]


class TimePlan:
    """Steps at each scale that fill a time; kept in a file, so that a resumed run repeats them."""

    def __init__(
        self, seconds: float, count: int, file: Path, *, resume: bool, started: float
    ) -> None:
        self._seconds, self._ends = seconds, started + seconds
        self._count, self._file = count, file
        self._steps = _read(file) if resume and file.is_file() else []
        self._resumed = bool(self._steps)  # an earlier run took a part of the time

    def steps_at(self, number: int, step: Callable[[int], object]) -> int:
        """Those of a scale, by its number from the coarsest.

        `step` takes as long as a step of some number does.
        """
        if number < len(self._steps):
            return self._steps[number]
        times = [_seconds_of(functools.partial(step, own)) for own in _TIMED][1:]
        each = 0.1 * times[0] + 0.9 * sum(times[1:]) / len(times[1:])
        shares = [_LESS_TIME ** (self._count - 1 - n) for n in range(self._count)]
        left = self._ends - time.monotonic()
        if self._resumed:
            left = min(left, self._seconds * sum(shares[number:]) / sum(shares))
        left *= shares[number] / sum(shares[number:])
        self._steps.append(max(1, min(_MOST_STEPS, int(left / max(each, 1e-6)))))
        files.write_text(self._file, json.dumps(self._steps))
        return self._steps[number]


def _seconds_of(work: Callable[[], object]) -> float:
    before = time.monotonic()
    work()
    return time.monotonic() - before


def _read(file: Path) -> list[int]:
    try:
        steps = decode(parse_json(read_file(file, MAX_RECIPE_BYTES)), list[int])
    except (OSError, DecodingError) as error:
        raise errors.CorruptBundleError(
            f"{file} can't be read: {error}. Run again without --resume to start afresh."
        ) from error
    if any(not 1 <= count <= _MOST_STEPS for count in steps):
        raise errors.CorruptBundleError(
            f"{file} holds {steps!s:.80}: expected numbers of steps. Run again without --resume."
        )
    return steps
