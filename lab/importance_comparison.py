"""Importances compared: the same network, the same share removed, the same few steps.

python -m lab.importance_comparison PLAN --photos DIR -o OUT

A plan is a TOML file: a list `models`, and tables of a recipe of which `[prune]` says how much goes
and how long is fine-tuned, `[distill]` how, and `[bench]` on how many photographs of which size is
judged. The table goes to standard output and to OUT/report.md. Run it again to resume.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nstc.benchmarks.quality.judging import Candidate, JudgingTeacher, StyleTarget, judge
from nstc.benchmarks.quality.metrics import KNOWN
from nstc.benchmarks.result import Quality
from nstc.benchmarks.table import count, fine
from nstc.cli.output import Bar
from nstc.compress.export.checking import eager_reference
from nstc.compress.learning.stages import Stages
from nstc.compress.pruning.prune_model import prune, teacher_of
from nstc.core import Progress, Silent
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.decoding import DecodingError, parse_toml, read_file
from nstc.core.errors import NstcError, OptionError, RecipeError
from nstc.core.files import write_text
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet, photos_in, sample_photos
from nstc.core.recipe import Recipe, recipe_from
from nstc.core.recipe.recipe_files import MAX_RECIPE_BYTES
from nstc.models.architectures import count_macs, load
from nstc.models.style import style_brought_by
from nstc.models.vgg import load_vgg

_METRICS: Final = ("style_ratio", "content_ratio", "ssim")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is compared.

    Attributes:
        models: Bundles or zoo names.
        importances: Names of measures.
        recipe: How much goes, how long is fine-tuned, on what is judged.
    """

    models: tuple[str, ...]
    importances: tuple[str, ...]
    recipe: Recipe


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One model pruned by one importance.

    Attributes:
        model: Its name.
        importance: The measure's.
        macs: Multiply-accumulates left, at 512x512.
        before: Quality without fine-tuning.
        after: Quality with it.
    """

    model: str
    importance: str
    macs: int
    before: Quality
    after: Quality


def load_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        RecipeError: it can't be read, or names unknown keys or no models.
        OptionError: a value is out of range.
    """
    try:
        content = parse_toml(read_file(path, MAX_RECIPE_BYTES))
    except (OSError, DecodingError) as error:
        raise RecipeError(f"can't read the plan {path}: {error}. Give a TOML file.") from error
    models, importances = content.pop("models", None), content.pop("importances", None)
    for name, words in (("models", models), ("importances", importances)):
        if not (isinstance(words, list) and words and all(isinstance(w, str) for w in words)):
            raise RecipeError(f"{path}: {name} is {words!r}: expected a list of names.")
    recipe = recipe_from(content, str(path))
    for importance in importances:
        dataclasses.replace(recipe.prune, importance=importance)  # refused before any work
    return Plan(models=tuple(models), importances=tuple(importances), recipe=recipe)


def compare(
    plan: Plan,
    output: Path,
    *,
    photos: PhotoSet,
    judged: PhotoSet,
    vgg: str = "shipped",
    progress: Progress | None = None,
) -> list[Compared]:
    """Prune every model by every importance, with and without fine-tuning.

    Args:
        plan: What to compare.
        output: A folder for the bundles; run again, it goes on.
        photos: To learn from.
        judged: To judge by, which were not learned from.
        vgg: See `nstc.models.vgg.load_vgg`.
        progress: Told of every step.

    Raises:
        NstcError: bad input, or an interrupted run.
    """
    progress = progress or Silent()
    rows: list[Compared] = []
    for model in plan.models:
        made = [
            _pruned(plan, model, importance, steps, output, photos, vgg, progress)
            for importance in plan.importances
            for steps in (0, plan.recipe.prune.steps)
        ]
        found = _judged(model, made, judged, plan.recipe, vgg, progress)
        for place, importance in enumerate(plan.importances):
            rows.append(
                Compared(
                    model=model,
                    importance=importance,
                    macs=count_macs(load(made[2 * place])),
                    before=found[2 * place],
                    after=found[2 * place + 1],
                )
            )
    return rows


