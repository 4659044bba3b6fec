"""The whole path as one command: distill, prune, quantize, export, measure, show.

Each stage leaves a bundle in the output folder. A run that was stopped goes on where it was; a
stage whose inputs changed is done again.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.bench import bench
from nstc.benchmarks.gate.limits import Budget
from nstc.benchmarks.result import BenchResult
from nstc.benchmarks.subjects import Subject, find_subject
from nstc.benchmarks.table import summary
from nstc.benchmarks.targets import parse_target
from nstc.compress.card import with_card, write_comparison
from nstc.compress.distillation.distill_model import distill
from nstc.compress.distillation.teachers import Teacher, TeacherOptions, open_teacher
from nstc.compress.export.export_model import export, made_artifact
from nstc.compress.importing.import_model import import_checkpoint
from nstc.compress.learning.photo_sets import photos_of
from nstc.compress.pruning.prune_model import prune
from nstc.compress.quantization.quantize_model import quantize
from nstc.compress.stages import Stages
from nstc.core.bundle import Bundle, artifact_name, is_bundle, open_bundle
from nstc.core.errors import TeacherError
from nstc.core.files import one_at_a_time, reported_as_output_error, sha256_of
from nstc.core.files.drafts import draft_folder, put_in_place
from nstc.core.photos import PhotoSet, sample_photos
from nstc.core.progress import Progress, Silent
from nstc.core.recipe import BenchRecipe, Recipe
from nstc.core.recipe.recipe_files import shipped_recipe
from nstc.runtime.foreign.networks import is_torchscript
from nstc.runtime.foreign.probing import probe_contract

PRESETS: Final = ("quick", "full", "restyle")

NO_BUDGET: Final = Budget()

_FLOAT: Final = artifact_name("float")
_ROUNDS_BETWEEN_STAGES: Final = 3
_PHOTOS_BETWEEN_STAGES: Final = 2
_SHOWN_NAMES: Final = 12
_JUDGED_SAMPLES: Final = ("chelsea", "coffee", "rocket", "camera")


@dataclass(frozen=True, kw_only=True)
class Compression:
    """What a run of the pipeline made."""

    bundle: Bundle  # the compressed model: int8 and float ONNX, TorchScript
    result: BenchResult  # its numbers beside the teacher's
    comparison: Path  # the side-by-side picture


def preset(name: str) -> Recipe:
    """One of the recipes that ship, by its name in `PRESETS`.

    Raises:
        OptionError: there is no such preset.
    """
    return shipped_recipe(name, PRESETS)


def split_photos(folders: Sequence[Path]) -> tuple[PhotoSet, PhotoSet]:
    """Photographs to learn from and photographs to judge by, never the same.

    Folders and data sets that the user names are learned from and the samples judge; without any,
    some samples are learned from and the others judge.
    """
    samples = sample_photos()
    if folders:
        return photos_of(folders), samples
    judged = [path for path in samples if path.stem in _JUDGED_SAMPLES]
    return samples.only(path for path in samples if path not in judged), samples.only(judged)


@one_at_a_time("output")
def compress_model(
    teacher: str | Path,
    output: str | Path,
    *,
    recipe: Recipe | None = None,
    photos: Sequence[Path] = (),
    name: str | None = None,
    init: str | Path | None = None,
    style: Path | None = None,
    credit: str | None = None,
    options: TeacherOptions | None = None,
    vgg: str = "shipped",
    budget: Budget = NO_BUDGET,
    progress: Progress | None = None,
) -> Compression:
    """Distill, prune, quantize, export and measure.

    `nstc.compress` is the package of what these steps are made of, and can't be a function too.

    Args:
        teacher: A bundle, zoo name, checkpoint, TorchScript or ONNX file.
        output: A folder for the stages' bundles, `bench.json` and `comparison.png`.
        recipe: Settings of all steps; the preset "full" by default.
        photos: Folders to learn from; see `split_photos`.
        name: Of the model; the teacher's by default.
        init: A student to start from.
        style: The painting, for a teacher that came without one.
        credit: Of the painting.
        options: For a teacher that is a foreign file.
        vgg: See `nstc.models.vgg.load_vgg`.
        budget: What the result must keep to. Quality must from the first stage on, parameters and
            MACs from pruning on, bytes and speed at the end.
        progress: Told of every step.

    Raises:
        OptionError: the recipe measures on a target that can't run here; nothing is done. Boards
            and phones are not asked yet.
        BudgetError: a stage breaks the budget; its bundle is kept, and nothing after it is done.
        NstcError: bad input, or an interrupted run; running again goes on.
    """
    output, progress = Path(output), progress or Silent()
    recipe = recipe or preset("full")
    for target in recipe.bench.targets:
        parse_target(target)  # one that can't run here would be found out after hours
    learned, judged = split_photos(photos)
    given = open_bundle(teacher) if is_bundle(teacher) else teacher  # or refused before any work
    stages = Stages(output, progress)
    asked = _Asked(options, style, credit, vgg)
    source = asked.source(given, stages, progress)
    start = None if init is None else open_bundle(init)
    opened = asked.opened(source, start)
    run = _Run(source, opened, asked, recipe, learned, judged, budget, stages, progress)
    return run.carried_out(output, name or opened.origin.name, start)


@dataclass(frozen=True)
class _Asked:
    """What is said of the teacher."""

    options: TeacherOptions | None
    style: Path | None
    credit: str | None
    vgg: str

    def source(
        self, teacher: str | Path | Bundle, stages: Stages, progress: Progress
    ) -> str | Path | Bundle:
        """The teacher as the benchmark can run it: a checkpoint is imported into a bundle first.

        Raises:
            OptionError: the options have a key, and it is not a checkpoint.
            TeacherError: it is TorchScript, which has no ONNX graph to be timed beside.
        """
        key = None if self.options is None else self.options.key
        if key is None and (isinstance(teacher, Bundle) or str(teacher).lower().endswith(".onnx")):
            return teacher
        opened = open_teacher(teacher, self.options)
        path = Path(str(teacher))
        if is_torchscript(path):
            raise TeacherError(
                f"{path} is TorchScript, which can't be timed as ONNX: use `nstc distill` and the "
                "verbs after it, or export it to ONNX first."
            )
        there = self.style is not None and self.style.is_file()
        made_from = {  # of files their hashes, for they may be replaced
            "checkpoint": opened.origin.sha256,
            "key": opened.part,
            "style": sha256_of(self.style) if self.style is not None and there else None,
            "credit": self.credit,
            "vgg": self.vgg,
        }
        imported = stages.run(
            "teacher",
            made_from,
            lambda place: import_checkpoint(
                path, place, style=self.style, credit=self.credit, vgg=self.vgg, key=key
            ),
        )
        if opened.note:
            progress.note(f"{path.name} {opened.note}")
        return imported

    def opened(self, source: str | Path | Bundle, start: Bundle | None) -> Teacher:
        options = self.options
        if isinstance(source, Bundle) and options is not None:
            options = dataclasses.replace(options, key=None)  # which the import has followed
        return open_teacher(source, options, student=start)


@dataclass(frozen=True)
class _Run:
    """The stages of one model, each measured beside the teacher on the same photographs."""

    source: str | Path | Bundle
    teacher: Teacher
    asked: _Asked
    recipe: Recipe
    learned: PhotoSet
    judged: PhotoSet
    budget: Budget
    stages: Stages
    progress: Progress

    def carried_out(self, output: Path, name: str, init: Bundle | None) -> Compression:
        asked, recipe, progress = self.asked, self.recipe, self.progress
        self.stages.depend_on(
            teacher=self.teacher.key,
            learned=self.learned.list_sha256(),
            init=None if init is None else init.identity,
            style=None if asked.style is None else sha256_of(asked.style),
            vgg=asked.vgg,
        )
        progress.note(f"learning from {len(self.learned)} photographs: {_listed(self.learned)}")
        progress.note(f"judging by {len(self.judged)} others: {_listed(self.judged)}")
        if isinstance(self.source, Bundle):
            made_artifact(self.source, _FLOAT)  # what can't be exported is found out now
        distilled = self.distilled(name, init)
        pruned = distilled if recipe.prune.removes_nothing else self.pruned(distilled)
        student = self.stages.run(
            "student",
            recipe.quantize,
            lambda target: _deployable(pruned, target, self.learned, recipe, progress),
        )
        # the student's float graph is the pruned one's
        result = self.bench([distilled, student], recipe.bench)
        result.write(output / "bench.json")
        rows = (row for row in result.rows if row.model == str(student.path))
        quantized = next(row for row in rows if row.artifact != _FLOAT)
        self.budget.hold("student", quantized, student.path)
        comparison = output / "comparison.png"
        teacher = self.teacher.stylize
        write_comparison(comparison, teacher, student, self.judged)
        student = with_card(student, result, self.judged, teacher)
        return Compression(bundle=student, result=result, comparison=comparison)

    def distilled(self, name: str, init: Bundle | None) -> Bundle:
        return self.held_stage(
            "distilled",
            self.recipe.distill,
            lambda target: distill(
                self.teacher,
                target,
                photos=self.learned,
                recipe=self.recipe.distill,
                name=name,
                init=init,
                style=self.asked.style,
                credit=self.asked.credit,
                vgg=self.asked.vgg,
                resume=True,
                progress=self.progress,
            ),
        )

    def pruned(self, distilled: Bundle) -> Bundle:
        return self.held_stage(
            "pruned",
            self.recipe.prune,
            lambda target: prune(
                distilled,
                target,
                photos=self.learned,
                recipe=self.recipe.prune,
                distillation=self.recipe.distill,
                teacher=self.teacher,
                vgg=self.asked.vgg,
                resume=True,
                progress=self.progress,
            ),
        )

    @property
    def trust(self) -> bool:
        return self.asked.options is not None and self.asked.options.trust

    @functools.cached_property
    def opponent(self) -> Subject:
        return find_subject(self.source, trust=self.trust, store=made_artifact)

    def bench(self, bundles: Sequence[Bundle], recipe: BenchRecipe) -> BenchResult:
        """Rows of all the ONNX files of some bundles."""
        form = self.teacher.origin.form
        told = {} if form is None else form.keywords()
        return bench(
            bundles,
            against=self.opponent,
            teacher=self.opponent,
            photos=self.judged,
            recipe=recipe,
            vgg=self.asked.vgg,
            probe=functools.partial(probe_contract, **told, trust=self.trust),
            trust=self.trust,
            store=made_artifact,
            progress=self.progress,
        )

    def held_stage(self, name: str, settings: Any, make: Callable[[Path], Bundle]) -> Bundle:
        """Do a stage, tell how good and fast its result is in a line, and hold it to the budget.

        Raises:
            BudgetError: it breaks it.
        """
        bundle = self.stages.run(name, settings, make)
        recipe = self.recipe.bench
        photos = recipe.quality_photos
        if not self.budget.judges_quality:
            photos = min(_PHOTOS_BETWEEN_STAGES, photos)
        rounds = min(_ROUNDS_BETWEEN_STAGES, recipe.rounds)
        briefly = dataclasses.replace(recipe, rounds=rounds, quality_photos=photos)
        [row] = self.bench([bundle], briefly).rows
        self.progress.note(f"{bundle.path.name}: {summary(row)}")
        self.budget.hold(name, row, bundle.path)
        return bundle


def _deployable(
    model: Bundle, target: Path, photos: PhotoSet, recipe: Recipe, progress: Progress
) -> Bundle:
    """Quantize, then export what a device may want besides."""
    with draft_folder(target) as folder:
        quantized, report = quantize(
            model.path, folder / "bundle", photos=photos, recipe=recipe.quantize
        )
        progress.note(report.describe())
        export(quantized.path, formats=("torchscript",))
        with reported_as_output_error(target):
            put_in_place(quantized.path, target)
    return open_bundle(target)


def _listed(photos: PhotoSet) -> str:
    shown = [path.stem for path in photos.paths[:_SHOWN_NAMES]]
    return ", ".join(shown) + (", ..." if len(photos) > _SHOWN_NAMES else "")
