"""Structured pruning: whole channels and blocks are removed, then the rest is fine-tuned."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from torch import nn

from nstc.compress.distillation import distill_model, loss_terms, teachers
from nstc.compress.distillation.teachers import Teacher, TeacherOptions, open_teacher
from nstc.compress.export.checking import refuse_unusable_network
from nstc.compress.learning.loop import PLAN_FILE, training_folder
from nstc.compress.pruning import channels, schedules
from nstc.compress.pruning.plan import PruningPlan, make_plan, without_block
from nstc.compress.pruning.probe import PruningProbe, timing_target
from nstc.compress.quantization.aware_training import require_qat_student
from nstc.compress.quantization.calibration import Range
from nstc.core import Progress, Silent, errors, files, zoo
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.photos import PhotoSet
from nstc.core.recipe import DistillRecipe, PruneRecipe
from nstc.core.recipe.settings import parse_latency
from nstc.models import tensors
from nstc.models.architectures import build, count_macs, count_parameters, describe, load
from nstc.models.style import StyleSource, style_brought_by
from nstc.models.vgg import load_vgg


@files.one_at_a_time("output")
def prune(
    model: str | Path | Bundle,
    output: str | Path,
    *,
    photos: PhotoSet,
    recipe: PruneRecipe | None = None,
    distillation: DistillRecipe | None = None,
    teacher: str | Path | Teacher | None = None,
    name: str | None = None,
    style: str | Path | None = None,
    options: TeacherOptions | None = None,
    vgg: str = "shipped",
    from_float: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Remove blocks and channels, and fine-tune by distillation after each turn.

    `model` is the bundle of a student or a teacher, pruned before or not; `photos` also decide what
    is removed. `recipe` says how much to remove and how long to fine-tune, `distillation` the
    weights and sizes of the losses of that. `teacher` is by default the manifest's, else the model
    itself, and `name` the model's. With `from_float` the float weights of a quantized bundle are
    pruned, and its quantized files left out. The other arguments are those of `nstc.distill`.

    Raises:
        OptionError: the bundle is quantized, a goal can't be reached, or nothing is removed.
        NstcError: bad input, an interrupted or a diverged run.
    """
    recipe, distillation = recipe or PruneRecipe(), distillation or DistillRecipe()
    style, progress = files.path_or_none(style), progress or Silent()
    output, folder = Path(output), training_folder(Path(output))
    loss_terms.refuse_unusable_terms(distillation, style)
    _refuse_bad_settings(recipe)  # before a model is opened
    bundle = model if isinstance(model, Bundle) else open_bundle(model)
    network = load(bundle)
    refuse_unusable_network(network, bundle.path)
    if bundle.manifest.stage == "quantized" and not from_float:
        _refuse_quantized(bundle)
    if distillation.quantize_aware:
        require_qat_student(network)  # refused before any work
    opened = _open_teacher(bundle, teacher, options)
    source = _source(bundle, opened, vgg, progress)
    run = distill_model.DistillationRun(
        teacher=opened,
        source=source,
        photos=photos,
        recipe=dataclasses.replace(distillation, seed=recipe.seed),
        features=load_vgg(vgg).to(tensors.best_device()),
        folder=folder,
        painting=style,
        resume=resume,
        progress=progress,
        settings={
            "vgg": vgg,
            "pruned": bundle.identity,
            "prune": dataclasses.asdict(recipe),
            **({"style": files.sha256_of(style)} if style else {}),
        },
    )
    return _Pruning(recipe, run, network, source).write_bundle(output, bundle, name or bundle.name)


def _source(bundle: Bundle, teacher: teachers.Teacher, vgg: str, progress: Progress) -> StyleSource:
    """The style that a pruned network keeps."""
    return style_brought_by(bundle) or teachers.style_of_teacher(
        teacher, None, credit=None, vgg=vgg, progress=progress
    )


