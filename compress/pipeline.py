"""The whole path as one command: distill, prune, quantize, export, measure, show.

Each stage leaves a bundle in the output folder. A run that was stopped resumes where it was; a
stage whose inputs changed is done again.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks import subjects, table
from nstc.benchmarks.gate.limits import Budget
from nstc.benchmarks.result import BenchResult, Row
from nstc.benchmarks.targets import parse_target
from nstc.compress.card import with_card, write_comparison
from nstc.compress.distillation.distill_model import distill
from nstc.compress.distillation.loss_terms import refuse_unusable_terms
from nstc.compress.distillation.teachers import Teacher, TeacherOptions, open_teacher
from nstc.compress.export.export_model import bench, export, made_artifact
from nstc.compress.importing.import_model import import_checkpoint
from nstc.compress.learning.photo_sets import photos_of
from nstc.compress.learning.stages import Stages
from nstc.compress.pruning.prune_model import prune
from nstc.compress.quantization.quantize_model import quantize
from nstc.core import Progress, Silent, drafts, errors, zoo
from nstc.core.bundle import Bundle, artifact_name, is_bundle, open_bundle
from nstc.core.files import one_at_a_time, path_or_none, reported_as_output_error, sha256_of
from nstc.core.model_names import local_path
from nstc.core.photos import PhotoSet, sample_photos
from nstc.core.recipe import BenchRecipe, Recipe, override
from nstc.core.recipe.recipe_files import shipped_recipe
from nstc.runtime.foreign import networks, probing

PRESETS: Final = ("quick", "restyle-quick", "restyle", "full")
_CONTINUED: Final = ("restyle-quick", "restyle")  # presets in which no new student learns
NO_BUDGET: Final = Budget()
_FLOAT: Final = artifact_name("float")
_ROUNDS_BETWEEN_STAGES: Final = 3
_PHOTOS_BETWEEN_STAGES: Final = 2
_SHOWN_NAMES: Final = 12
_JUDGED_SAMPLES: Final = ("chelsea", "coffee", "rocket", "camera")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compression:
    """What a run of the pipeline made."""

    bundle: Bundle  # the compressed model: int8 and float ONNX, TorchScript
    result: BenchResult  # its measurements, compared with the teacher
    comparison: Path  # the side-by-side picture


def preset(name: str, init: str | Path | None = None) -> Recipe:
    """One of the released recipes, by its name in `PRESETS`.

    Raises:
        OptionError: it is not there, or continues from a student, and `init` names none.
    """
    recipe = shipped_recipe(name, PRESETS)
    if name in _CONTINUED and init is None:
        raise errors.OptionError(
            f"preset is {name}, which continues from a student: give one by --init, such as "
            "zoo:the-scream."
        )
    return recipe


def split_photos(folders: Sequence[str | Path]) -> tuple[PhotoSet, PhotoSet]:
    """Photographs to learn from and photographs to judge by, never the same.

    Folders and data sets that the user names are learned from and the samples judge; without any,
    some samples are learned from and the others judge.
    """
    samples = sample_photos()
    if folders:
        return photos_of(folders), samples
    judged = tuple(path for path in samples if path.stem in _JUDGED_SAMPLES)
    learned = tuple(path for path in samples if path not in judged)
    return dataclasses.replace(samples, paths=learned), dataclasses.replace(samples, paths=judged)


@one_at_a_time("output")
def compress_model(
    teacher: str | Path,
    output: str | Path,
    *,
    recipe: Recipe | None = None,
    photos: Sequence[str | Path] = (),
    name: str | None = None,
    init: str | Path | None = None,
    style: str | Path | None = None,
    credit: str | None = None,
    options: TeacherOptions | None = None,
    vgg: str = "shipped",
    budget: Budget = NO_BUDGET,
    progress: Progress | None = None,
) -> Compression:
    """Distill, prune, quantize, export and measure.

    `nstc.compress` is a package, and can't be a function too.

    `output` is a folder for the stages' bundles, `bench.json` and `comparison.png`. `recipe` holds
    the settings of all steps, by default the preset "full"; `photos` are folders to learn from, see
    `split_photos`; `name` is by default the teacher's. `budget` limits quality from the first stage
    on, parameters and MACs from pruning on, bytes, speed and latency at the end. The other
    arguments are those of `nstc.distill`.

    Raises:
        OptionError: the recipe measures on a target that can't run here; nothing is done. Boards
            and phones are not asked yet.
        BudgetError: a stage breaks the budget; its bundle is kept, and nothing after it is done.
        NstcError: bad input, or an interrupted run; running again resumes it.
    """
    style = path_or_none(style)
    teacher, output, progress = local_path(teacher), Path(output), progress or Silent()
    recipe = recipe or preset("full")
    targets = tuple(dict.fromkeys((*recipe.bench.targets, *budget.targets)))
    recipe = override(recipe, bench=override(recipe.bench, targets=targets))
    for target in recipe.bench.targets:
        parse_target(target)  # one that can't run here would be found out after hours
    refuse_unusable_terms(recipe.distill, style)
    learned, judged = split_photos(photos)
    run = _Run(
        given=open_bundle(teacher) if is_bundle(teacher) else teacher,  # or refused before any work
        start=None if init is None else open_bundle(init),
        options=options,
        style=style,
        credit=credit,
        vgg=vgg,
        recipe=recipe,
        learned=learned,
        judged=judged,
        budget=budget,
        stages=Stages(output, progress),
        progress=progress,
    )
    return run.carry_out(output, name or run.teacher.origin.name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Run:
    """The stages of one model, each measured beside the teacher on the same photographs."""

    given: str | Path | Bundle
    start: Bundle | None
    options: TeacherOptions | None
    style: Path | None
    credit: str | None
    vgg: str
    recipe: Recipe
    learned: PhotoSet
    judged: PhotoSet
    budget: Budget
    stages: Stages
    progress: Progress

    @functools.cached_property
    def source(self) -> str | Path | Bundle:
        """The teacher as it can be measured: a checkpoint is imported into a bundle first.

        `OptionError` if the options have a key, and it is not a checkpoint; `TeacherError` if it is
        TorchScript, which has no ONNX graph to be timed.
        """
        given, style = self.given, self.style
        key = None if self.options is None else self.options.key
        if key is None and (isinstance(given, Bundle) or str(given).lower().endswith(".onnx")):
            return given
        opened = open_teacher(given, self.options)
        path = Path(str(given))
        if networks.is_torchscript(path):
            raise errors.TeacherError(
                f"{path} is TorchScript, which can't be timed as ONNX: use `nstc distill` and the "
                "verbs after it, or export it to ONNX first."
            )
        made_from = {  # of files their hashes, for they may be replaced
            "checkpoint": opened.origin.sha256,
            "key": opened.part,
            "style": sha256_of(style) if style is not None and style.is_file() else None,
            "credit": self.credit,
            "vgg": self.vgg,
        }
        imported = self.stages.run(
            "teacher",
            made_from,
            lambda target: import_checkpoint(
                path, target, style=style, credit=self.credit, vgg=self.vgg, key=key
            ),
        )
        if opened.note:
            self.progress.note(f"{path.name} {opened.note}")
        return imported

    @functools.cached_property
    def teacher(self) -> Teacher:
        options = self.options
        if isinstance(self.source, Bundle) and options is not None:
            options = dataclasses.replace(options, key=None)  # which the import has followed
        return open_teacher(self.source, options, student=self.start)

    def carry_out(self, output: Path, name: str) -> Compression:
        recipe, learned, judged = self.recipe, self.learned, self.judged
        self.stages.depend_on(
            teacher=self.teacher.key,
            learned=learned.list_sha256(),
            init=None if self.start is None else self.start.identity,
            style=None if self.style is None else sha256_of(self.style),
            vgg=self.vgg,
        )
        if self.start is not None:
            self.progress.note(
                f"taking the student {zoo.named(self.start.path)} to the style of "
                f"{self.teacher.origin.name}"
            )
        self.progress.note(f"learning from {len(learned)} photographs: {_listed(learned)}")
        self.progress.note(f"judging by {len(judged)} others: {_listed(judged)}")
        if isinstance(self.source, Bundle):
            made_artifact(self.source, _FLOAT)  # what can't be exported is found out now
        distilled = self.distilled(name)
        pruned = distilled if recipe.prune.removes_nothing else self.pruned(distilled)
        student = self.stages.run(
            "student", recipe.quantize, lambda target: self.quantized(pruned, target)
        )
        # the student's float graph is the pruned one's
        result = self.bench([distilled, student], recipe.bench)
        result.write(output / "bench.json")
        self.budget.hold("student", quantized_rows(result, student), student.path)
        comparison = output / "comparison.png"
        write_comparison(comparison, self.teacher.stylize, student, judged)
        student = with_card(student, result, judged, self.teacher.stylize)
        return Compression(bundle=student, result=result, comparison=comparison)

    def distilled(self, name: str) -> Bundle:
        return self.measured_stage(
            "distilled",
            self.recipe.distill,
            lambda target: distill(
                self.teacher,
                target,
                photos=self.learned,
                recipe=self.recipe.distill,
                name=name,
                init=self.start,
                style=self.style,
                credit=self.credit,
                vgg=self.vgg,
                resume=True,
                progress=self.progress,
            ),
        )

    def pruned(self, distilled: Bundle) -> Bundle:
        return self.measured_stage(
            "pruned",
            self.recipe.prune,
            lambda target: prune(
                distilled,
                target,
                photos=self.learned,
                recipe=self.recipe.prune,
                distillation=self.recipe.distill,
                teacher=self.teacher,
                style=self.style,
                vgg=self.vgg,
                resume=True,
                progress=self.progress,
            ),
        )

    def quantized(self, model: Bundle, target: Path) -> Bundle:
        """Quantize, and export TorchScript besides."""
        with drafts.draft_folder(target) as folder:
            quantized, report = quantize(
                model.path, folder / "bundle", photos=self.learned, recipe=self.recipe.quantize
            )
            for line in report.describe().splitlines():
                self.progress.note(line)
            export(quantized.path, formats=("torchscript",))
            with reported_as_output_error(target):
                drafts.put_in_place(quantized.path, target)
        return open_bundle(target)

    def measured_stage(self, name: str, settings: Any, make: Callable[[Path], Bundle]) -> Bundle:
        """Do a stage and report its quality and speed; `BudgetError` if it breaks the budget."""
        bundle = self.stages.run(name, settings, make)
        recipe = self.recipe.bench
        photos = recipe.quality_photos
        if not self.budget.judges_quality:
            photos = min(_PHOTOS_BETWEEN_STAGES, photos)
        rounds = min(_ROUNDS_BETWEEN_STAGES, recipe.rounds)
        briefly = dataclasses.replace(recipe, rounds=rounds, quality_photos=photos)
        rows = self.bench([bundle], briefly).rows
        self.progress.note(f"{bundle.path.name}: {table.summary(rows[0])}")
        self.budget.hold(name, rows, bundle.path)
        return bundle

    def bench(self, bundles: Sequence[Bundle], recipe: BenchRecipe) -> BenchResult:
        """Rows of all the ONNX files of some bundles."""
        form = self.teacher.origin.form
        given = {} if form is None else form.keywords()
        return bench(
            bundles,
            against=self.reference,
            teacher=self.reference,
            photos=self.judged,
            recipe=recipe,
            vgg=self.vgg,
            probe=functools.partial(probing.probe_contract, **given, trust=self.trust),
            trust=self.trust,
            progress=self.progress,
        )

    @property
    def trust(self) -> bool:
        return self.options is not None and self.options.trust

    @functools.cached_property
    def reference(self) -> subjects.Subject:
        return subjects.find_subject(self.source, trust=self.trust, store=made_artifact)


def quantized_rows(result: BenchResult, bundle: Bundle) -> tuple[Row, ...]:
    """A bundle's rows of its quantized file, one for each target."""
    rows = [row for row in result.rows if row.model == str(bundle.path) and row.artifact != _FLOAT]
    return tuple(row for row in rows if row.artifact == rows[0].artifact)


def _listed(photos: PhotoSet) -> str:
    shown = [path.stem for path in photos.paths[:_SHOWN_NAMES]]
    return ", ".join(shown) + (", ..." if len(photos) > _SHOWN_NAMES else "")
