"""How weak a grid misses the goal of the included students: `python -m lab.grid_goal`.

Darker lines are planted into the pictures of the included students that had a teacher (int8), every
4 and every 8 pixels, and `checkerboard_ratio` is taken of them: medians over sample photographs.
Prints the table of docs/reference/metrics.md.
"""

import argparse
import statistics
from collections.abc import Sequence
from typing import Final

from lab.planted_faults import Scene, grid
from lab.ship import taught_students
from nstc.benchmarks.quality.metrics import checkerboard_ratio
from nstc.benchmarks.subjects import FLOAT, Find, finder
from nstc.compress.export.export_model import made_artifact
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet, sample_photos

GOAL: Final = 1.0  # at most: no more of a grid than the teacher leaves
GRIDS: Final = ((4, 1), (4, 2), (4, 3), (8, 2), (8, 3), (8, 4))
"""Pixels from line to line, and levels of 255 by which lines are darker."""


def ratio(
    pictures: Sequence[Pixels], teachers: Sequence[Pixels], planted: tuple[int, int]
) -> float:
    """The median of `checkerboard_ratio`, with one of `GRIDS` in the pictures; (4, 0) is none."""
    scenes = (Scene(photo=own, picture=own, other=own) for own in pictures)
    spoilt = (grid(*planted, scene) for scene in scenes)
    return statistics.median(map(checkerboard_ratio, spoilt, teachers))


def row(name: str, find: Find, photos: PhotoSet, size: int) -> str:
    """The line of one student; those that miss the goal are marked."""
    squares = list(photos.squares(size))
    student = find(name).open("int8.onnx", None)
    teacher = find(f"{name.partition('/')[0]}/teacher").open(FLOAT, None)
    pictures, teachers = ([own.run(photo) for photo in squares] for own in (student, teacher))
    found = [ratio(pictures, teachers, planted) for planted in ((4, 0), *GRIDS)]
    cells = (f"{'●' if own > GOAL else ''} {own:.2f}".strip() for own in found)
    return f"| `{name}` | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512, help="side of the pictures in pixels")
    parser.add_argument("--photos", type=int, default=12, help="of the samples, evenly spread")
    given = parser.parse_args()
    photos, find = sample_photos().take(given.photos), finder(store=made_artifact)
    headings = (f"{period} px, {levels} of 255" for period, levels in GRIDS)
    print(f"| student | no grid | {' | '.join(headings)} |\n|---|---|{'---|' * len(GRIDS)}")
    for name in taught_students():
        print(row(name, find, photos, given.size), flush=True)


if __name__ == "__main__":
    main()
