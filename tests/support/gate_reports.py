"""What a check found, in short, and the recipe of the baselines that it is compared with."""

from nstc.benchmarks.gate.keys import RowKey
from nstc.benchmarks.gate.verdicts import CheckReport, Verdict
from nstc.core.recipe import BenchRecipe

RECIPE = BenchRecipe(size=32, rounds=5, targets=("cpu:1",))

ALL_PASS = dict.fromkeys(("params", "macs", "bytes", "ssim", "style_ratio", "speedup"), "PASS")


def verdicts(report: CheckReport) -> dict[str, str]:
    """Of rows, by fact."""
    rows = [finding for finding in report.findings if isinstance(finding.row, RowKey)]
    return {finding.fact: str(finding.verdict) for finding in rows}


def regressed(report: CheckReport) -> set[str]:
    """Facts of rows that are REGRESSED."""
    return {fact for fact, verdict in verdicts(report).items() if verdict == Verdict.REGRESSED}


def passed(report: CheckReport) -> set[str]:
    """Facts of rows that PASS."""
    return {fact for fact, verdict in verdicts(report).items() if verdict == Verdict.PASS}


def verdicts_on_files(report: CheckReport) -> dict[tuple[str, str], str]:
    """By artifact and fact."""
    files = [finding for finding in report.findings if not isinstance(finding.row, RowKey)]
    return {(own.row.artifact, own.fact): str(own.verdict) for own in files}


def explained(report: CheckReport, fact: str) -> str:
    [finding] = [finding for finding in report.findings if finding.fact == fact]
    return finding.explanation
