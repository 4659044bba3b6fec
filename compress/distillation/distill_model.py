"""Distillation: a small network is trained on the pictures of a full-size one.

First on the teacher's pixels alone, with batch normalisation, which is cheap and finds the colours
and the layout; then, with the normalisation folded away so that what is trained is what is
released, on style and content losses, which find the brush strokes.
"""

import copy
import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nstc.compress.distillation import loss_terms, teacher_outputs, teachers, watching
from nstc.compress.distillation.compared_losses import PaintingLosses, TeacherLosses
from nstc.compress.distillation.crops import Crops
from nstc.compress.distillation.teacher_outputs import TeacherOutputs
from nstc.compress.distillation.teachers import Teacher, TeacherOptions, open_teacher
from nstc.compress.distillation.watching import PERCEPTUAL, PIXELS, ROUNDING, STAGES
from nstc.compress.export.checking import refuse_unusable_network
from nstc.compress.learning import logs, loop, optimisers
from nstc.compress.learning.balance import ContentBalance, RatioBalance
from nstc.compress.learning.named_losses import read_targets
from nstc.compress.learning.time_plan import TimePlan
from nstc.compress.quantization import aware_training, calibration
from nstc.core import Progress, Silent, errors, extensions, manifest
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.files import one_at_a_time, path_or_none, sha256_of
from nstc.core.photos import PhotoSet
from nstc.core.recipe import SHAPE, STUDENTS, DistillRecipe
from nstc.models.architectures import EXTENSIONS, learned_ranges, load, network_bundle
from nstc.models.losses import LOSSES
from nstc.models.student import StudentNetwork, fold, student_named
from nstc.models.style import StyleSource
from nstc.models.tensors import best_device
from nstc.models.vgg import VggFeatures, load_vgg

LossBalance = RatioBalance | ContentBalance

ROUNDING_RATE = 0.5  # of the learning rate, for the quantization-aware part of the second stage
_SHAPE_SETTINGS = ("student", *SHAPE)
# All that the first stage depends on: other settings may change while its checkpoint is kept.
_PIXEL_SETTINGS = (
    *(*_SHAPE_SETTINGS, "pixel_steps", "size", "crops", "color_jitter", "extreme_crops"),
    *("batch", "learning_rate", "seed"),
)


