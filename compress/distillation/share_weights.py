"""Distillation of several styles at once, into students that share their weights."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from torch import nn

from nstc.compress.distillation.distill_model import (
    ROUNDING_RATE,
    DistillationRun,
    student_of,
)
from nstc.compress.distillation.shared_weights import (
    InTurn,
    SharedQuantized,
    SharedWeights,
    refuse_unshareable,
)
from nstc.compress.distillation.teachers import (
    Teacher,
    TeacherOptions,
    open_teacher,
    style_of_teacher,
)
from nstc.compress.distillation.watching import PERCEPTUAL, ROUNDING
from nstc.compress.learning import logs, loop, optimisers
from nstc.compress.quantization.aware_training import calibrated_activations
from nstc.compress.quantization.calibration import Range
from nstc.core import Progress, Silent, bundle, errors, manifest
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.files import one_at_a_time, sha256_of
from nstc.core.images import FORMATS
from nstc.core.photos import PhotoSet
from nstc.core.recipe import DistillRecipe, ShareRecipe
from nstc.models.student import StudentNetwork, fold
from nstc.models.style import StyleSource, painting_style
from nstc.models.tensors import best_device
from nstc.models.vgg import load_vgg


@one_at_a_time("output")
def share(
    styles: Sequence[str | Path | Bundle | Teacher],
    output: str | Path,
    *,
    init: str | Path | Bundle,
    photos: PhotoSet,
    recipe: ShareRecipe | None = None,
    options: TeacherOptions | None = None,
    vgg: str = "shipped",
    photograph: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> tuple[Bundle, ...]:
    """Train a student of each style, all with the same weights, and give their bundles.

    Each channel has a factor and a bias of its own in each style. Quantized with the same settings,
    by default static ones, the students have the same integers as weights.

    Args:
        styles: A teacher of each, see `nstc.distill`, or a painting; two or more in all.
        output: Folder of the bundles, named after styles; checkpoints go to `OUTPUT.training`.
        init: A student's bundle that all start from, and have the shape of.
        photos: What is stylised for the students to learn from.
        recipe: Settings.
        options: For teachers that are foreign files: the same for all.
        vgg: See `nstc.models.vgg.load_vgg`.
        photograph: Whether one more student, called so and the last, learns to give its input.
        resume: Continue from the checkpoint of a run with the same settings.
        progress: Receives progress updates.

    Raises:
        OptionError: there are not two styles, or not of different names that folders can have; or
            `init` is not a student, or has normalisation inside.
        NstcError: bad input, an interrupted or a diverged run.
    """
    output, recipe, progress = Path(output), recipe or ShareRecipe(), progress or Silent()
    if len(styles) + photograph < 2:
        raise errors.OptionError(
            f"{len(styles)} style was given, which has no other to share weights with: give a "
            "teacher or a painting of each of two or more, or --photograph."
        )
    bundle.refuse_name_of_file(output)
    start = open_bundle(init) if isinstance(init, str | Path) else init
    network = student_of(start, recipe.distillation, progress)
    refuse_unshareable(network, start)
    runs = _runs(
        styles,
        output,
        folder=loop.checkpoint_folder(output),
        start=start,
        photos=photos,
        recipe=recipe,
        options=options,
        vgg=vgg,
        photograph=photograph,
        resume=resume,
        progress=progress,
    )
    shared, ranges = _learn(network, list(runs.values()), recipe)
    return _write(shared, ranges, runs, start, output, recipe)


def _runs(
    given: Sequence[str | Path | Bundle | Teacher],
    output: Path,
    *,
    folder: Path,
    start: Bundle,
    photos: PhotoSet,
    recipe: ShareRecipe,
    options: TeacherOptions | None,
    vgg: str,
    photograph: bool,
    resume: bool,
    progress: Progress,
) -> Mapping[str, DistillationRun]:
    """A run for each style, by its name, none of them begun."""
    runs: dict[str, DistillationRun] = {}
    features = load_vgg(vgg)

    def add(
        source: StyleSource | None,
        learned: DistillRecipe,
        settings: Mapping[str, object],
        teacher: Teacher | None = None,
    ) -> None:
        name = manifest.PHOTOGRAPH if source is None else source.record.name
        _refuse_name(name, runs)
        bundle.refuse_unwritable_bundle(output / name)
        runs[name] = DistillationRun(
            teacher=teacher,
            source=source,
            photos=photos,
            recipe=learned,
            features=features,
            folder=folder,
            resume=resume,
            progress=progress,
            settings={"vgg": vgg, "init": start.identity, **settings},
        )

    for style in given:
        if (painting := _painting(style)) is not None:
            source = painting_style(painting, credit=None, vgg=features)
            add(source, recipe.without_teacher, {"painting": sha256_of(painting)})
            continue
        teacher = open_teacher(style, options, student=start)
        if teacher.note:
            progress.note(f"{teacher.origin.name} {teacher.note}")
        source = style_of_teacher(teacher, None, credit=None, vgg=vgg, progress=progress)
        add(source, recipe.distillation, {}, teacher)
    if photograph:
        add(None, recipe.of_photograph, {manifest.PHOTOGRAPH: True})
    features.to(best_device())  # in place, once all paintings are measured
    return runs


def _painting(style: str | Path | Bundle | Teacher) -> Path | None:
    """The picture of a style that is given as one."""
    is_picture = isinstance(style, str | Path) and Path(style).suffix.lower() in FORMATS
    return Path(str(style)) if is_picture else None


def _refuse_name(style: str, others: Collection[str]) -> None:
    """Raise `OptionError` for a style after which no folder beside those of others can be named."""
    if style.casefold() in map(str.casefold, others):
        raise errors.OptionError(
            f"two styles have the name {style}: give a teacher or a painting of each once."
        )
    if (fault := manifest.fault_of_name(style)) is not None:
        raise errors.OptionError(
            f"a student's folder is named after its style, and {style!r:.80} can't be a folder's "
            f"name: {fault}. Give a painting or a teacher of another name."
        )


def _learn(
    network: StudentNetwork, runs: Sequence[DistillationRun], recipe: ShareRecipe
) -> tuple[SharedWeights, Sequence[Mapping[str, Range] | None]]:
    """Train what students of one start share, and what each has of its own; ranges of QAT too."""
    for run in runs:  # all of the teachers' pictures before anything is learned
        if not run.resume:
            run.forget_checkpoints()
        _ = run.crops, run.judged
    shared = SharedWeights(network, len(runs))
    aware = runs[0].recipe.aware_steps(recipe.steps)
    turns = None
    if recipe.steps > aware:
        schedule = _schedule(runs, recipe.steps - aware, recipe.learning_rate)
        turns = _by_turns(shared, shared.students, runs, PERCEPTUAL, schedule, recipe)
    if aware == 0:
        return shared, [None] * len(runs)
    quantized = SharedQuantized(
        shared,
        [
            calibrated_activations(fold(student).eval(), run.photos, run.progress)
            for student, run in zip(shared.students, runs, strict=True)
        ],
    )
    schedule = _schedule(runs, aware, recipe.learning_rate * ROUNDING_RATE)
    _by_turns(quantized, quantized.students, runs, ROUNDING, schedule, recipe, turns)
    return shared, [student.ranges() for student in quantized.students]


def _schedule(
    runs: Sequence[DistillationRun], steps: int, learning_rate: float
) -> optimisers.Schedule:
    return optimisers.Schedule(steps=steps * len(runs), learning_rate=learning_rate, method="muon")


def _by_turns(
    learned: nn.Module,
    students: Sequence[nn.Module],
    runs: Sequence[DistillationRun],
    title: str,
    schedule: optimisers.Schedule,
    recipe: ShareRecipe,
    before: InTurn | None = None,
) -> InTurn:
    """Train a part of all styles' steps in place, on from balances; give the new ones."""
    learned.to(best_device())
    pairs = list(zip(runs, students, strict=True))
    balances = [run.balance_of(student, title) for run, student in pairs]
    objectives = [
        run.perceptual_objective(student, balance)
        for (run, student), balance in zip(pairs, balances, strict=True)
    ]
    turns = InTurn(objectives, balances)
    if before is not None:
        turns.load_state_dict(before.state_dict())
    loop.Optimisation(
        network=learned,
        objective=turns,
        schedule=schedule,
        title=title,
        folder=runs[0].folder / title,
        resume=runs[0].resume,
        identity={
            **dataclasses.asdict(recipe),
            "styles": [run.sources for run in runs],
            "schedule": dataclasses.asdict(schedule),
        },
        progress=runs[0].progress,
        balance=turns,
    ).run()
    learned.cpu()
    return turns


def _write(
    shared: SharedWeights,
    ranges: Sequence[Mapping[str, Range] | None],
    runs: Mapping[str, DistillationRun],
    start: Bundle,
    output: Path,
    recipe: ShareRecipe,
) -> tuple[Bundle, ...]:
    """Write each style's bundle, and delete the checkpoints when all are there."""
    common = {"styles": list(runs), "weights_sha256": shared.sha256()}
    last = PERCEPTUAL if ranges[0] is None else ROUNDING
    losses = logs.read_losses(next(iter(runs.values())).folder / last / logs.LOSSES_FILE)
    made = tuple(
        run.write_bundle(
            output / name,
            fold(student).eval(),
            own,
            name=name,
            verb="share",
            stage="distilled",
            parent=start,
            settings=dataclasses.asdict(recipe),
            results={**logs.last_losses(losses[number :: len(runs)]), **common},
        )
        for number, ((name, run), student, own) in enumerate(
            zip(runs.items(), shared.students, ranges, strict=True)
        )
    )
    for run in runs.values():
        run.forget_checkpoints()
    return made
