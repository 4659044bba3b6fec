"""A student of any painting, without a teacher: one that ships learns the painting's own style.

It is the second stage of a distillation, with losses that are relative to what is usual.
"""

import dataclasses
import time
from pathlib import Path
from typing import Final

from nstc.compress import card
from nstc.compress.distillation import loss_terms
from nstc.compress.distillation.distill_model import DistillationRun, student_of
from nstc.compress.distillation.watching import previewed, unwatched
from nstc.compress.export.export_model import export
from nstc.compress.learning import logs, loop
from nstc.compress.learning.time_plan import TimePlan
from nstc.compress.quantization.aware_training import require_qat_student
from nstc.compress.quantization.quantize_model import quantize
from nstc.core import Progress, Silent, errors, zoo
from nstc.core.bundle import Bundle, open_bundle, revised_bundle
from nstc.core.files import one_at_a_time, scratch_folder, sha256_of
from nstc.core.images.paintings import usable_painting
from nstc.core.photos import PhotoSet
from nstc.core.recipe import RestyleRecipe
from nstc.models.losses import gram_distance
from nstc.models.student import StudentNetwork
from nstc.models.style import StyleStatistics, painting_style, style_of
from nstc.models.tensors import best_device
from nstc.models.vgg import load_vgg
from nstc.runtime.session import open_session

_COMPARED_SIZE: Final = 512  # long side of paintings in pixels


@one_at_a_time("output")
def restyle(
    painting: str | Path,
    output: str | Path,
    *,
    photos: PhotoSet,
    recipe: RestyleRecipe | None = None,
    name: str | None = None,
    credit: str | None = None,
    init: str | Path | None = None,
    vgg: str = "shipped",
    preview_every: int | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Train a student of a painting, and give its bundle with the exported files and a card.

    `init` is the student to start from, by default the included one whose style is nearest, and
    `photos` are what is stylised to learn. Previews every so many steps go to
    `OUTPUT.training/previews`. The other arguments are those of `nstc.distill`.

    Raises:
        OptionError: the painting has no style to learn, the time is too short for a step, or `init`
            is not a student that can be integer from end to end.
        NstcError: bad input, an interrupted or a diverged run.
    """
    painting, output = Path(painting), Path(output)
    started, recipe, progress = time.monotonic(), recipe or RestyleRecipe(), progress or Silent()
    folder = loop.training_folder(output)
    logs.refuse_preview_interval(preview_every)
    loss_terms.refuse_unusable_terms(recipe.distillation, painting)
    # What can't be is refused before VGG is loaded, which may be a download.
    pixels = usable_painting(painting)
    started_from = None if init is None else _start(init, recipe, progress)
    features = load_vgg(vgg)
    source = painting_style(painting, credit=credit, vgg=features, pixels=pixels)
    if started_from is None:
        known = source
        if vgg != "shipped":  # as the included styles' statistics are
            known = painting_style(painting, credit=credit, vgg="shipped", pixels=pixels)
        started_from = _start(nearest_student(known.statistics, progress), recipe, progress)
    del pixels  # which may be hundreds of megabytes
    start, network = started_from
    identity = {"vgg": vgg, "init": start.identity, "painting": sha256_of(painting)}
    run = DistillationRun(
        teacher=None,
        source=source,
        photos=photos,
        recipe=recipe.distillation,
        features=features.to(best_device()),
        folder=folder,
        resume=resume,
        progress=progress,
        settings={**identity, "time": recipe.time},
        painting=painting,
        time=_time_plan(recipe, folder, resume=resume, started=started),
        watch=unwatched if preview_every is None else previewed(folder / "previews", preview_every),
    )
    return _carried_out(run, recipe, network, start, output, name or output.name)


def _start(
    init: str | Path, recipe: RestyleRecipe, progress: Progress
) -> tuple[Bundle, StudentNetwork]:
    """The bundle that a training begins from, and its network."""
    start = open_bundle(init)
    return start, require_qat_student(student_of(start, recipe.distillation, progress))


def nearest_student(style: StyleStatistics, progress: Progress) -> str:
    """The zoo name of the student whose painting has the nearest Gram matrices, said in a note.

    They are compared by the style loss against `style`, which is of the shipped VGG.
    """
    own = style.at(_COMPARED_SIZE)
    distances = {}
    for name in zoo.zoo_names((zoo.STUDENT,)):
        if (known := style_of(open_bundle(name))) is not None:
            grams = known.at(_COMPARED_SIZE)
            each = (gram_distance(grams[layer][None], own[layer][None]) for layer in own)
            distances[name] = sum(map(float, each))
    if not distances:
        raise errors.OptionError("there is no included student to start from: give one by --init.")
    nearest, *others = sorted(distances, key=distances.__getitem__)
    told = ", ".join(f"{name} {distances[name]:.2f}" for name in others)
    progress.note(
        f"starting from {nearest}, whose painting is nearest: style loss {distances[nearest]:.2f}"
        + (f", beside {told}" if others else "")
    )
    return nearest


def _time_plan(
    recipe: RestyleRecipe, folder: Path, *, resume: bool, started: float
) -> TimePlan | None:
    if recipe.seconds is None:
        return None
    return TimePlan(
        recipe.seconds,
        recipe.shares_of_time,
        folder / loop.PLAN_FILE,
        resume=resume and any(folder.rglob(loop.CHECKPOINT_FILE)),  # else it may be another's
        started=started,
        refuses_no_step=True,
    )


def _carried_out(
    run: DistillationRun,
    recipe: RestyleRecipe,
    network: StudentNetwork,
    start: Bundle,
    output: Path,
    name: str,
) -> Bundle:
    """Learn, write the bundle in one step, and only then delete the checkpoints."""
    if not run.resume:
        run.forget_checkpoints()
    ranges = run.perceptual_stage(network, steps=recipe.steps, rate=recipe.learning_rate)
    with scratch_folder() as scratch:
        learned = run.write_bundle(
            scratch / "learned",
            network,
            ranges,
            name=name,
            verb="restyle",
            stage="distilled",
            parent=start,
            settings=dataclasses.asdict(recipe),
            results={
                **logs.last_losses(run.rounding_losses()),
                "steps": recipe.steps if run.time is None else run.time.total,
            },
        )
        export(learned, progress=run.progress)
        quantized, report = quantize(
            learned.path, scratch / "quantized", photos=run.photos, progress=run.progress
        )
        for line in report.describe().splitlines():
            run.progress.note(line)
        manifest = dataclasses.replace(quantized.manifest, parent=start.origin())
        with revised_bundle(quantized, output, manifest) as draft:
            card.write_card(draft, manifest, [open_session(quantized).run], run.photos)
    run.forget_checkpoints()
    return open_bundle(output)
