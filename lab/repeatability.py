"""Whether two runs of the benchmark agree: `python -m lab.repeatability --pairs 50`.

A 95 % interval is worth what it says only if another process, some minutes later, finds one that
overlaps it. Each run is `nstc bench` in a process of its own.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.timing.statistics import Interval, median
from nstc.core.terminal import plain_console

PAIRS: Final = 50
REQUIRED_SHARE: Final = 0.96
"""Of the pairs, 48 of 50: two honest 95 % intervals of one quantity overlap in 99 of 100."""

_TIME_LIMIT_S: Final = 600
_REACH: Final = 1.96

Run = Callable[[int], dict[str, Interval]]
"""From a run's number to its rows' speed-ups, by row."""


@dataclass(frozen=True, kw_only=True)
class Repeatability:
    """How well one row's speed-ups repeat.

    Attributes:
        row: Model, artifact and target.
        pairs: Of runs, one right after the other.
        overlapping: Pairs whose two intervals overlap.
        speedup: Median over all runs.
        between_runs: Standard deviation of the runs' medians, as a share.
        within_run: What their intervals take it to be. Smaller than `between_runs` where
            something differs from process to process that no single run can see.
        enough: Whether `REQUIRED_SHARE` of the pairs overlap.
    """

    row: str
    pairs: int
    overlapping: int
    speedup: float
    between_runs: float
    within_run: float
    enough: bool


def repeatability(run: Run, pairs: int) -> list[Repeatability]:
    """Make pairs of runs and count, for each row, how many agree.

    Args:
        run: Makes one.
        pairs: At least 1.
    """
    found = [(run(2 * number), run(2 * number + 1)) for number in range(pairs)]
    return [_row(name, [(one[name], other[name]) for one, other in found]) for name in found[0][0]]


def overlap(one: Interval, other: Interval) -> bool:
    """Whether two intervals have a number in common."""
    return one.low <= other.high and other.low <= one.high


def _row(name: str, pairs: Sequence[tuple[Interval, Interval]]) -> Repeatability:
    runs = [run for pair in pairs for run in pair]
    middles = [math.log(run.median) for run in runs]
    mean = math.fsum(middles) / len(middles)
    deviation = math.sqrt(math.fsum((m - mean) ** 2 for m in middles) / (len(middles) - 1))
    widths = [math.log(run.high / run.low) / 2 / _REACH for run in runs]
    overlapping = sum(overlap(*pair) for pair in pairs)
    return Repeatability(
        row=name,
        pairs=len(pairs),
        overlapping=overlapping,
        speedup=median([run.median for run in runs]),
        between_runs=deviation,
        within_run=median(widths),
        enough=overlapping >= math.floor(REQUIRED_SHARE * len(pairs)),
    )


def bench_in_a_process(arguments: Sequence[str]) -> Run:
    """Runs `nstc bench` with some arguments; the number of the run is its seed.

    Raises:
        CalledProcessError: it failed; what it said is on standard error.
    """

    def run(number: int) -> dict[str, Interval]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "bench.json"
            command = [sys.executable, "-m", "nstc", "bench", *arguments]
            command += ["--no-quality", "--seed", str(number), "--json", str(file)]
            # This Python and nstc, with the arguments of whoever runs this module.
            subprocess.run(  # noqa: S603
                command, check=True, stdout=subprocess.DEVNULL, timeout=_TIME_LIMIT_S
            )
            return speedups(json.loads(file.read_text(encoding="utf-8")))

    return run


def speedups(result: dict[str, Any]) -> dict[str, Interval]:
    """Of a result's JSON, by row."""
    return {
        f"{row['model']} {row['artifact']} {row['target']}": Interval(**row["speedup"])
        for row in result["rows"]
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print how each row repeats; 1 if too few pairs of a row overlap."""
    from rich.table import Table

    asked = _parser().parse_args(arguments)
    bench = [asked.model, "--against", asked.against or asked.model]
    bench += ["--size", str(asked.size), "--rounds", str(asked.rounds), "--target", asked.target]
    rows = repeatability(bench_in_a_process(bench), asked.pairs)
    if asked.json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    else:
        headings = ("row", "overlapping", "times faster", "SD between", "SD within", "enough")
        table = Table(*headings, box=None)
        for row in rows:
            table.add_row(
                row.row,
                f"{row.overlapping} of {row.pairs}",
                f"{row.speedup:.3f}",
                f"{row.between_runs * 100:.2f} %",
                f"{row.within_run * 100:.2f} %",
                "yes" if row.enough else "NO",
            )
        plain_console().print(table)
    return 0 if all(row.enough for row in rows) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.repeatability", description=__doc__)
    parser.add_argument("model", nargs="?", default="zoo:starry-night")
    parser.add_argument("--against", help="the reference; the model's own float graph by default")
    parser.add_argument("--pairs", type=_at_least_one, default=PAIRS)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--target", default="cpu:1")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
