"""What a check found, in short, and the recipe of the baselines that it is compared with."""

from nstc.benchmarks.gate.verdicts import CheckReport
from nstc.core.recipe import BenchRecipe

RECIPE = BenchRecipe(size=32, rounds=5, targets=("cpu:1",))

ALL_PASS = dict.fromkeys(("params", "macs", "bytes", "ssim", "style_ratio", "speedup"), "PASS")


def verdicts(report: CheckReport) -> dict[str, str]:
    return {finding.fact: str(finding.verdict) for finding in report.findings}


def explained(report: CheckReport, fact: str) -> str:
    [finding] = [finding for finding in report.findings if finding.fact == fact]
    return finding.explanation
