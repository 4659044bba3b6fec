"""Variants of a recipe, each trained with the same budget, and measured alike.

python -m lab.exploration PLAN --photos DIR -o OUT

A plan is a TOML file: the tables of a recipe, which all variants share, and a `[[variant]]` each
with a name and the settings of `[distill]` that it changes. `compare = "shapes"` is for students of
different architectures, `compare = "settings"` for one student taught in different ways, and `init`
names the student that all of these start from. OUT gets their bundles, `report.md` and
`report.svg`. Run the same command again to resume.
"""

import argparse
import dataclasses
import hashlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.exploration_report import TABLE_FILE, Outcome, write_report
from nstc.benchmarks.bench import bench
from nstc.benchmarks.targets import parse_target
from nstc.cli.output import Bar
from nstc.compress.distillation.distill_model import distill
from nstc.compress.distillation.teachers import open_teacher
from nstc.compress.export.export_model import made_artifact
from nstc.compress.learning.stages import Stages
from nstc.compress.quantization.quantize_model import quantize
from nstc.core import Progress, Silent
from nstc.core.bundle import Bundle, artifact_name, is_bundle, open_bundle
from nstc.core.decoding import DecodingError, decode, parse_json, parse_toml, read_file
from nstc.core.errors import DivergedError, ExportMismatchError, NstcError, OptionError, RecipeError
from nstc.core.files import atomic_file
from nstc.core.photos import PhotoSet, photos_in, sample_photos
from nstc.core.recipe import Recipe, recipe_from
from nstc.core.recipe.recipe_files import MAX_RECIPE_BYTES

COMPARISONS: Final = ("shapes", "settings")

_OUTCOME_FILE: Final = "outcome.json"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]*")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to do it.

    Attributes:
        name: Told apart by it in tables and folders.
        changes: What it sets in `[distill]`.
        recipe: All of its settings.
    """

    name: str
    changes: Mapping[str, Any]
    recipe: Recipe

    @property
    def folder(self) -> str:
        """Of its bundles."""
        return self.name.replace(" ", "-")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is compared.

    Attributes:
        compare: Out of `COMPARISONS`.
        variants: The first is what the others are seen beside.
        init: A student that all start from, a bundle or zoo name; None for random weights.
    """

    compare: str
    variants: tuple[Variant, ...]
    init: str | None = None


def load_plan(path: Path, **budget: int | None) -> Plan:
    """Read a plan.

    Args:
        path: The file.
        budget: Settings of `[distill]` for all variants instead of the file's; None leaves those.

    Raises:
        RecipeError: it can't be read, names unknown keys, or holds no variants of different names.
        OptionError: a value is out of range.
    """
    try:
        content = parse_toml(read_file(path, MAX_RECIPE_BYTES))
    except (OSError, DecodingError) as error:
        raise RecipeError(f"can't read the plan {path}: {error}. Give a TOML file.") from error
    compare = content.pop("compare", COMPARISONS[0])
    init = content.pop("init", None)
    tables = content.pop("variant", [])
    if compare not in COMPARISONS:
        raise RecipeError(f"{path}: compare is {compare!r}: expected {' or '.join(COMPARISONS)}.")
    if init is not None and not (isinstance(init, str) and compare == "settings"):
        raise RecipeError(f"{path}: init is the name of a student whose shape all variants keep.")
    recipe_from(content, str(path))  # what all share is refused without a variant's name
    given = {key: value for key, value in budget.items() if value is not None}
    shared = {**content, "distill": {**content.get("distill", {}), **given}}
    named = isinstance(tables, list) and all(isinstance(table, dict) for table in tables)
    names = [table.get("name") for table in tables] if named else []
    good = [name for name in names if isinstance(name, str) and _NAME.fullmatch(name)]
    if not names or len({name.replace(" ", "-").lower() for name in good}) < len(names):
        raise RecipeError(
            f"{path}: expected [[variant]] tables, each with a name of its own in letters, "
            "digits, spaces and ._+-"
        )
    variants = tuple(_variant(table, shared, path) for table in tables)
    return Plan(compare=compare, variants=variants, init=init)


