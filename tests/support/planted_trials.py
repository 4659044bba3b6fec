"""A space in which one shape is the best, and trials that take no time to find that out."""

import dataclasses
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from nstc.benchmarks.gate.limits import parse_budget
from nstc.compress.searching.trials import Report, TrialResult
from nstc.core import Progress
from nstc.core.recipe import Recipe
from nstc.core.recipe.space import space_from

PLANTED = space_from(
    {"distill": {"width": [16, 32, 48, 64], "blocks": [2, 3, 4], "head": ["plain", "separable"]}},
    "planted",
)
BEST = {"distill.width": 32, "distill.blocks": 4, "distill.head": "separable"}
BUDGET = parse_budget("latency<=8ms@cpu:1, style_ratio<=1.15, bytes<=100KB")


@dataclasses.dataclass
class Planted:
    """Trials of which one shape is clearly the best; widths of 48 and more are too slow.

    `shapes` are those whose costs were asked for.
    """

    fails: Mapping[int, Exception] = dataclasses.field(default_factory=dict)  # by trials begun
    shapes: list[Recipe] = dataclasses.field(default_factory=list)
    begun: list[Path] = dataclasses.field(default_factory=list)
    ended: list[Path] = dataclasses.field(default_factory=list)
    within: bool = True  # whether the best keeps the budget

    def costs(self, recipe: Recipe) -> Mapping[str, float]:
        self.shapes.append(recipe)
        own = recipe.distill
        return {"latency@cpu:1": (own.width or 0) / 4.5, "bytes": 1000.0 * (own.width or 0)}

    def trained(
        self, recipe: Recipe, folder: Path, report: Report, progress: Progress, times: bool
    ) -> TrialResult:
        own = recipe.distill
        folder.mkdir(parents=True, exist_ok=True)
        self.begun.append(folder)
        far = abs((own.width or 0) - 32) / 16 + abs((own.blocks or 0) - 4)
        far += own.head != "separable"
        if len(self.begun) in self.fails:
            raise self.fails[len(self.begun)]
        for percent in (25, 50, 75, 100):
            report(percent, 1.0 + far)
        self.ended.append(folder)
        ratio = 1.1 + 0.2 * far if self.within else 1.2 + 0.2 * far
        numbers = {**self.costs(recipe), "style_ratio": ratio, "content_ratio": 1.2}
        if not times:
            del numbers["latency@cpu:1"]
        return TrialResult(numbers, folder / "student")

    def timed(self, recipe: Recipe, bundle: Path) -> Mapping[str, float]:
        return self.costs(recipe)


class Deadly(Planted):
    """The same by processes that die when they begin a trial the first time."""

    def trained(
        self, recipe: Recipe, folder: Path, report: Report, progress: Progress, times: bool
    ) -> TrialResult:
        if not folder.exists():
            folder.mkdir(parents=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().trained(recipe, folder, report, progress, times)


class Disturbed(Planted):
    """The same, but beside other trainings a student seems to take three times as long."""

    def trained(
        self, recipe: Recipe, folder: Path, report: Report, progress: Progress, times: bool
    ) -> TrialResult:
        made = super().trained(recipe, folder, report, progress, times)
        slower = {"latency@cpu:1": 3 * made.numbers["latency@cpu:1"]} if times else {}
        return TrialResult({**made.numbers, **slower}, made.bundle)
