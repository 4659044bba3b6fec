"""nstc train."""

from pathlib import Path
from typing import Annotated

import typer

from nstc.cli import options


def train(
    style: Annotated[Path, typer.Option("--style", help="The painting to learn.")],
    output: options.Output,
    photos: options.Photos = None,
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
    style_size: Annotated[
        int | None,
        typer.Option("--style-size", help="Long side of the painting.", show_default="512"),
    ] = None,
    vgg: options.Vgg = "shipped",
    seed: options.Seed = None,
    resume: options.Resume = False,
) -> None:
    """Train a full-size network from a painting and photographs."""
    from nstc.cli.progress import Bar
    from nstc.compress.training import train as run
    from nstc.core.photos import photos_in
    from nstc.core.recipe import load_recipe, override

    settings = override(
        load_recipe(recipe).train,
        steps=steps,
        size=size,
        batch=batch,
        learning_rate=learning_rate,
        style_weight=style_weight,
        content_weight=content_weight,
        tv_weight=tv_weight,
        style_size=style_size,
        seed=seed,
    )
    with Bar() as bar:
        bundle = run(
            style,
            photos_in(photos or []),
            output,
            recipe=settings,
            name=name,
            credit=credit,
            init=init,
            vgg=vgg,
            resume=resume,
            progress=bar,
        )
    typer.echo(f"wrote {bundle.path}; previews are in {output}.training/previews")
