"""nstc search."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.output import Bar, print_list, say, say_json
from nstc.cli.ray_flags import RayFlags
from nstc.core.recipe import SearchRecipe, load_space

if TYPE_CHECKING:
    from nstc.compress.searching.outcomes import SearchResult


@options.with_flags
def search(
    teacher: Annotated[str, typer.Argument(help="Bundle, zoo name, hf: name or ONNX file.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder for the trials and the result.", resolve_path=True
        ),
    ],
    budget: Annotated[
        str,
        typer.Option(
            "--budget",
            metavar="LIMITS",
            help='Limits on the quantized student: "latency<=8ms@cpu:1, style_ratio<=1.15, '
            'bytes<=100KB".',
        ),
    ],
    *,
    space: Path | None = options.flag(
        None,
        "TOML file of what is tried: a recipe in which a list stands for several values. "
        "Default: shapes of small students.",
    ),
    given: options.Given[SearchRecipe],
    photos: options.PhotoSets = None,
    style: options.Style = None,
    credit: options.Credit = None,
    foreign: options.BundledTeacherFlags,
    ray: RayFlags,
    json_output: options.Json = False,
) -> None:
    """Look for the best student within a budget of speed, size and quality.

    Each trial is a short nstc compress; with --ray several run at once. Shapes that break the
    budget before they have learned are not trained, and trials that are worse than others are
    stopped early. Run the same command again to resume, or with more --trials to continue.
    """
    from nstc.benchmarks.gate.limits import parse_budget

    recipe, on_ray, limits = given.over(SearchRecipe()), ray.asked(), parse_budget(budget)
    with Bar() as bar:
        result = nstc.search(
            teacher,
            output,
            budget=limits,
            space=load_space(space),
            recipe=recipe,
            photos=photos or [],
            style=style,
            credit=credit,
            options=foreign.options(),
            vgg=foreign.vgg,
            ray=on_ray,
            progress=bar,
        )
    if json_output:
        say_json(result.to_dict())
    else:
        _print(result, output)
    result.hold(output)


def _print(result: "SearchResult", output: Path) -> None:
    """The trials that no other surpasses, and the best of them."""
    from nstc.benchmarks.gate.limits import plain
    from nstc.compress.searching.outcomes import in_words, measures_of
    from nstc.compress.searching.search_students import FRONT_FILE

    measures = [limit.measure for limit in measures_of(result.budget)]
    rows = [
        (
            f"{own.number:03}",
            own.bundle,
            in_words(own.chosen),
            *(plain(own.numbers[name]) if name in own.numbers else "-" for name in measures),
        )
        for own in result.front
    ]
    counts = dict.fromkeys(("measured", "stopped", "hopeless", "failed"), 0)
    for own in result.outcomes:
        counts[own.state] += 1
    if rows:
        print_list(("trial", "bundle"), measures, rows, sentences=("settings",))
        say(f"plot: {output / FRONT_FILE}")
    say(
        f"{counts['measured']} measured, {counts['stopped']} stopped early, "
        f"{counts['hopeless']} not trained, {counts['failed']} failed"
    )
    if result.keeps_budget and result.best is not None:
        say(f"the best within the budget: {output / result.best.bundle}")