@one_at_a_time("output")
def distill(
    teacher: str | Path | Teacher,
    output: str | Path,
    *,
    photos: PhotoSet,
    recipe: DistillRecipe | None = None,
    name: str | None = None,
    init: str | Path | Bundle | None = None,
    style: str | Path | None = None,
    credit: str | None = None,
    options: TeacherOptions | None = None,
    vgg: str = "shipped",
    resume: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Train a student on a teacher's outputs, and give the bundle at `output`.

    Args:
        teacher: A bundle, zoo name, checkpoint, TorchScript or ONNX file; or an opened one.
        output: The bundle to write; checkpoints go to `OUTPUT.training` beside it.
        photos: What the teacher stylises for the student to learn from.
        recipe: Settings.
        name: Of the student; the output's name by default.
        init: A student's bundle to start from; its shape replaces the recipe's.
        style: The painting, for a teacher that came without one, or for terms that need it.
        credit: Of the painting.
        options: For teachers that are foreign files.
        vgg: See `nstc.models.vgg.load_vgg`.
        resume: Continue from the checkpoints of a run with the same settings.
        progress: Receives progress updates.

    Raises:
        NstcError: bad input, an interrupted or a diverged run.
    """
    output, style, progress = Path(output), path_or_none(style), progress or Silent()
    recipe, folder = recipe or DistillRecipe(), loop.training_folder(output)
    loss_terms.refuse_unusable_terms(recipe, style)  # before any work
    start = open_bundle(init) if isinstance(init, str | Path) else init
    network = None if start is None else student_of(start, recipe, progress)
    opened = open_teacher(teacher, options, student=start)
    if opened.note:
        progress.note(f"{opened.origin.name} {opened.note}")
    if recipe.quantize_aware and network is not None:
        aware_training.require_qat_student(network)  # refused before any work
        recipe = dataclasses.replace(recipe, pixel_steps=0)
    sources = {"init": start and start.identity, "style": style and sha256_of(style)}
    run = DistillationRun(
        teacher=opened,
        source=teachers.style_of_teacher(opened, style, credit=credit, vgg=vgg, progress=progress),
        photos=photos,
        recipe=recipe,
        features=load_vgg(vgg).to(best_device()),
        folder=folder,
        painting=style,
        resume=resume,
        progress=progress,
        settings={"vgg": vgg, **sources},
        watch=watching.examined(progress, opened),
    )
    return run.carry_out(network, start, output, name or output.name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillationRun:
    """What the stages of a distillation share; pruning fine-tunes through it too.

    Without a teacher the recipe has a style's strength, and no steps or weight on pixels; or a
    student of the photograph itself is learned, which has no style, from its pixels alone.
    """

    teacher: Teacher | None
    source: StyleSource | None
    photos: PhotoSet  # what is stylised
    recipe: DistillRecipe
    features: VggFeatures  # on the device where the work is done
    folder: Path  # for checkpoints and losses
    resume: bool  # whether to continue from them
    progress: Progress
    settings: Mapping[str, Any]  # what a history says of this run besides the recipe
    painting: Path | None = None  # for the recipe's terms that compare with it
    time: TimePlan | None = None  # for both parts of the second stage, in the place of steps
    watch: watching.Watch = watching.unwatched

    def carry_out(
        self, network: StudentNetwork | None, start: Bundle | None, output: Path, name: str
    ) -> Bundle:
        """Distill in both stages and write the bundle; the network is that of `start`."""
        recipe = self.recipe
        if not self.resume:
            self.forget_checkpoints()
        # All of the teacher's pictures before anything is learned.
        _ = self.crops, self.judged if recipe.steps else None
        network = self.pixel_stage(network)
        ranges = self.perceptual_stage(
            network,
            steps=recipe.steps,
            rate=recipe.perceptual_learning_rate,
            learned=None if start is None else learned_ranges(start),
        )
        made = self.write_bundle(
            output, network, ranges, name=name, verb="distill", stage="distilled", parent=start
        )
        self.forget_checkpoints()
        return made

    def pixel_stage(self, start: StudentNetwork | None) -> StudentNetwork:
        """A student trained on the teacher's pixels, its batch normalisation folded away."""
        recipe = self.recipe
        torch.manual_seed(recipe.seed)
        network = start or fresh_student(recipe)
        if recipe.pixel_steps == 0:
            return fold(network)
        network = network.to(best_device()).train()
        self._optimisation(
            network,
            loss_terms.PixelObjective(network, self.crops, recipe, best_device()),
            optimisers.Schedule(steps=recipe.pixel_steps, learning_rate=recipe.learning_rate),
            title=PIXELS,
            settings={key: getattr(recipe, key) for key in _PIXEL_SETTINGS},
        ).run()
        return fold(network.cpu())

    @functools.cached_property
    def crops(self) -> Crops:
        """What both stages learn from."""
        return teacher_outputs.crops_for(self.recipe, self.teacher, self.photos, self.progress)

    @functools.cached_property
    def judged(self) -> TeacherOutputs | None:
        """What the losses are balanced on."""
        return teacher_outputs.judged_for(self.recipe, self.teacher, self.photos, self.progress)

    def perceptual_stage(
        self,
        network: nn.Module,
        *,
        steps: int,
        rate: float,
        learned: Mapping[str, calibration.Range] | None = None,
    ) -> Mapping[str, calibration.Range] | None:
        """Train a network in place on `PerceptualObjective`, partly quantization-aware.

        `steps` counts both parts, and `rate` is the peak learning rate. Quantization-aware training
        starts from the ranges `learned` before, unless steps in float come first, which make them
        stale. Gives the ranges at its end; None if the recipe is not quantize-aware.
        """
        if steps == 0:
            return None
        aware = self.recipe.aware_steps(steps)
        balance = None
        if steps > aware:
            balance = self._learn(network, PERCEPTUAL, steps - aware, rate)
        if aware == 0:
            return None
        student = aware_training.require_qat_student(network)
        if learned is not None and aware == steps:
            qat_student = aware_training.restored_qat_student(student.eval(), learned)
        else:
            qat_student = aware_training.calibrated_qat_student(student, self.photos, self.progress)
        self._learn(qat_student, ROUNDING, aware, rate * ROUNDING_RATE, balance)
        return qat_student.ranges()

    def _learn(
        self,
        network: nn.Module,
        title: str,
        steps: int,
        rate: float,
        before: LossBalance | None = None,
    ) -> LossBalance | None:
        """Train a student, plain or fake-quantized, on from a balance; return the new balance."""
        network.to(best_device()).train()
        schedule = optimisers.Schedule(steps=steps, learning_rate=rate, method="muon")
        if self.time is not None:
            # Steps of a copy tell how long one takes.
            trial, _ = self._learning(copy.deepcopy(network), title, schedule)
            steps = self.time.steps_at(STAGES.index(title) - 1, trial.learn)
            schedule = dataclasses.replace(schedule, steps=steps)
        optimisation, balance = self._learning(network, title, schedule)
        if balance is not None and before is not None:
            balance.load_state_dict(before.state_dict())
        optimisation.run()
        network.cpu().eval()
        return balance

    def _learning(
        self, network: nn.Module, title: str, schedule: optimisers.Schedule
    ) -> tuple[loop.Optimisation, LossBalance | None]:
        """A part of the second stage, and what balances its losses."""
        balance = self.balance_of(network, title)
        optimisation = self._optimisation(
            network,
            self.perceptual_objective(network, balance),
            schedule,
            title=title,
            settings=dataclasses.asdict(self.recipe),
            balance=balance,
        )
        return optimisation, balance

    def balance_of(self, network: nn.Module, title: str) -> LossBalance | None:
        """What sets weights in a stage; the network is on the device of `features`."""
        if self.recipe.style_strength is not None:
            return ContentBalance()
        if self.judged is None:
            return None
        seed = self.recipe.seed + STAGES.index(title)
        ratios = loss_terms.JudgedRatios(network, self.judged, self.losses, seed)
        return RatioBalance(self.recipe.goals_in_balance, ratios)

    def perceptual_objective(
        self, network: nn.Module, balance: LossBalance | None = None
    ) -> loop.Objective:
        """What the second stage minimises; the network must be on the device of `features`."""
        return loss_terms.PerceptualObjective(
            network, self.crops, self.recipe, self.losses, balance
        )

    @property
    def sources(self) -> Mapping[str, Any]:
        """What identifies this run besides the recipe, for checkpoints."""
        photos = self.photos.list_sha256()
        return {**self.settings, "teacher": self.teacher and self.teacher.key, "photos": photos}

    @functools.cached_property
    def losses(self) -> PaintingLosses:
        """The losses of the teacher itself, or those that are usual."""
        size = teacher_outputs.JUDGED_SIZE
        targets = read_targets(self.recipe.added_terms, self.painting, self.features, size)
        kind = PaintingLosses if self.teacher is None else TeacherLosses
        grams = {} if self.source is None else self.source.statistics.at(size)
        return kind(self.features, grams, targets)

    def write_bundle(
        self,
        output: Path,
        network: nn.Module,
        ranges: Mapping[str, calibration.Range] | None,
        *,
        name: str,
        verb: str,
        stage: manifest.Stage,
        parent: Bundle | None,
        settings: Mapping[str, Any] | None = None,
        results: Mapping[str, Any] | None = None,
    ) -> Bundle:
        """Write the network and the ranges it was trained with.

        `settings` are what the history says of the recipe, by default all of it.
        """
        recipe = {**(settings or dataclasses.asdict(self.recipe)), **_packages_used(self.recipe)}
        if parent is not None:  # whose shape the network has, and not the recipe's
            recipe = {key: value for key, value in recipe.items() if key not in _SHAPE_SETTINGS}
        teacher = self.teacher
        part = {"key": teacher.part} if teacher and teacher.part else {}
        step = manifest.Step(
            verb=verb,
            recipe={**recipe, **self.settings, **part},
            seed=self.recipe.seed,
            photos=self.photos.record(),
            results=results or {},
        )
        with network_bundle(
            output,
            network,
            self.source,
            name=name,
            stage=stage,
            step=step,
            parent=parent,
            teacher=None if teacher is None else teacher.origin,
        ) as (draft, _):
            aware_training.write_ranges(draft, ranges)
        return open_bundle(output)

    def forget_checkpoints(self) -> None:
        """Delete the checkpoints of all stages, and their plan; the losses stay."""
        (self.folder / loop.PLAN_FILE).unlink(missing_ok=True)
        for stage in STAGES:
            loop.forget(self.folder / stage)

    def rounding_losses(self) -> logs.Losses:
        """The lines that the quantization-aware part has logged."""
        return logs.read_losses(self.folder / ROUNDING / logs.LOSSES_FILE)

    def _optimisation(
        self,
        network: nn.Module,
        objective: loop.Objective,
        schedule: optimisers.Schedule,
        *,
        title: str,
        settings: Mapping[str, Any],
        balance: LossBalance | None = None,
    ) -> loop.Optimisation:
        return loop.Optimisation(
            network=network,
            objective=objective,
            schedule=schedule,
            title=title,
            folder=self.folder / title,
            resume=self.resume,
            identity={**settings, **self.sources, "schedule": dataclasses.asdict(schedule)},
            progress=self.progress,
            after_step=self.watch(title, network, schedule.steps),
            balance=balance,
        )


def _packages_used(recipe: DistillRecipe) -> dict[str, Any]:
    """For a bundle's history: the packages that blocks and loss terms of a recipe are of."""
    packages = {}
    for group, names in (
        (extensions.BLOCKS, {recipe.student} - set(STUDENTS)),
        (extensions.LOSSES, set(recipe.added_terms) - set(LOSSES)),
    ):
        if names:
            packages[group] = {name: extensions.package_of(group, name) for name in sorted(names)}
    return {EXTENSIONS: packages} if packages else {}


def fresh_student(recipe: DistillRecipe, *, learning: bool = True) -> StudentNetwork:
    """A student of the recipe's shape with random weights; see `student_named`."""
    shape = {name: getattr(recipe, name) for name in SHAPE}
    return student_named(recipe.student, learning=learning, **shape)


def student_of(start: Bundle, recipe: DistillRecipe, progress: Progress) -> StudentNetwork:
    """The student to start from; a note names the recipe's settings of a shape, if it has any."""
    network = load(start)
    if not isinstance(network, StudentNetwork):
        raise errors.OptionError(f"--init {start.path} is not a student: give a distilled bundle.")
    refuse_unusable_network(network, start.path)
    usual = DistillRecipe()
    unused = [name for name in _SHAPE_SETTINGS if getattr(recipe, name) != getattr(usual, name)]
    if unused:
        told = ", ".join(unused)
        progress.note(f"the shape is that of the student given by --init, not by {told}")
    return network
