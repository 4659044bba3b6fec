"""nstc train."""

from pathlib import Path
from typing import Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.output import Bar, say
from nstc.core.errors import OptionError
from nstc.core.recipe import TrainRecipe, load_recipe


@options.with_flags
def train(
    style: Annotated[Path, typer.Option(help="The painting whose style the network learns.")],
    output: options.Output,
    *,
    photos: options.PhotoSets = None,
    preset: str | None = options.flag(
        None, "How long it trains. draft: minutes. good: an hour. best: half a day."
    ),
    recipe: options.Recipe = None,
    name: options.Name = None,
    credit: options.Credit = None,
    init: str | None = options.flag(None, "Bundle of a full-size network to start from."),
    given: options.Given[TrainRecipe],
    vgg: options.Vgg = "shipped",
    _seed: options.Placed = None,
    resume: options.Resume = False,
) -> None:
    """Train a full-size network from a painting and photographs."""
    from nstc.compress.learning.loop import leads_here, note_what_is_resumed
    from nstc.compress.learning.photo_sets import photos_of
    from nstc.core.recipe.recipe_files import train_preset

    if preset is not None and recipe is not None:
        raise OptionError("--preset and --recipe were both given: choose one.")
    start = load_recipe(recipe) if preset is None else train_preset(preset)
    settings = given.over(start.train)
    with Bar() as bar:
        if resume and leads_here():
            note_what_is_resumed(output, bar)
        bundle = nstc.train(
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
