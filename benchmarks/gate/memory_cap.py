"""The limit that `--memory-cap` sets on a row's peak memory."""

from collections.abc import Sequence
from typing import Final

from nstc.benchmarks.gate.verdicts import Finding, RowKey, Verdict
from nstc.benchmarks.result import BenchResult, Row
from nstc.benchmarks.targets import TARGETS, parse_target
from nstc.benchmarks.targets.base import Target
from nstc.core.errors import MemoryCapError, OptionError

MB: Final = 1_000_000


def refuse_useless_cap(
    cap_mb: int | None, targets: Sequence[Target], *, memory: bool = False
) -> None:
    """Refuse a limit that nothing would be held to.

    Args:
        cap_mb: The limit in MB, None for none.
        targets: Where rows are measured.
        memory: Whether memory is looked at wherever it can be, as --memory asks.

    Raises:
        OptionError: none of the targets reports memory, or the limit is not above 0.
    """
    if cap_mb is None:
        return
    if cap_mb <= 0:
        raise OptionError(f"--memory-cap is {cap_mb}: expected MB above 0.")
    if not memory and not any(target.reports_memory for target in targets):
        raise OptionError(
            "--memory-cap needs a target that reports memory, and "
            f"{', '.join(target.name for target in targets)} does not: "
            f"give --target {TARGETS['mobile'].form}, or --memory."
        )


def peak_memory(key: RowKey, row: Row, cap_mb: int) -> Finding | None:
    """A verdict on a row's peak resident memory; None on targets that do not look.

    Args:
        key: Whose.
        row: As it was measured.
        cap_mb: The limit in MB.
    """
    if not parse_target(row.target).reports_memory:
        return None
    peak = None if row.footprint is None else row.footprint.peak_bytes
    if peak is None:
        verdict, words = Verdict.INCOMPARABLE, "a file that others made is not measured"
    elif peak > cap_mb * MB:
        verdict, words = Verdict.REGRESSED, f"over --memory-cap {cap_mb} MB"
    else:
        verdict, words = Verdict.PASS, f"within --memory-cap {cap_mb} MB"
    return Finding(
        row=key,
        fact="peak_bytes",
        verdict=verdict,
        baseline=cap_mb * MB,
        value=peak,
        explanation=words,
    )


def refuse_over_cap(result: BenchResult, cap_mb: int | None) -> None:
    """Hold every row's peak resident memory to a limit.

    Args:
        result: What was measured.
        cap_mb: The limit in MB, None for none.

    Raises:
        MemoryCapError: rows that are over it; all are named.
    """
    if cap_mb is None:
        return
    unknown = [
        f"{row.model} {row.artifact}"
        for row in result.rows
        if row.footprint is None and parse_target(row.target).reports_memory
    ]
    if unknown:
        raise MemoryCapError(
            f"no peak memory to hold to --memory-cap for {', '.join(unknown)}: a file that others "
            "made is not measured here, and not every far machine tells. Distill it to a bundle, "
            "or leave it out."
        )
    over = [
        f"{row.model} {row.artifact} {row.footprint.peak_bytes / MB:.0f} MB"
        for row in result.rows
        if row.footprint is not None and row.footprint.peak_bytes > cap_mb * MB
    ]
    if over:
        raise MemoryCapError(
            f"peak memory over --memory-cap {cap_mb} MB: {', '.join(over)}. "
            "Take a smaller network or picture, or a higher cap."
        )
