"""What a trial does: a shape is timed before it has learned, then compressed and measured."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

import torch

from nstc.benchmarks import subjects
from nstc.benchmarks.gate.limits import LATENCY, Budget, numbers_of
from nstc.compress.distillation.distill_model import fresh_student
from nstc.compress.distillation.teachers import TeacherOptions
from nstc.compress.distillation.watching import PERCEPTUAL
from nstc.compress.export.export_model import bench, made_artifact
from nstc.compress.pipeline import compress_model, quantized_rows, split_photos
from nstc.compress.pruning import channels, schedules
from nstc.compress.pruning.plan import DEFAULT_RATIO
from nstc.compress.pruning.prune_model import rebuilt
from nstc.compress.quantization.untrained import quantized_untrained
from nstc.core import Progress
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.files import scratch_folder
from nstc.core.recipe import BenchRecipe, PruneRecipe, Recipe, override
from nstc.models.student import StudentNetwork
from nstc.models.tensors import use_threads
from nstc.runtime.foreign import probing
from nstc.runtime.jobs import Driver

TIMES: Final = (LATENCY, "speedup")  # of what a budget limits
_ANYWHERE: Final = "cpu:1"  # a target that every machine has
_ROUNDS: Final = 5  # that time an untrained shape
_REPORTS: Final = 20  # of a trial's loss, at most

Report = Callable[[int, float], None]  # per cent of the steps, and the loss there


@dataclasses.dataclass(frozen=True)
class TrialResult:
    """What came of a trial that was trained to its end."""

    numbers: Mapping[str, float]  # see `numbers_of`
    bundle: Path  # the quantized student


class TrialWork(Protocol):
    """What a search asks for each trial; workers on other machines may do it."""

    def costs(self, recipe: Recipe) -> Mapping[str, float] | None:
        """What a recipe's student costs before it has learned; None if that can't be said."""

    def trained(
        self, recipe: Recipe, folder: Path, report: Report, progress: Progress, times: bool
    ) -> TrialResult:
        """Carry a recipe out in a folder, or go on with it, and measure what it made.

        `report` may raise an exception, which ends the trial. Without `times` the result has none,
        and no target of the recipe or the budget needs to be here.
        """

    def timed(self, recipe: Recipe, bundle: Path) -> Mapping[str, float]:
        """What a trained student costs, measured anew by this process."""


@dataclasses.dataclass(frozen=True)
class TrialJob:
    """A trial's training, as a job."""

    work: TrialWork
    recipe: Recipe
    folder: Path
    times: bool  # whether it times what it made

    def __call__(self, driver: Driver) -> TrialResult:
        """Carry it out; the driver is asked whether it goes on."""
        use_threads(driver.threads)
        return self.work.trained(self.recipe, self.folder, driver.ask, driver, self.times)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compressions(TrialWork):
    """Trials by `compress_model`."""

    teacher: str | Path
    budget: Budget
    photos: tuple[Path, ...]  # see `split_photos`
    style: Path | None
    credit: str | None
    options: TeacherOptions
    vgg: str

    def __getstate__(self) -> dict[str, object]:
        """What goes to workers: they don't time shapes, and need no reference."""
        return {own.name: getattr(self, own.name) for own in dataclasses.fields(self)}

    @functools.cached_property
    def reference(self) -> subjects.Subject:
        """What shapes are timed beside."""
        return subjects.find_subject(self.teacher, trust=self.options.trust, store=made_artifact)

    def costs(self, recipe: Recipe) -> Mapping[str, float] | None:
        """Of a static int8 file; None for recipes that make another, or prune by measuring."""
        prune = recipe.prune
        by_ratio = not any((prune.speedup, prune.target_macs, prune.target_latency))
        plain = prune.removes_nothing or (
            by_ratio and prune.distribution == "uniform" and prune.drop_blocks == 0
        )
        if not any(limit.is_cost for limit in self.budget.limits):
            return None
        if recipe.quantize.mode != "static" or recipe.quantize.quality_budget or not plain:
            return None
        network = fresh_student(recipe.distill, learning=False).eval()
        if not prune.removes_nothing:
            network = _narrowed(network, prune)
        with scratch_folder() as folder:
            bundle = quantized_untrained(network, folder / "untrained")
            return self._costs(override(recipe.bench, rounds=_ROUNDS), bundle)

    def timed(self, recipe: Recipe, bundle: Path) -> Mapping[str, float]:
        """What the quantized file of a trial costs."""
        return self._costs(recipe.bench, open_bundle(bundle))

    def _costs(self, recipe: BenchRecipe, bundle: Bundle) -> Mapping[str, float]:
        result = bench(
            [bundle],
            against=self.reference,
            photos=split_photos(self.photos)[1],
            recipe=override(recipe, targets=self.budget.targets or recipe.targets),
            quality=False,
            probe=functools.partial(
                probing.probe_contract, **self.options.keywords(), trust=self.options.trust
            ),
            trust=self.options.trust,
        )
        return numbers_of(quantized_rows(result, bundle))

    def trained(
        self, recipe: Recipe, folder: Path, report: Report, progress: Progress, times: bool
    ) -> TrialResult:
        """By the whole pipeline; the numbers are those of the quantized file."""
        targets = (*self.budget.targets, *recipe.bench.targets) if times else (_ANYWHERE,)
        made = compress_model(
            self.teacher,
            folder,
            recipe=override(
                recipe,
                bench=override(recipe.bench, targets=tuple(dict.fromkeys(targets))),
            ),
            photos=self.photos,
            name=f"trial-{folder.name}",
            style=self.style,
            credit=self.credit,
            options=self.options,
            vgg=self.vgg,
            progress=Watched(progress, report),
        )
        numbers = numbers_of(quantized_rows(made.result, made.bundle))
        if not times:
            numbers = {own: numbers[own] for own in numbers if own.split("@")[0] not in TIMES}
        return TrialResult(numbers, made.bundle.path)