def comparison_table(rows: Sequence[Compared]) -> str:
    """The rows as a Markdown table."""
    headings = ["model", "importance", "MACs left"]
    headings += [f"{KNOWN[name].label}, pruned" for name in _METRICS]
    headings += [f"{KNOWN[name].label}, fine-tuned" for name in _METRICS]
    lines = [headings, ["---"] * len(headings)]
    for row in rows:
        numbers = [
            fine(quality.metrics[metric].median)
            for quality in (row.before, row.after)
            for metric in _METRICS
        ]
        lines.append([row.model, row.importance, count(row.macs), *numbers])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _pruned(
    plan: Plan,
    model: str,
    importance: str,
    steps: int,
    output: Path,
    photos: PhotoSet,
    vgg: str,
    progress: Progress,
) -> Bundle:
    name = model.replace(":", "-").replace("/", "-")
    progress.note(f"{model}, {importance}, {steps} steps")
    stages = Stages(output / f"{name}-{importance}", progress)
    bundle = open_bundle(model)
    stages.depend_on(model=bundle.identity, learned=photos.list_sha256(), vgg=vgg)
    recipe = dataclasses.replace(plan.recipe.prune, importance=importance, steps=steps)
    return stages.run(
        f"steps-{steps}",
        recipe,
        lambda target: prune(
            model,
            target,
            photos=photos,
            recipe=recipe,
            distillation=plan.recipe.distill,
            vgg=vgg,
            from_float=True,
            resume=True,
            progress=progress,
        ),
    )


class _Eager:
    """A bundle's network as a session, without any file."""

    def __init__(self, bundle: Bundle) -> None:
        self.artifact = "network"
        self.path = bundle.path
        self.run = eager_reference(load(bundle), bundle.manifest.contract)

    def prepare(self, rgb: Pixels) -> Pixels:
        return rgb

    def infer(self, feed: Pixels) -> Pixels:
        return self.run(feed)

    def finish(self, raw: Pixels) -> Pixels:
        return raw


def _judged(
    model: str,
    made: Sequence[Bundle],
    photos: PhotoSet,
    recipe: Recipe,
    vgg: str,
    progress: Progress,
) -> list[Quality]:
    bundle = open_bundle(model)
    source = style_brought_by(bundle)
    if source is None:
        raise OptionError(f"{model} brings no style to be judged by: give one that does.")
    teacher = JudgingTeacher(name="teacher", session=_Eager(open_bundle(teacher_of(bundle))))
    style = StyleTarget(statistics=source.statistics, source=source.record.source)
    return judge(
        [Candidate(session=_Eager(own), teacher=teacher, style=style) for own in made],
        photos.take(recipe.bench.quality_photos),
        size=recipe.bench.size,
        vgg=load_vgg(vgg),
        seed=recipe.bench.seed,
        progress=progress,
    )


def main() -> None:
    """Compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", type=Path)
    parser.add_argument("--output", "-o", type=Path, required=True)
    parser.add_argument("--photos", type=Path, action="append", required=True)
    parser.add_argument("--at-most", type=int, help="photographs, evenly spread; default: all")
    arguments = parser.parse_args()
    try:
        _run(arguments)
    except NstcError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _run(arguments: argparse.Namespace) -> None:
    photos = photos_in(arguments.photos)
    if arguments.at_most:
        photos = photos.take(arguments.at_most)
    with Bar() as bar:
        rows = compare(
            load_plan(arguments.plan),
            arguments.output,
            photos=photos,
            judged=sample_photos(),
            progress=bar,
        )
    table = comparison_table(rows)
    write_text(arguments.output / "report.md", table + "\n")
    print(table)


if __name__ == "__main__":
    main()
