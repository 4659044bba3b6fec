"""nstc compress."""

from pathlib import Path
from typing import Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.options import flag, with_flags
from nstc.cli.output import Bar, print_result, say, say_json
from nstc.core.recipe import load_recipe


@with_flags
def compress(
    teacher: Annotated[str, typer.Argument(help="Bundle, zoo name, checkpoint or ONNX file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the stages' bundles and results.")
    ],
    *,
    preset: str = flag(
        "full",
        "How long it trains. From the student given by --init: restyle-quick, 5 minutes, or "
        "restyle, 40. From nothing: quick, 6 minutes, or full, some hours.",
    ),
    recipe: options.Recipe = None,
    photos: options.PhotoSets = None,
    name: options.Name = None,
    init: options.Init = None,
    style: options.Style = None,
    credit: options.Credit = None,
    foreign: options.BundledTeacherFlags,
    seed: int | None = flag(None, "Random seed.", shown="0"),
    budget: str | None = flag(
        None,
        "Limits on the result; the command fails if one is broken: "
        '"style_ratio<=1.1, latency<=8ms@cpu:1, bytes<=100KB".',
        metavar="LIMITS",
    ),
    json_output: bool = flag(False, "Print the results as JSON instead of a table.", "--json"),
) -> None:
    """Distill, prune, quantize, export and measure in one go.

    Run the same command again to resume.
    """
    from nstc.benchmarks.gate.limits import parse_budget
    from nstc.compress.pipeline import NO_BUDGET
    from nstc.compress.pipeline import preset as preset_recipe
    from nstc.core.recipe import with_seed

    limits = NO_BUDGET if budget is None else parse_budget(budget)
    settings = load_recipe(recipe) if recipe else preset_recipe(preset, init)
    with Bar() as bar:
        made = nstc.compress_model(
            teacher,
            output,
            recipe=settings if seed is None else with_seed(settings, seed),
            photos=photos or [],
            name=name,
            init=init,
            style=style,
            credit=credit,
            options=foreign.options(),
            vgg=foreign.vgg,
            budget=limits,
            progress=bar,
        )
    if json_output:
        say_json(made.result.to_dict())
        return
    print_result(made.result, costs=False)
    say(f"the compressed model: {made.bundle.path}")
    say(f"comparison picture:   {made.comparison}")
