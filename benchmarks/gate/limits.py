"""Limits on measured rows: the budget of `nstc compress`, and `--memory-cap`."""

import difflib
import itertools
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
from nstc.core.recipe.settings import BYTES, COUNTS, read_amount

MB: Final = 1_000_000
STAGES: Final = ("distilled", "pruned", "student")  # of `nstc compress`; the last one is quantized
# What may be limited besides metrics: the stage from which each must hold, and how it is found.
_FACTS: Final[Mapping[str, tuple[str, Callable[[Row], float | None]]]] = {
    "params": ("pruned", lambda row: row.params),
    "macs": ("pruned", lambda row: row.macs),
    "bytes": ("student", lambda row: row.size_bytes),
    "speedup": ("student", lambda row: row.speedup.median),
}
_NAME: Final = r"[A-Za-z][A-Za-z0-9_]*"
_FORM: Final = re.compile(rf"\s*({_NAME})\s*(<=|>=)\s*([0-9]+\.?[0-9]*\s*[A-Za-z]*)\s*")


@dataclass(frozen=True)
class Limit:
    """One bound of one number."""

    name: str  # a metric's or its tail's, or params, macs, bytes, speedup
    at_most: bool  # whether it bounds from above
    bound: float  # inclusive

    def __str__(self) -> str:
        """As the user writes it."""
        return f"{self.name}{'<=' if self.at_most else '>='}{_plain(self.bound)}"

    @property
    def first_stage(self) -> str:
        """The stage from which it must hold; quality must from the first on."""
        return _FACTS[self.name][0] if self.name in _FACTS else STAGES[0]

    def value_of(self, row: Row) -> float | None:
        """The row's number; None where it was not measured."""
        if self.name in _FACTS:
            return _FACTS[self.name][1](row)
        return None if row.quality is None else row.quality.numbers.get(self.name)

    def is_kept_by(self, row: Row) -> bool:
        """Whether the row's number is within; one that is missing or not a number is not."""
        value = self.value_of(row)
        return value is not None and (value <= self.bound if self.at_most else value >= self.bound)


@dataclass(frozen=True)
class Budget:
    """All limits of a model."""

    limits: tuple[Limit, ...] = ()

    @property
    def judges_quality(self) -> bool:
        """Whether any limit is on quality, so that pictures must be judged."""
        return any(limit.name not in _FACTS for limit in self.limits)

    def hold(self, stage: str, row: Row, folder: Path) -> None:
        """Refuse a row of a file in `folder` that breaks the limits due by one of `STAGES`.

        Raises:
            BudgetError: it does; the message has every number that was reached.
        """
        reached = STAGES[: STAGES.index(stage) + 1]
        due = [limit for limit in self.limits if limit.first_stage in reached]
        if broken := [limit for limit in due if not limit.is_kept_by(row)]:
            raise BudgetError(
                f"the budget broke at the stage '{stage}': {_listed(broken, row)}. Reached: "
                f"{_listed(self.limits, row)}. The file is in {folder}; give that stage more "
                "steps, or ask for less."
            )


def parse_budget(text: str) -> Budget:
    """Read "style_ratio<=1.1, speedup>=50, bytes<=100KB".

    `OptionError` if it is written otherwise, names an unknown number, or contradicts itself.
    """
    names = [*_FACTS, *(metric.name for metric in METRICS), *_tails(METRICS), *ADDED.names()]
    limits: list[Limit] = []
    for part in text.split(","):
        found = _FORM.fullmatch(part)
        bound = read_amount("".join(found[3].split()), (*COUNTS, *BYTES)) if found else None
        if found is None or bound is None:
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
        limits.append(Limit(name, found[2] == "<=", bound))
    for limit, other in itertools.permutations(limits, 2):
        contrary = limit.name == other.name and limit.at_most and not other.at_most
        if contrary and limit.bound < other.bound:
            raise OptionError(f"budget: {limit} and {other} can't both be kept.")
    return Budget(tuple(limits))


def _tails(metrics: Iterable[Metric]) -> list[str]:
    """Names of the tails that results have of metrics."""
    return [f"{own.name}_{end}" for own in metrics if own.tail is not None for end in TAIL_ENDS]


def _plain(value: float) -> str:
    """All digits of what is counted, four of what is measured."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _listed(limits: Sequence[Limit], row: Row) -> str:
    values = {limit: limit.value_of(row) for limit in limits}
    shown = {own: "not measured" if v is None else _plain(v) for own, v in values.items()}
    return ", ".join(f"{limit.name} {value} ({limit})" for limit, value in shown.items())


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
