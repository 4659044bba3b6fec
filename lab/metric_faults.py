"""What each quality metric sees of planted faults: `python -m lab.metric_faults`.

Faults are planted into the pictures of included students, and the rows of `nstc bench` are made of
them: medians over sample photographs, and the worst one. A metric sees a fault by itself where its
number is worse than that of every unchanged model, by more than the tolerance of `nstc check`: the
included teachers and students, int8 and float, of all styles. With a baseline it sees one where the
number is worse than the same student's without the fault, by more than that tolerance. Either must
hold in every style that the fault is planted in. Prints the table of docs/reference/metrics.md.
"""

import argparse
import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

import numpy as np

from lab.planted_faults import FAULTS, NO_FAULT, Scene, blank
from nstc.benchmarks.quality.judging import Candidate, JudgingTeacher, StyleTarget, judge
from nstc.benchmarks.quality.metrics import METRICS, Better, metric_of_number
from nstc.benchmarks.subjects import FLOAT, Find, finder
from nstc.benchmarks.table import INFINITE
from nstc.compress.export.export_model import made_artifact
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet, sample_photos
from nstc.models.style import style_of
from nstc.models.vgg import VggFeatures, load_vgg
from nstc.runtime.session import Session

STYLES: Final = ("starry-night", "udnie", "the-scream", "great-wave")
PLANTED: Final = 2  # of these styles, the first ones: faults are planted in their students
TEACHER: Final = "teacher"
FLOAT_STUDENT: Final = "float student"
ONE_PHOTO: Final = "one photograph blank"
UNCHANGED: Final = (TEACHER, FLOAT_STUDENT, NO_FAULT)
_WORST: Final = "_worst"
NUMBERS: Final = (
    *(own.name for own in METRICS),
    *(f"{own.name}{_WORST}" for own in METRICS if own.tail is not None),
)
"""The medians that every row has, and the worst photographs' numbers."""

Rows = Mapping[str, Mapping[str, float]]
"""The numbers of one style's rows, by what was planted."""


class Finding(Enum):
    """What a metric says of a fault, as its sign in the table."""

    SEEN = "●"  # by itself
    WITH_BASELINE = "○"  # with a baseline only
    BETTER = "▽"  # it takes the fault for an improvement, in one style at least
    NOTHING = ""


COUNTED: Final[Mapping[str, Collection[Finding]]] = {
    "seen by themselves": {Finding.SEEN},
    "seen with a baseline": {Finding.SEEN, Finding.WITH_BASELINE},
    "taken for improvements": {Finding.BETTER},
}
"""What the last rows of the table count, and by which signs."""


@dataclass
class Stylist:
    """Stands for a session, and keeps its pictures: every fault asks for the same ones."""

    session: Session
    pictures: dict[bytes, Pixels] = field(default_factory=dict)

    def run(self, rgb: Pixels) -> Pixels:
        """The picture of a photograph, (H, W, 3) uint8 both."""
        key = rgb.tobytes()
        if key not in self.pictures:
            self.pictures[key] = self.session.run(rgb)
        return self.pictures[key]


@dataclass(frozen=True)
class FaultySession:
    """A session whose pictures a fault is planted into."""

    plant: Callable[[Pixels], Pixels]  # from the photograph to the picture
    path: Path = Path("planted")
    artifact: str = "planted"

    def prepare(self, rgb: Pixels) -> Pixels:
        """As `nstc.runtime.session.Session`."""
        return rgb

    def infer(self, feed: Pixels) -> Pixels:
        """Likewise."""
        return self.plant(feed)

    def finish(self, raw: Pixels) -> Pixels:
        """Likewise."""
        return raw

    def run(self, rgb: Pixels) -> Pixels:
        """Likewise."""
        return self.plant(rgb)


def faulty(student: Stylist, other: Stylist, first: Pixels) -> dict[str, FaultySession]:
    """A session for every fault; `first` is the photograph that `ONE_PHOTO` leaves blank.

    The changed copies of it that flicker is measured on are not blank.
    """

    def scene(photo: Pixels) -> Scene:
        return Scene(photo=photo, picture=student.run(photo), other=other.run(photo))

    def one(photo: Pixels) -> Pixels:
        return blank(scene(photo)) if np.array_equal(photo, first) else student.run(photo)

    def planted(fault: Callable[[Scene], Pixels]) -> FaultySession:
        return FaultySession(lambda photo: fault(scene(photo)))

    return {name: planted(fault) for name, fault in FAULTS.items()} | {
        ONE_PHOTO: FaultySession(one)
    }


def measured(
    styles: Sequence[str], photos: PhotoSet, find: Find, *, size: int, planted: int = PLANTED
) -> dict[str, Rows]:
    """The rows of every style: of unchanged models, and of the first `planted` the faults too."""
    vgg = load_vgg()
    students = [Stylist(find(f"zoo:{name}").open("int8.onnx", None)) for name in styles]
    first = next(iter(photos.squares(size)))
    found: dict[str, Rows] = {}
    for position, (name, student) in enumerate(zip(styles, students, strict=True)):
        other = students[(position + 1) % len(students)]
        faults = faulty(student, other, first)
        if position >= planted:
            faults = {NO_FAULT: faults[NO_FAULT]}
        found[name] = _rows(name, find, faults, photos, size, vgg)
        print(f"{name}: done", flush=True)
    return found


