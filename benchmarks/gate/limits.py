"""Limits on measured rows: budgets, and `--memory-cap`."""

import difflib
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nstc.benchmarks.gate.keys import RowKey
from nstc.benchmarks.gate.verdicts import Finding, Verdict
from nstc.benchmarks.metric_names import current_name
from nstc.benchmarks.quality.metrics import ADDED, METRICS, Metric
from nstc.benchmarks.result import BenchResult, Row
from nstc.benchmarks.targets import TARGETS, parse_target
from nstc.benchmarks.targets.base import Target
from nstc.benchmarks.timing.statistics import TAIL_ENDS
from nstc.core.errors import BudgetError, MemoryCapError, OptionError
from nstc.core.recipe.settings import BYTES, COUNTS, parse_latency, read_amount
from nstc.core.recipe.settings import LATENCY as ALLOWED_LATENCY

MB: Final = 1_000_000
STAGES: Final = ("distilled", "pruned", "student")  # of `nstc compress`; the last one is quantized
LATENCY: Final = "latency"
# What may be limited besides metrics and latency: the stage from which each must hold, what its
# number may have as a unit, and how it is found.
_FACTS: Final[Mapping[str, tuple[str, Sequence[str], Callable[[Row], float | None]]]] = {
    "params": ("pruned", COUNTS, lambda row: row.params),
    "macs": ("pruned", COUNTS, lambda row: row.macs),
    "bytes": ("student", (*COUNTS, *BYTES), lambda row: row.size_bytes),
    "speedup": ("student", ("",), lambda row: row.speedup.median),
}
_EXAMPLES: Final = {
    LATENCY: "a time on a target, such as 8ms@cpu:1",
    "params": "a number such as 40K",
    "macs": "a number such as 400M",
    "bytes": "a size such as 100KB",
}
_NAME: Final = r"[A-Za-z][A-Za-z0-9_]*"
_FORM: Final = re.compile(rf"\s*({_NAME})\s*(<=|>=)\s*(\S.*?)\s*")


@dataclass(frozen=True)
class Limit:
    """One bound of one number."""

    name: str  # a metric's or its tail's, or params, macs, bytes, speedup, latency
    at_most: bool  # whether it bounds from above
    bound: float  # inclusive; a latency's in ms
    target: str | None = None  # of a latency: where it is taken

    def __str__(self) -> str:
        """As the user writes it."""
        unit = "" if self.target is None else f"ms@{self.target}"
        return f"{self.name}{'<=' if self.at_most else '>='}{plain(self.bound)}{unit}"

    @property
    def measure(self) -> str:
        """What it bounds, by the name of `numbers_of`."""
        return self.name if self.target is None else f"{self.name}@{self.target}"

    @property
    def is_cost(self) -> bool:
        """Whether it bounds what a shape costs, and not the quality of its pictures."""
        return self.name == LATENCY or self.name in _FACTS

    @property
    def first_stage(self) -> str:
        """The stage from which it must hold; quality must from the first on."""
        if self.name == LATENCY:
            return STAGES[-1]
        return _FACTS[self.name][0] if self.name in _FACTS else STAGES[0]

    def is_kept_by(self, numbers: Mapping[str, float]) -> bool:
        """Whether the number is within; one that is missing or not a number is not."""
        value = numbers.get(self.measure, math.nan)
        return value <= self.bound if self.at_most else value >= self.bound

    def excess(self, numbers: Mapping[str, float]) -> float:
        """By which part the number is beyond the bound: 0 if it is kept, 0.1 for a tenth more.

        Infinite for a number that is missing, or 0 where more is asked for.
        """
        if self.is_kept_by(numbers):
            return 0.0
        value = numbers.get(self.measure, math.nan)
        beyond, within = (value, self.bound) if self.at_most else (self.bound, value)
        return math.inf if math.isnan(value) or within <= 0 else beyond / within - 1


def numbers_of(rows: Sequence[Row]) -> dict[str, float]:
    """What can be limited of a file, by name, from its rows on one target or several.

    Latencies are named latency@cpu:1, in ms; all others are those of the first row.
    """
    first = rows[0]
    facts = {name: of(first) for name, (_, _, of) in _FACTS.items()}
    found = {name: value for name, value in facts.items() if value is not None}
    found |= {f"{LATENCY}@{row.target}": row.latency_ms.median for row in rows}
    return found | ({} if first.quality is None else first.quality.numbers)


@dataclass(frozen=True)
class Budget:
    """All limits of a model."""

    limits: tuple[Limit, ...] = ()

    @property
    def judges_quality(self) -> bool:
        """Whether any limit is on quality, so that pictures must be judged."""
        return not all(limit.is_cost for limit in self.limits)

    @property
    def targets(self) -> tuple[str, ...]:
        """Where latencies are limited."""
        return tuple(dict.fromkeys(own.target for own in self.limits if own.target is not None))

    def hold(self, stage: str, rows: Sequence[Row], folder: Path) -> None:
        """Refuse a file in `folder`, by its rows, that breaks the limits due by one of `STAGES`.

        Raises:
            BudgetError: it does; the message has every number that was reached.
        """
        reached, numbers = STAGES[: STAGES.index(stage) + 1], numbers_of(rows)
        due = [limit for limit in self.limits if limit.first_stage in reached]
        if broken := [limit for limit in due if not limit.is_kept_by(numbers)]:
            raise BudgetError(
                f"the budget broke at the stage '{stage}': {listed(broken, numbers)}. Reached: "
                f"{listed(self.limits, numbers)}. The file is in {folder}; give that stage more "
                "steps, or ask for less."
            )


