"""What int8 files cost and give beside their own float files: `python -m lab.integer_files`.

Each student is benched with its float file in its teacher's place: times faster are those than the
float file, style_ratio and content_ratio what they are worse by, color_drift is the distance of
their colours. Prints a Markdown table with the bounds under it, and exits with 1 if a student
misses one. Times want a machine that does nothing else.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from nstc.benchmarks.bench import bench
from nstc.benchmarks.result import Row
from nstc.benchmarks.timing.statistics import Interval
from nstc.cli.output import Bar
from nstc.core.photos import photos_in
from nstc.core.recipe import BenchRecipe
from nstc.core.zoo import zoo_students

TARGETS: Final = ("cpu:1", "cpu:2")

FASTER_AT_LEAST: Final = 2.0
MOST: Final[Mapping[str, float]] = {"style_ratio": 1.03, "content_ratio": 1.03, "color_drift": 1.0}


def main() -> None:
    """Bench each, print all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="*", default=list(zoo_students()))
    parser.add_argument("--photos", type=Path, action="append", default=[])
    parser.add_argument("--rounds", type=int, default=BenchRecipe().rounds)
    arguments = parser.parse_args()
    photos = photos_in(arguments.photos)
    recipe = BenchRecipe(rounds=arguments.rounds, targets=TARGETS)
    found = {}
    with Bar() as bar:
        for bundle in arguments.bundles:
            result = bench(
                [bundle],
                against=bundle,
                teacher=bundle,
                artifacts=["int8"],
                photos=photos,
                recipe=recipe,
                progress=bar,
            )
            found[bundle] = result.rows
    print_table(found)
    if any(misses(rows) for rows in found.values()):
        raise SystemExit(1)


def print_table(found: Mapping[str, Sequence[Row]]) -> None:
    """A row a bundle, the bounds last."""
    heads = [*(f"times faster, {target} (95 %)" for target in TARGETS), *MOST, "misses"]
    print(f"| int8 beside float | {' | '.join(heads)} |")
    print("|---|" + "---|" * len(heads))
    for bundle, rows in found.items():
        cells = [*(interval(row.speedup) for row in rows), *map(interval, judged(rows).values())]
        print(f"| {bundle} | {' | '.join(cells)} | {', '.join(misses(rows)) or '-'} |")
    bounds = [f"≥ {FASTER_AT_LEAST}"] * len(TARGETS) + [f"≤ {most}" for most in MOST.values()]
    print(f"| bound | {' | '.join(bounds)} | |")


def judged(rows: Sequence[Row]) -> Mapping[str, Interval]:
    """What the pictures were judged by; they are the same on every target."""
    quality = next(row.quality for row in rows if row.quality is not None)
    return {name: quality.metrics[name] for name in MOST}


def misses(rows: Sequence[Row]) -> list[str]:
    """Which bounds are not kept, by the median."""
    slow = [row.target for row in rows if row.speedup.median < FASTER_AT_LEAST]
    return slow + [name for name, each in judged(rows).items() if each.median > MOST[name]]


def interval(each: Interval) -> str:
    """A median and its interval."""
    return f"{each.median:.3g} ({each.low:.3g} to {each.high:.3g})"


if __name__ == "__main__":
    main()