def explore(
    teacher: str | Path,
    output: Path,
    *,
    plan: Plan,
    photos: PhotoSet,
    judged: PhotoSet,
    vgg: str = "shipped",
    progress: Progress | None = None,
) -> list[Outcome]:
    """Distill, quantize and measure each variant; the report is written anew after each.

    Run again, it takes over what an earlier run made from the same inputs, and goes on. That a
    variant diverges or can't be quantized is a finding too: it stands in the report, and the others
    are still made.

    Args:
        teacher: A bundle, zoo name or ONNX file.
        output: A folder for the variants' bundles, `report.md` and `report.svg`.
        plan: What to compare.
        photos: To learn from.
        judged: To judge by, which were not learned from.
        vgg: See `nstc.models.vgg.load_vgg`.
        progress: Told of every step.

    Raises:
        NstcError: bad input, or an interrupted run; running again goes on.
    """
    progress = progress or Silent()
    for target in plan.variants[0].recipe.bench.targets:
        parse_target(target)  # before anything is learned
    opened = open_teacher(teacher)
    if is_bundle(teacher) or str(teacher).startswith("zoo:"):
        made_artifact(open_bundle(teacher), "onnx")
    start = None if plan.init is None else open_bundle(plan.init)
    asked = _Asked(teacher, opened.origin.sha256, start, photos, judged, vgg, progress)
    outcomes: list[Outcome] = []
    for number, variant in enumerate(plan.variants, start=1):
        progress.note(f"variant {number} of {len(plan.variants)}: {variant.name}")
        try:
            outcome = asked.outcome(variant, output / variant.folder)
        except (DivergedError, ExportMismatchError) as error:
            progress.note(f"{variant.name} failed: {error}")
            outcome = Outcome(
                name=variant.name, changes=variant.changes, row={}, failure=str(error)
            )
        outcomes.append(outcome)
        write_report(output, outcomes, plan.compare, _budget(plan, photos, judged))
    return outcomes


