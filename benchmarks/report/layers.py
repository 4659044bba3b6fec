"""Per-layer times of the files that a report's rows name, as far as they are on this machine."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nstc.benchmarks.layer_times import LayerTimes, layer_times
from nstc.benchmarks.machine import usable_cores
from nstc.benchmarks.report.columns import all_rows, row_names
from nstc.benchmarks.report.files import open_student, same_file
from nstc.benchmarks.report.reading import Run
from nstc.benchmarks.result import Row
from nstc.core.errors import NstcError
from nstc.core.progress import Progress

MOST: Final = 8
"""Files that are profiled: more bars than that tell nobody anything."""

_LARGEST: Final = 1024
_CPU: Final = re.compile(r"cpu:(\d{1,4})")


@dataclass(frozen=True, kw_only=True)
class Layers:
    """The whole section.

    Attributes:
        times: By name of the row.
        left_out: Of what was not profiled, what it is and why.
    """

    times: dict[str, LayerTimes]
    left_out: tuple[tuple[str, str], ...]


def profile_rows(runs: Sequence[Run], progress: Progress) -> Layers:
    """Profile every row's file at the row's size, with its threads where it is a CPU's row."""
    times: dict[str, LayerTimes] = {}
    left_out: list[tuple[str, str]] = []
    seen: set[object] = set()
    rows = list(zip(row_names(runs), all_rows(runs), strict=True))
    progress.begin("layer times", len(rows), 0)
    for position, (name, (_, row)) in enumerate(rows):
        progress.advance(position, {})
        key = (same_file(row), row.size_bytes, row.size, _threads(row))
        if key in seen:
            continue
        seen.add(key)
        if len(times) == MOST:
            left_out.append((name, f"the first {MOST} files are profiled."))
            continue
        try:
            path = open_student(row).path
            size = min(row.size, _LARGEST)
            times[name] = layer_times(path, size=size, threads=_threads(row))
        except NstcError as error:
            left_out.append((name, str(error)))
    progress.advance(len(rows), {})
    return Layers(times=times, left_out=tuple(left_out))


def _threads(row: Row) -> int:
    found = _CPU.fullmatch(row.target)
    return max(1, min(int(found[1]), len(usable_cores()))) if found else 1
