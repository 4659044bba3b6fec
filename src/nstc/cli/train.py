"""nstc train."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstc.cli import options
from nstc.cli.output import say

if TYPE_CHECKING:
    from nstc.core.recipe import Recipe


def train(
    style: Annotated[Path, typer.Option("--style", help="The painting to learn.")],
    output: options.Output,
    photos: options.PhotoSets = None,
    preset: Annotated[
        str | None,
        typer.Option("--preset", help="draft: minutes. good: an hour. best: half a day."),
    ] = None,
    recipe: options.Recipe = None,
    name: options.Name = None,
    credit: options.Credit = None,
    init: Annotated[
        str | None, typer.Option("--init", help="Bundle of a full-size network to start from.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Of the optimiser.", show_default="1600")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", help="Side of the crops in px.", show_default="192")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Crops a step.", show_default="4")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Its peak.", show_default="1.5e-3")
    ] = None,
    style_weight: Annotated[
        float | None, typer.Option("--style-weight", help="On the style loss.", show_default="2")
    ] = None,
    content_weight: Annotated[
        float | None,
        typer.Option("--content-weight", help="On the content loss.", show_default="1"),
    ] = None,
    tv_weight: Annotated[
        float | None, typer.Option("--tv-weight", help="On total variation.", show_default="0.5")
    ] = None,
    balance: Annotated[
        float | None,
        typer.Option(
            "--balance",
            help="Correct the two weights so that the style pulls so many times as hard.",
            show_default="off",
        ),
    ] = None,
    style_size: Annotated[
        int | None,
        typer.Option("--style-size", help="Long side of the painting in px.", show_default="512"),
    ] = None,
    color_of: Annotated[
        str | None,
        typer.Option(
            "--color-of", help="Whose colours: painting or photos.", show_default="painting"
        ),
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option("--ema", help="Decay of a running mean of the weights.", show_default="0"),
    ] = None,
    vgg: options.Vgg = "shipped",
    seed: options.Seed = None,
    resume: options.Resume = False,
) -> None:
    """Train a full-size network from a painting and photographs."""
    from nstc.cli.progress import Bar
    from nstc.compress.optimisation import note_what_is_resumed
    from nstc.compress.photo_sets import photos_of
    from nstc.compress.processes import leads_here
    from nstc.compress.training import train as run
    from nstc.core.recipe import override

    settings = override(
        _recipe_of(preset, recipe).train,
        steps=steps,
        size=size,
        batch=batch,
        learning_rate=learning_rate,
        style_weight=style_weight,
        content_weight=content_weight,
        tv_weight=tv_weight,
        balance=balance,
        style_size=style_size,
        color_of=color_of,
        ema=ema,
        seed=seed,
    )
    with Bar() as bar:
        if resume and leads_here():
            note_what_is_resumed(output, bar)
        bundle = run(
            style,
            photos_of(photos or []),
            output,
            recipe=settings,
            name=name,
            credit=credit,
            init=init,
            vgg=vgg,
            resume=resume,
            progress=bar,
        )
    if leads_here():
        say(f"wrote {bundle.path}; previews are in {output}.training/previews")


def _recipe_of(preset: str | None, path: Path | None) -> "Recipe":
    from nstc.core.errors import OptionError
    from nstc.core.recipe import load_recipe
    from nstc.core.shipped_recipes import train_preset

    if preset is None:
        return load_recipe(path)
    if path is not None:
        raise OptionError("--preset and --recipe were both given: choose one.")
    return train_preset(preset)