@dataclasses.dataclass(frozen=True)
class _Pruning:
    """A pruning in turns, each of which can be resumed."""

    recipe: PruneRecipe
    run: distill_model.DistillationRun
    network: nn.Module  # what is pruned, in evaluation mode
    source: StyleSource  # of the run

    @functools.cached_property
    def probe(self) -> PruningProbe:
        """Measures what is to be removed."""
        run, recipe = self.run, self.recipe
        # Few of the photographs: the teacher stylises the others for fine-tuning alone.
        few = dataclasses.replace(run, photos=run.photos.take(channels.BATCHES))
        return PruningProbe(
            network=self.network,
            importance=recipe.importance,
            photos=run.photos,
            source=self.source,
            vgg=run.features,
            objective=lambda trial: few.perceptual_objective(trial.to(tensors.best_device())),
            seed=recipe.seed,
            progress=run.progress,
        )

    def write_bundle(self, output: Path, parent: Bundle, name: str) -> Bundle:
        """Prune, write what is left, and delete the plan and the checkpoints; the losses stay."""
        whole, plan = self.network, self._plan()
        network, ranges = self._carry_out(plan)
        facts = {
            "macs_before": count_macs(whole),
            "macs": count_macs(network),
            "params_before": count_parameters(whole),
            "params": count_parameters(network),
            **({"dropped_blocks": list(plan.dropped)} if plan.dropped else {}),
            **plan.findings,
        }
        written = self.run.write_bundle(
            output,
            network,
            ranges,
            name=name,
            verb="prune",
            stage="pruned",
            parent=parent,
            results=facts,
        )
        (self.run.folder / PLAN_FILE).unlink(missing_ok=True)
        for turn in range(1, self.recipe.iterations + 1):
            self._run_of(turn).forget_checkpoints()
        return written

    def _carry_out(self, plan: PruningPlan) -> tuple[nn.Module, Mapping[str, Range] | None]:
        """The network that is left, fine-tuned, and the last turn's activation ranges after QAT."""
        network, ranges = self.network, None
        macs, parameters = count_macs(network), count_parameters(network)
        for turn, block in enumerate(plan.dropped):  # positions in the whole network
            gone_before = sum(earlier < block for earlier in plan.dropped[:turn])
            network = without_block(network, block - gone_before)
        full = schedules.full_widths(channels.channel_groups(network))
        for turn in range(1, self.recipe.iterations + 1):
            part = turn / self.recipe.iterations
            widths = schedules.between(full, plan.widths, part, plan.round_to)
            network = rebuilt(channels.narrowed(network, self.probe.scores(network), widths))
            self.run.progress.note(
                f"pruned: {macs / 1e9:.3g} to {count_macs(network) / 1e9:.3g} GMACs at 512x512, "
                f"{parameters:,} to {count_parameters(network):,} parameters"
            )
            # shared out evenly; what is over is the last turn's
            steps, over = divmod(self.recipe.steps, self.recipe.iterations)
            steps += over if turn == self.recipe.iterations else 0
            rate, run = self.recipe.learning_rate, self._run_of(turn)
            ranges = run.perceptual_stage(network, steps=steps, rate=rate)
        return network, ranges

    def _plan(self) -> PruningPlan:
        """A new plan, or on resuming the one that was begun with."""
        path, run = self.run.folder / PLAN_FILE, self.run
        recipe, photos = dataclasses.asdict(run.recipe), run.photos.list_sha256()
        teacher = run.teacher and run.teacher.key
        settings = json.dumps([run.settings, recipe, teacher, photos], sort_keys=True)
        identity = hashlib.sha256(settings.encode()).hexdigest()
        plan = PruningPlan.read(path, identity) if run.resume else None
        if plan is None:
            plan = make_plan(self.network, self.recipe, self.probe)
            if self.recipe.steps:
                plan.write(path, identity)
        return plan

    def _run_of(self, turn: int) -> distill_model.DistillationRun:
        """The fine-tuning after a turn, with checkpoints of its own if there are several."""
        if self.recipe.iterations == 1:
            return self.run
        settings = {**self.run.settings, "turn": turn}
        folder = self.run.folder / f"turn-{turn}"
        return dataclasses.replace(self.run, folder=folder, settings=settings)


def rebuilt(network: nn.Module) -> nn.Module:
    """The same network built from its manifest's architecture, weights carried over."""
    architecture, _ = describe(network)
    fresh = build(architecture)
    fresh.load_state_dict(network.state_dict())
    return fresh


def teacher_of(bundle: Bundle) -> str | Path:
    """Where a bundle's teacher is, by its manifest; without one it is the bundle itself.

    `TeacherError` if the teacher is not there.
    """
    origin = bundle.manifest.teacher
    if origin is None:
        return bundle.path
    if origin.zoo:
        return origin.zoo
    if origin.path and Path(origin.path).exists():
        return Path(origin.path)
    raise errors.TeacherError(
        f"the teacher of {bundle.path}, {origin.name}, is not at {origin.path}: "
        "say where it is with --teacher."
    )


def _open_teacher(
    bundle: Bundle, given: str | Path | Teacher | None, options: TeacherOptions | None
) -> Teacher:
    if given is not None:
        return open_teacher(given, options, student=bundle)
    path = teacher_of(bundle)
    # with the part of a checkpoint that taught the bundle, if its history names one
    taught = next((s for s in bundle.manifest.history[::-1] if s.verb == "distill"), None)
    key = None if taught is None else taught.recipe.get("key")
    if isinstance(key, str) and not (options and options.key) and teachers.is_checkpoint(path):
        options = dataclasses.replace(options or TeacherOptions(), key=key)
    opened = open_teacher(path, options, student=bundle)
    origin = bundle.manifest.teacher
    if origin is None or (origin.zoo or "").startswith(zoo.PREFIX):  # which comes with nstc
        return opened
    if opened.origin.sha256 != origin.sha256:
        raise errors.TeacherError(
            f"{path} is no longer {origin.name}, the teacher of {bundle.path}: its content "
            "has changed. Say where the teacher is with --teacher."
        )
    return opened


def _refuse_bad_settings(recipe: PruneRecipe) -> None:
    if recipe.removes_nothing:
        raise errors.OptionError("ratio is 0, which removes nothing: expected above 0 and below 1.")
    if recipe.target_latency is not None:
        timing_target(parse_latency(recipe.target_latency).target)


def _refuse_quantized(bundle: Bundle) -> NoReturn:
    parent = bundle.manifest.parent
    path = (parent.zoo or parent.path) if parent else None
    raise errors.OptionError(
        f"{bundle.path} is quantized: prune what it was made from{f', {path}' if path else ''}, "
        "or give --from-float to prune the float weights it keeps and leave its quantized files."
    )
