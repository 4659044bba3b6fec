"""How an optimisation divides its steps, or its time, among sizes from coarse to fine."""

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
_TIMED: Final = 2  # evaluations by which a step's time is known


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
    """So many steps divided among scales, from coarse to fine; at least one each."""
    shares = [_MORE_STEPS ** (count - 1 - number) for number in range(count)]
    return [max(1, round(steps * share / sum(shares))) for share in shares]


class TimePlan:
    """Steps at each scale that fill a time; kept in a file, so that a resumed run repeats them."""

    def __init__(self, seconds: float, count: int, file: Path, *, resume: bool) -> None:
        self._ends = time.monotonic() + seconds
        self._count, self._file = count, file
        self._steps = _read(file) if resume and file.is_file() else []

    def steps_at(self, number: int, step: Callable[[], object]) -> int:
        """Those of a scale, by its number from the coarsest. `step` takes as long as one does."""
        if number < len(self._steps):
            return self._steps[number]
        shares = [_LESS_TIME ** (self._count - 1 - n) for n in range(number, self._count)]
        step()  # the first takes longer
        before = time.monotonic()
        for _ in range(_TIMED):
            step()
        each = (time.monotonic() - before) / _TIMED
        left = (self._ends - time.monotonic()) * shares[0] / sum(shares)
        self._steps.append(max(1, int(left / each)))
        files.write_text(self._file, json.dumps(self._steps))
        return self._steps[number]


def _read(file: Path) -> list[int]:
    try:
        steps = decode(parse_json(read_file(file, MAX_RECIPE_BYTES)), list[int])
    except (OSError, DecodingError) as error:
        raise errors.CorruptBundleError(
            f"{file} can't be read: {error}. Run again without --resume to start afresh."
        ) from error
    if any(count < 1 for count in steps):
        raise errors.CorruptBundleError(
            f"{file} holds {steps!s:.80}: expected numbers of steps. Run again without --resume."
        )
    return steps
