"""How many steps fill a time, by how long the first ones take."""

import functools
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from nstc.core import errors, files
from nstc.core.decoding import DecodingError, decode, parse_json, read_file
from nstc.core.recipe.recipe_files import MAX_RECIPE_BYTES

# Steps whose times, by their numbers, give a step's mean time: a balance measures gradients in one
# of ten. The first is not counted, since it takes longer.
_TIMED: Final = (0, 10, 11, 12)
_MOST_STEPS: Final = 1_000_000  # in a part
_MARGIN: Final = 1.5  # on a time that is advised


class TimePlan:
    """Steps in each part of a run that fill a time; kept in a file: a resumed run repeats them.

    `shares` are what the parts get of the time, which counts from `started`, by `time.monotonic`.
    """

    def __init__(
        self,
        seconds: float,
        shares: Sequence[float],
        file: Path,
        *,
        resume: bool,
        started: float,
        refuses_no_step: bool = False,
    ) -> None:
        self._seconds, self._started = seconds, started
        self._shares, self._file = shares, file
        self._steps = _read(file) if resume and file.is_file() else []
        self._resumed = bool(self._steps)  # an earlier run took a part of the time
        self._refuses_no_step = refuses_no_step

    @property
    def total(self) -> int:
        """The steps that are planned so far."""
        return sum(self._steps)

    def steps_at(self, number: int, step: Callable[[int], object]) -> int:
        """Those of a part, by its number; at least one.

        `step` takes as long as a step of some number does. `OptionError` if the plan refuses a time
        that is over before the first step of all.
        """
        if number < len(self._steps):
            return self._steps[number]
        times = [_seconds_of(functools.partial(step, own)) for own in _TIMED][1:]
        each = max(1e-6, 0.1 * times[0] + 0.9 * sum(times[1:]) / len(times[1:]))
        shares = self._shares
        passed = time.monotonic() - self._started
        left = self._seconds - passed
        if self._resumed:
            left = min(left, self._seconds * sum(shares[number:]) / sum(shares))
        left *= shares[number] / sum(shares[number:])
        if left < each and number == 0 and self._refuses_no_step:
            needed = math.ceil(_MARGIN * (passed + each * sum(shares) / shares[0]))
            raise errors.OptionError(
                f"time is {self._seconds:g}s, too short for a step, which takes {each:.2g} s "
                f"after {passed:.0f} s to begin with: give at least {needed}s."
            )
        self._steps.append(max(1, min(_MOST_STEPS, int(left / each))))
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