@dataclass(frozen=True)
class _Asked:
    """What is the same for all variants."""

    teacher: str | Path
    teacher_sha256: str
    start: Bundle | None
    photos: PhotoSet
    judged: PhotoSet
    vgg: str
    progress: Progress

    def outcome(self, variant: Variant, folder: Path) -> Outcome:
        """A variant's, measured now or by an earlier run."""
        student = self._student(variant, folder)
        inputs = self._inputs_of(variant, student)
        file = folder / _OUTCOME_FILE
        row = _row_of(file, inputs)
        if row is None:
            row = self._measured(variant, student)
            with atomic_file(file) as draft:
                content = {"inputs": inputs, "row": row}
                text = json.dumps(content, indent=1)
                draft.write_text(text, encoding="utf-8")
        return Outcome(name=variant.name, changes=variant.changes, row=row)

    def _student(self, variant: Variant, folder: Path) -> Bundle:
        stages = Stages(folder, self.progress)
        stages.depend_on(
            teacher=self.teacher_sha256,
            learned=self.photos.list_sha256(),
            init=None if self.start is None else self.start.identity,
            vgg=self.vgg,
        )
        distilled = stages.run(
            "distilled",
            variant.recipe.distill,
            lambda target: distill(
                self.teacher,
                target,
                photos=self.photos,
                recipe=variant.recipe.distill,
                init=None if self.start is None else self.start.path,
                vgg=self.vgg,
                resume=True,
                progress=self.progress,
            ),
        )
        return stages.run(
            "int8",
            variant.recipe.quantize,
            lambda target: quantize(
                distilled,
                target,
                photos=self.photos,
                recipe=variant.recipe.quantize,
                progress=self.progress,
            )[0],
        )

    def _inputs_of(self, variant: Variant, student: Bundle) -> str:
        """A hash of all that the numbers depend on."""
        content = [
            student.manifest.files,
            self.teacher_sha256,
            self.judged.list_sha256(),
            self.vgg,
            dataclasses.asdict(variant.recipe.bench),
        ]
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def _measured(self, variant: Variant, student: Bundle) -> Mapping[str, Any]:
        result = bench(
            [student.path],
            against=self.teacher,
            teacher=self.teacher,
            artifacts=(artifact_name("int8"),),
            photos=self.judged,
            recipe=variant.recipe.bench,
            vgg=self.vgg,
            progress=self.progress,
        )
        row: Mapping[str, Any] = result.to_dict()["rows"][0]
        return row


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What is kept of a variant that was measured."""

    inputs: str
    row: Mapping[str, Any]


def _variant(table: Mapping[str, Any], shared: Mapping[str, Any], path: Path) -> Variant:
    changes = {key: value for key, value in table.items() if key != "name"}
    content = {**shared, "distill": {**shared["distill"], **changes}}
    recipe = recipe_from(content, f"{path}, variant {table['name']}")
    return Variant(name=table["name"], changes=changes, recipe=recipe)


def _row_of(file: Path, inputs: str) -> Mapping[str, Any] | None:
    """What an earlier run measured of the same inputs."""
    if not file.is_file():
        return None
    try:
        kept = decode(parse_json(read_file(file), lenient=True), _Kept)
    except (OSError, DecodingError):
        return None  # half written by hand: it is measured again
    return kept.row if kept.inputs == inputs else None


def _budget(plan: Plan, photos: PhotoSet, judged: PhotoSet) -> str:
    first = plan.variants[0].recipe
    return (
        f"{plan.variants[0].name}: {first.distill.pixel_steps} steps on pixels and "
        f"{first.distill.steps} with VGG, from {len(photos)} photographs "
        f"({', '.join(photos.names)}). int8 files judged on "
        f"{min(len(judged), first.bench.quality_photos)} others ({', '.join(judged.names)}) at "
        f"{first.bench.size}x{first.bench.size}, timed on {', '.join(first.bench.targets)}."
    )


def main() -> None:
    """Explore."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--output", "-o", type=Path, required=True)
    parser.add_argument("--teacher", default="zoo:starry-night/teacher")
    parser.add_argument("--photos", type=Path, action="append", required=True)
    parser.add_argument(
        "--judge", type=Path, action="append", help="photographs to judge by; default: the samples"
    )
    parser.add_argument("--only", action="append", help="name of a variant, repeatable")
    parser.add_argument("--pixel-steps", type=int, help="instead of the plan's, for all variants")
    parser.add_argument("--steps", type=int, help="likewise, of the second stage")
    arguments = parser.parse_args()
    try:
        _run(arguments)
    except NstcError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _run(arguments: argparse.Namespace) -> None:
    plan = load_plan(arguments.plan, pixel_steps=arguments.pixel_steps, steps=arguments.steps)
    if arguments.only:
        names = [variant.name for variant in plan.variants]
        unknown = [name for name in arguments.only if name not in names]
        if unknown:
            raise OptionError(f"no variant {', '.join(unknown)}: there is {', '.join(names)}.")
        chosen = tuple(v for v in plan.variants if v.name in arguments.only)
        plan = dataclasses.replace(plan, variants=chosen)
    with Bar() as bar:
        outcomes = explore(
            arguments.teacher,
            arguments.output,
            plan=plan,
            photos=photos_in(arguments.photos),
            judged=photos_in(arguments.judge) if arguments.judge else sample_photos(),
            progress=bar,
        )
    print((arguments.output / TABLE_FILE).read_text(encoding="utf-8"))
    if failed := [outcome.name for outcome in outcomes if outcome.failure]:
        sys.exit(f"failed: {', '.join(failed)}; the table says why")


if __name__ == "__main__":
    main()
