"""The whole path as one command: distill, prune, quantize, export, measure, show.

Each stage leaves a bundle in the output folder. A run that was stopped goes on where it was; a
stage whose inputs changed is done again.
"""

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from nstc.benchmarks.bench import bench
from nstc.benchmarks.budget import Budget
from nstc.benchmarks.result import BenchResult, Row
from nstc.benchmarks.table import summary
from nstc.benchmarks.targets import parse_target
from nstc.compress.card import with_card
from nstc.compress.comparison import write_comparison
from nstc.compress.distillation import distill
from nstc.compress.exporting import export, made_artifact
from nstc.compress.importing import import_checkpoint
from nstc.compress.photo_sets import photos_of
from nstc.compress.pruning import prune
from nstc.compress.quantization import quantize
from nstc.compress.stages import Stages
from nstc.compress.teachers import TeacherOptions, open_teacher
from nstc.core.bundle import Bundle, artifact_name, is_bundle, open_bundle
from nstc.core.drafts import draft_folder, put_in_place
from nstc.core.errors import OptionError, TeacherError
from nstc.core.files import reported_as_output_error, sha256_of
from nstc.core.graph_form import GraphForm
from nstc.core.locks import one_at_a_time
from nstc.core.photos import PhotoSet, sample_photos
from nstc.core.progress import Progress, Silent
from nstc.core.recipe import BenchRecipe, Recipe, load_recipe
from nstc.runtime.foreign import probe_contract
from nstc.runtime.foreign_graph import is_torchscript

PRESETS: Final = ("quick", "full", "restyle")

NO_BUDGET: Final = Budget()

_FLOAT: Final = artifact_name("float")
_ROUNDS_BETWEEN_STAGES: Final = 3
_PHOTOS_BETWEEN_STAGES: Final = 2
_SHOWN_NAMES: Final = 12
_JUDGED_SAMPLES: Final = ("chelsea", "coffee", "rocket", "camera")


@dataclass(frozen=True, kw_only=True)
class Compression:
    """What a run of the pipeline made.

    Attributes:
        bundle: The compressed model: int8 and float ONNX, TorchScript.
        result: Its numbers beside the teacher's.
        comparison: The side-by-side picture.
    """

    bundle: Bundle
    result: BenchResult
    comparison: Path


def preset(name: str) -> Recipe:
    """One of the recipes that ship, by its name in `PRESETS`.

    Raises:
        OptionError: there is no such preset.
    """
    if name not in PRESETS:
        raise OptionError(f"no preset {name}: there is {', '.join(PRESETS)}.")
    return load_recipe(Path(str(resources.files("nstc.core") / "presets" / f"{name}.toml")))


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
    if is_bundle(teacher):
        open_bundle(teacher)  # a damaged one is refused before anything is made
    stages = Stages(output, progress)
    source = _source_of(
        teacher, options, stages, style=style, credit=credit, vgg=vgg, progress=progress
    )
    if is_bundle(source) and options is not None:
        options = dataclasses.replace(options, key=None)  # which the import has followed
    start = None if init is None else open_bundle(init)
    opened = open_teacher(source, options, student=start)
    form = opened.origin.form
    stages.depend_on(
        teacher=opened.key,
        learned=learned.list_sha256(),
        init=None if start is None else start.identity,
        style=None if style is None else sha256_of(style),
        vgg=vgg,
    )
    progress.note(f"learning from {len(learned)} photographs: {_listed(learned)}")
    progress.note(f"judging by {len(judged)} others: {_listed(judged)}")
    if is_bundle(source):
        made_artifact(open_bundle(source), _FLOAT)
    shared: dict[str, Any] = {
        "photos": learned,
        "options": options
        if form is None
        else dataclasses.replace(options or TeacherOptions(), **form.told()),
        "vgg": vgg,
        "resume": True,
        "progress": progress,
    }
    trust = options is not None and options.trust
    judge = _Judge(source, judged, recipe.bench, vgg, budget, progress, trust=trust, form=form)
    distilled = stages.run(
        "distilled",
        recipe.distill,
        lambda target: distill(
            source,
            target,
            recipe=recipe.distill,
            name=name or opened.origin.name,
            init=init,
            style=style,
            credit=credit,
            **shared,
        ),
    )
    judge.hold("distilled", distilled)
    pruned = distilled
    if not recipe.prune.removes_nothing:
        pruned = stages.run(
            "pruned",
            recipe.prune,
            lambda target: prune(
                distilled.path,
                target,
                recipe=recipe.prune,
                distillation=recipe.distill,
                teacher=source,
                **shared,
            ),
        )
        judge.hold("pruned", pruned)
    student = stages.run(
        "student",
        recipe.quantize,
        lambda target: _deployable(pruned, target, learned, recipe, progress),
    )
    result = judge.bench(
        [distilled, student], recipe.bench
    )  # whose float graph is the pruned one's
    result.write(output / "bench.json")
    budget.hold("student", _deployed_row(result, student), student.path)
    comparison = output / "comparison.png"
    write_comparison(comparison, opened, student, judged)
    student = with_card(student, result, judged, opened.stylize)
    return Compression(bundle=student, result=result, comparison=comparison)