def _rows(
    name: str,
    find: Find,
    faults: Mapping[str, FaultySession],
    photos: PhotoSet,
    size: int,
    vgg: VggFeatures,
) -> dict[str, dict[str, float]]:
    teacher = find(f"zoo:{name}/teacher")
    style = None if teacher.bundle is None else style_of(teacher.bundle)
    if style is None:
        raise SystemExit(f"zoo:{name}/teacher has no style.")
    kept = Stylist(teacher.open(FLOAT, None))
    target = StyleTarget(statistics=style, source="painting")
    judged_by = JudgingTeacher(name=name, session=FaultySession(kept.run))
    sessions: dict[str, Session] = {
        TEACHER: FaultySession(kept.run),
        FLOAT_STUDENT: find(f"zoo:{name}").open(FLOAT, None),
        **faults,
    }
    judged = judge(
        [Candidate(session=own, teacher=judged_by, style=target) for own in sessions.values()],
        photos,
        size=size,
        vgg=vgg,
        seed=0,
    )
    return {
        fault: {number: quality.numbers[number] for number in NUMBERS}
        for fault, quality in zip(sessions, judged, strict=True)
    }


def worse_by(name: str, number: float, than: Sequence[float]) -> float:
    """By how many tolerances a number is worse than the worst of others; below 0 it is better.

    Where neither way is better, by how many it is outside of them, on either side.
    """
    metric = metric_of_number(name)
    tolerance = metric.tolerance
    number, *others = (min(own, tolerance.ceiling) for own in (number, *than))
    above = (number - max(others)) / tolerance.allowed(max(others))
    below = (min(others) - number) / tolerance.allowed(min(others))
    by_side = {Better.LOWER: above, Better.HIGHER: below, Better.NEITHER: max(above, below)}
    return by_side[metric.better]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a metric says of a fault in all styles that it was planted in."""

    sign: Finding
    number: float  # in the style in which it says the least


Readings = Mapping[str, Mapping[str, Reading]]
"""By the fault and the metric."""


def readings(table: Mapping[str, Rows]) -> dict[str, dict[str, Reading]]:
    """What every metric says of every fault."""
    faults = dict.fromkeys(fault for rows in table.values() for fault in rows)
    return {
        fault: {name: _reading(name, fault, table) for name in NUMBERS}
        for fault in faults
        if fault not in UNCHANGED
    }


def _reading(name: str, fault: str, table: Mapping[str, Rows]) -> Reading:
    planted = [rows for rows in table.values() if fault in rows]
    unchanged = [rows[own][name] for rows in table.values() for own in UNCHANGED]
    alone = [worse_by(name, rows[fault][name], unchanged) for rows in planted]
    beside = min(worse_by(name, own[fault][name], [own[NO_FAULT][name]]) for own in planted)
    if min(alone) > 1:
        sign = Finding.SEEN
    elif beside > 1:
        sign = Finding.WITH_BASELINE
    else:
        sign = Finding.BETTER if beside < -1 else Finding.NOTHING
    return Reading(sign=sign, number=planted[int(np.argmin(alone))][fault][name])


def markdown(table: Mapping[str, Rows], found: Readings) -> str:
    """A row for each fault; above them what unchanged models have, below how many each sees."""
    lines = [f"| fault | {' | '.join(NUMBERS)} |", "|---|" + "---|" * len(NUMBERS)]
    ranges = []
    for name in NUMBERS:
        unchanged = [rows[own][name] for rows in table.values() for own in UNCHANGED]
        ranges.append(f"{_shown(min(unchanged))} to {_shown(max(unchanged))}")
    lines.append(f"| unchanged models | {' | '.join(ranges)} |")
    for fault, by_metric in found.items():
        cells = [f"{own.sign.value} {_shown(own.number)}".strip() for own in by_metric.values()]
        lines.append(f"| {fault} | {' | '.join(cells)} |")
    for words, signs in COUNTED.items():
        seen = _seen(found, signs).values()
        counts = (str(sum(name in names for names in seen)) for name in NUMBERS)
        lines.append(f"| {words} | {' | '.join(counts)} |")
    return "\n".join(lines)


def _seen(found: Readings, signs: Collection[Finding]) -> dict[str, set[str]]:
    """Of each fault the numbers that have one of these signs."""
    return {
        fault: {name for name, own in by_metric.items() if own.sign in signs}
        for fault, by_metric in found.items()
    }


def _shown(number: float) -> str:
    return INFINITE if math.isinf(number) else f"{number:.2f}"


def summary(found: Readings) -> str:
    """Lines about what no number sees, what one alone does, and how few see all that any sees."""
    lines = []
    for words, signs in list(COUNTED.items())[:2]:
        seen = _seen(found, signs)
        lines.append(f"{words} by none: {_listed(own for own, names in seen.items() if not names)}")
        lines += [
            f"{words} by {_listed(own)} alone: {n}" for n, own in seen.items() if len(own) == 1
        ]
        smallest = smallest_sets([names for names in seen.values() if names])
        lines += [f"all that are {words}, by {_listed(own)}" for own in smallest]
    return "\n".join(lines)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "-"


def smallest_sets(seen: Sequence[Collection[str]]) -> list[tuple[str, ...]]:
    """The smallest sets of numbers of which each of these collections has one."""
    for size in range(len(NUMBERS) + 1):
        found = [
            chosen
            for chosen in itertools.combinations(NUMBERS, size)
            if all(not names.isdisjoint(chosen) for names in map(set, seen))
        ]
        if found:
            return found
    return []


def main() -> None:
    """Print the table, and what follows from it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="side of the pictures in pixels")
    parser.add_argument("--photos", type=int, default=3, help="of the samples, evenly spread")
    parser.add_argument("--styles", nargs="+", default=STYLES, help="of included students")
    given = parser.parse_args()
    photos = sample_photos().take(given.photos)
    find = finder(store=made_artifact)
    table = measured(given.styles, photos, find, size=given.size)
    found = readings(table)
    print(f"\n{markdown(table, found)}\n")
    print(summary(found))


if __name__ == "__main__":
    main()
