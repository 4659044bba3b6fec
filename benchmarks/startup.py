"""How long a user waits for `nstc --help`: `python -m nstc.benchmarks.startup [--json]`."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from nstc.benchmarks.statistics import iqr, median

LIMIT_S: Final = 0.4
"""What a command that only prints may take."""

ROUNDS: Final = 9

COMMANDS: Final = {
    "nstc --version": ("-m", "nstc", "--version"),
    "nstc --help": ("-m", "nstc", "--help"),
    "import nstc": ("-c", "import nstc"),
}
_BARE: Final = ("-c", "pass")

Timer = Callable[[Sequence[str]], float]


@dataclass(frozen=True, kw_only=True)
class StartupRow:
    """A command beside an interpreter that does nothing.

    Attributes:
        command: What is typed.
        seconds: Median over rounds, from start to exit.
        iqr: Interquartile range of the same.
        over_bare: Median over rounds of its time over the bare interpreter's of the round.
        within_limit: Whether `seconds` is at most `LIMIT_S`.
    """

    command: str
    seconds: float
    iqr: float
    over_bare: float
    within_limit: bool


def startup_rows(*, rounds: int = ROUNDS, timer: Timer | None = None) -> list[StartupRow]:
    """Time each of `COMMANDS` once a round, after a bare interpreter.

    Args:
        rounds: At least 1; an uncounted one before them fills the disk's cache.
        timer: From arguments of Python to seconds; a fresh process unless given.
    """
    timer = timer or _seconds
    bare: list[float] = []
    taken: dict[str, list[float]] = {command: [] for command in COMMANDS}
    for number in range(rounds + 1):
        first = timer(_BARE)
        own = {command: timer(arguments) for command, arguments in COMMANDS.items()}
        if number > 0:
            bare.append(first)
            for command, seconds in own.items():
                taken[command].append(seconds)
    return [_row(command, samples, bare) for command, samples in taken.items()]


def _row(command: str, samples: Sequence[float], bare: Sequence[float]) -> StartupRow:
    seconds = median(samples)
    return StartupRow(
        command=command,
        seconds=seconds,
        iqr=iqr(samples),
        over_bare=median([own / first for own, first in zip(samples, bare, strict=True)]),
        within_limit=seconds <= LIMIT_S,
    )


def _seconds(arguments: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> int:
    """Print the rows; 1 if a command is over the limit."""
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(prog="python -m nstc.benchmarks.startup", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    rows = startup_rows()
    if as_json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    else:
        table = Table("command", "s", "IQR", "times bare Python", f"at most {LIMIT_S} s", box=None)
        for row in rows:
            fits = "yes" if row.within_limit else "NO"
            table.add_row(
                row.command, f"{row.seconds:.3f}", f"{row.iqr:.3f}", f"{row.over_bare:.1f}", fits
            )
        Console().print(table)
    return 0 if all(row.within_limit for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