def parse_budget(text: str) -> Budget:
    """Read "style_ratio<=1.1, speedup>=50, bytes<=100KB, latency<=8ms@cpu:1".

    `OptionError` if it is written otherwise, names an unknown number or target, has the unit of
    something else, or contradicts itself.
    """
    names = [LATENCY, *_FACTS, *(own.name for own in METRICS), *_tails(METRICS), *ADDED.names()]
    limits: list[Limit] = []
    for part in text.split(","):
        found = _FORM.fullmatch(part)
        if found is None:
            raise OptionError(
                f"budget: '{part.strip()}' is not a limit: write a name, <= or >=, and a number, "
                "as in style_ratio<=1.1 or bytes<=100KB."
            )
        name = current_name(found[1])
        if name.endswith(TAIL_ENDS) and name not in names:
            names += _tails(ADDED.all().values())  # which imports packages: no other name needs it
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise OptionError(f"budget: there is no {name}.{meant} There are {', '.join(names)}.")
        limits.append(_limit(name, found[2] == "<=", found[3], part.strip()))
    for limit, other in itertools.permutations(limits, 2):
        contrary = limit.measure == other.measure and limit.at_most and not other.at_most
        if contrary and limit.bound < other.bound:
            raise OptionError(f"budget: {limit} and {other} can't both be kept.")
    return Budget(tuple(limits))


def _limit(name: str, at_most: bool, amount: str, part: str) -> Limit:
    """One limit; `amount` is what stands behind the sign in `part`."""
    if name == LATENCY and ALLOWED_LATENCY.holds(amount):
        ms, target = parse_latency(amount)
        return Limit(name, at_most, ms, parse_target(target).name)
    units = _FACTS[name][1] if name in _FACTS else ("",)
    bound = None if name == LATENCY else read_amount("".join(amount.split()), units)
    if bound is None:
        expected = _EXAMPLES.get(name, "a number such as 1.1")
        raise OptionError(f"budget: '{part}' is not a limit: expected {expected}.")
    return Limit(name, at_most, bound)


def _tails(metrics: Iterable[Metric]) -> list[str]:
    """Names of the tails that results have of metrics."""
    return [f"{own.name}_{end}" for own in metrics if own.tail is not None for end in TAIL_ENDS]


def plain(value: float) -> str:
    """All digits of what is counted, four of what is measured."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def listed(limits: Sequence[Limit], numbers: Mapping[str, float]) -> str:
    """Each measure, what it is, and its limit."""
    shown = {
        own: plain(numbers[own.measure]) if own.measure in numbers else "not measured"
        for own in limits
    }
    return ", ".join(f"{own.measure} {value} ({own})" for own, value in shown.items())


def refuse_useless_cap(
    cap_mb: int | None, targets: Sequence[Target], *, memory: bool = False
) -> None:
    """Raise `OptionError` for a limit in MB that no row of these targets could break, or below 1.

    None sets no limit. With `memory`, as --memory asks, targets measure it that do not report it
    otherwise.
    """
    if cap_mb is None:
        return
    if cap_mb <= 0:
        raise OptionError(f"--memory-cap is {cap_mb}: expected MB above 0.")
    if not memory and not any(target.reports_memory for target in targets):
        raise OptionError(
            "--memory-cap needs a target that reports memory, and "
            f"{', '.join(dict.fromkeys(target.name for target in targets))} does not: "
            f"give --target {TARGETS['mobile'].form}, or --memory."
        )


def peak_memory(key: RowKey, row: Row, cap_mb: int) -> list[Finding]:
    """A verdict on a row's peak resident memory; none on targets that do not report it."""
    if not parse_target(row.target).reports_memory:
        return []
    cap, peak = cap_mb * MB, None if row.footprint is None else row.footprint.peak_bytes
    if peak is None:
        verdict, words = Verdict.INCOMPARABLE, "a file that others made is not measured"
    elif peak > cap:
        verdict, words = Verdict.REGRESSED, f"over --memory-cap {cap_mb} MB"
    else:
        verdict, words = Verdict.PASS, f"within --memory-cap {cap_mb} MB"
    return [Finding(key, "peak_bytes", verdict, baseline=cap, value=peak, explanation=words)]


def refuse_over_cap(result: BenchResult, cap_mb: int | None) -> None:
    """Raise `MemoryCapError` with all rows whose peak memory is over a limit in MB, unless None."""
    if cap_mb is None:
        return
    unknown, over = [], []
    for row in result.rows:
        name = f"{row.model} {row.artifact}"
        if row.footprint is None:
            unknown += [name] if parse_target(row.target).reports_memory else []
        elif row.footprint.peak_bytes > cap_mb * MB:
            over.append(f"{name} {row.footprint.peak_bytes / MB:.0f} MB")
    if unknown:
        raise MemoryCapError(
            f"no peak memory for --memory-cap of {', '.join(unknown)}: a file that others made is "
            "not measured here, and not every remote machine reports it. Distill it to a bundle, "
            "or leave it out."
        )
    if over:
        raise MemoryCapError(
            f"peak memory over --memory-cap {cap_mb} MB: {', '.join(over)}. "
            "Take a smaller network or picture, or a higher cap."
        )
