"""How long a user waits before anything happens: `python -m lab.startup [--json]`."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from nstc.benchmarks.timing.statistics import iqr, median
from nstc.core.terminal import plain_console

LIMIT_S: Final = 0.4
"""What a command that only prints may take."""

ROUNDS: Final = 9

IMPORT_LIMIT_S: Final = 0.15
"""What `import nstc` may take, which a program pays that may never use it."""


@dataclass(frozen=True)
class Command:
    """What is timed.

    Attributes:
        arguments: Of Python.
        limit_s: What it may take.
    """

    arguments: tuple[str, ...]
    limit_s: float = LIMIT_S


COMMANDS: Final[Mapping[str, Command]] = {
    "nstc --version": Command(("-m", "nstc", "--version")),
    "nstc --help": Command(("-m", "nstc", "--help")),
    "import nstc": Command(("-c", "import nstc"), IMPORT_LIMIT_S),
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
        limit_s: What it may take.
        within_limit: Whether `seconds` is at most that.
    """

    command: str
    seconds: float
    iqr: float
    over_bare: float
    limit_s: float
    within_limit: bool


def startup_rows(
    commands: Mapping[str, Command] = COMMANDS,
    *,
    rounds: int = ROUNDS,
    timer: Timer | None = None,
) -> list[StartupRow]:
    """Time commands once a round each, after a bare interpreter.

    Args:
        commands: By what is typed.
        rounds: At least 1; an uncounted one before them fills the disk's cache.
        timer: From arguments of Python to seconds; a fresh process unless given.
    """
    timer = timer or seconds_of
    bare: list[float] = []
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        first = timer(_BARE)
        own = {name: timer(command.arguments) for name, command in commands.items()}
        if number > 0:
            bare.append(first)
            for name, seconds in own.items():
                taken[name].append(seconds)
    return [_row(name, commands[name].limit_s, samples, bare) for name, samples in taken.items()]


def _row(name: str, limit_s: float, samples: Sequence[float], bare: Sequence[float]) -> StartupRow:
    seconds = median(samples)
    return StartupRow(
        command=name,
        seconds=seconds,
        iqr=iqr(samples),
        over_bare=median([own / first for own, first in zip(samples, bare, strict=True)]),
        limit_s=limit_s,
        within_limit=seconds <= limit_s,
    )


def seconds_of(arguments: Sequence[str]) -> float:
    """How long this Python takes with some arguments, from start to exit.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    started = time.perf_counter()
    # Nothing else may be in the time that is taken.
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return time.perf_counter() - started


def main() -> int:
    """Print the rows; 1 if a command is over the limit."""
    from rich.table import Table

    parser = argparse.ArgumentParser(prog="python -m lab.startup", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    rows = startup_rows()
    if as_json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    else:
        table = Table("command", "s", "IQR", "times bare Python", "at most s", "holds", box=None)
        for row in rows:
            fits = "yes" if row.within_limit else "NO"
            table.add_row(
                row.command,
                f"{row.seconds:.3f}",
                f"{row.iqr:.3f}",
                f"{row.over_bare:.1f}",
                f"{row.limit_s}",
                fits,
            )
        plain_console().print(table)
    return 0 if all(row.within_limit for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