def _narrowed(network: StudentNetwork, prune: PruneRecipe) -> StudentNetwork:
    """A student that has lost as many channels of each layer as pruning by a ratio takes."""
    groups = channels.channel_groups(network)
    multiple = 8 if isinstance(prune.round_to, str) else prune.round_to
    widths = schedules.uniform(groups, multiple)(prune.ratio or DEFAULT_RATIO)
    scores = {group.name: torch.arange(float(group.width)) for group in groups}
    narrow = rebuilt(channels.narrowed(network, scores, widths))
    if not isinstance(narrow, StudentNetwork):
        raise TypeError(f"a pruned student is {type(narrow).__name__}")
    return narrow


class Watched(Progress):
    """A progress that reports the loss of the first part of a distillation on style and content."""

    def __init__(self, shown: Progress, report: Report) -> None:
        self._shown = shown
        self._report = report
        self._steps = 0
        self._percent = 0  # at which was reported last
        self._recent: collections.deque[float] = collections.deque()

    def begin(self, title: str, steps: int, done: int) -> None:
        """Watch the stage, if it is the one."""
        self._shown.begin(title, steps, done)
        self._steps = steps if title == PERCEPTUAL else 0
        self._recent = collections.deque(maxlen=max(1, steps // 10))

    def advance(self, step: int, losses: Mapping[str, float]) -> None:
        """Report the mean of the last steps, where a per cent is reached that was not before."""
        self._shown.advance(step, losses)
        if not self._steps:
            return
        self._recent.append(loss_of(losses))
        percent = step * _REPORTS // self._steps * (100 // _REPORTS)
        if percent > self._percent:
            self._percent = percent
            self._report(percent, sum(self._recent) / len(self._recent))

    def note(self, message: str) -> None:
        """Pass it on."""
        self._shown.note(message)


def loss_of(losses: Mapping[str, float]) -> float:
    """How far a student is from its teacher's aims: by the ratios that were measured, if any."""
    for names in (("style ratio", "content ratio"), ("style", "content")):
        known = [losses[name] for name in names if name in losses]
        if known:
            return sum(known) / len(known)
    return sum(losses.values())