@dataclass(frozen=True, kw_only=True)
class _Import:
    """What a checkpoint's bundle is made from: of files their hashes, for they may be replaced."""

    checkpoint: str
    key: str | None
    style: str | None
    credit: str | None
    vgg: str


def _source_of(
    teacher: str | Path,
    options: TeacherOptions | None,
    stages: Stages,
    *,
    style: Path | None,
    credit: str | None,
    vgg: str,
    progress: Progress,
) -> str | Path:
    """The teacher as the benchmark can run it: a checkpoint is imported into a bundle first.

    Raises:
        OptionError: `options` has a key, and it is not a checkpoint.
        TeacherError: it is TorchScript, which has no ONNX graph to be timed beside.
    """
    key = None if options is None else options.key
    is_onnx = Path(teacher).suffix.lower() == ".onnx"
    if key is None and (is_bundle(teacher) or is_onnx):
        return teacher
    opened = open_teacher(teacher, options)
    if is_torchscript(Path(teacher)):
        raise TeacherError(
            f"{teacher} is TorchScript, which can't be timed as ONNX: use `nstc distill` and the "
            "verbs after it, or export it to ONNX first."
        )
    imported = stages.run(
        "teacher",
        _Import(
            checkpoint=opened.origin.sha256,
            key=opened.part,
            style=sha256_of(style) if style is not None and style.is_file() else None,
            credit=credit,
            vgg=vgg,
        ),
        lambda path: import_checkpoint(
            Path(teacher), path, style=style, credit=credit, vgg=vgg, key=key
        ),
    )
    if opened.note:
        progress.note(f"{Path(teacher).name} {opened.note}")
    return imported.path


class _Judge:
    """Measures stages beside the teacher on the same photographs."""

    def __init__(
        self,
        teacher: str | Path,
        photos: PhotoSet,
        recipe: BenchRecipe,
        vgg: str,
        budget: Budget,
        progress: Progress,
        *,
        trust: bool,
        form: GraphForm | None,
    ) -> None:
        self._teacher = teacher
        self._trust = trust
        told = {} if form is None else form.told()
        self._probe = functools.partial(probe_contract, **told, trust=trust)
        self._photos = photos
        self._recipe = recipe
        self._vgg = vgg
        self._budget = budget
        self._progress = progress

    def bench(self, bundles: Sequence[Bundle], recipe: BenchRecipe) -> BenchResult:
        """Rows of all the ONNX files of some bundles."""
        return bench(
            [bundle.path for bundle in bundles],
            against=self._teacher,
            teacher=self._teacher,
            photos=self._photos,
            recipe=recipe,
            vgg=self._vgg,
            probe=self._probe,
            trust=self._trust,
            store=made_artifact,
            progress=self._progress,
        )

    def hold(self, stage: str, bundle: Bundle) -> None:
        """Say in one line how good and how fast a stage's result is, and hold it to the budget.

        Raises:
            BudgetError: it breaks it.
        """
        photos = self._recipe.quality_photos
        if not self._budget.judges_quality:
            photos = min(_PHOTOS_BETWEEN_STAGES, photos)
        briefly = dataclasses.replace(
            self._recipe,
            rounds=min(_ROUNDS_BETWEEN_STAGES, self._recipe.rounds),
            quality_photos=photos,
        )
        [row] = self.bench([bundle], briefly).rows
        self._progress.note(f"{bundle.path.name}: {summary(row)}")
        self._budget.hold(stage, row, bundle.path)


def _deployed_row(result: BenchResult, student: Bundle) -> Row:
    """The quantized file's."""
    return next(
        row for row in result.rows if row.model == str(student.path) and row.artifact != _FLOAT
    )


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
