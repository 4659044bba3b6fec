"""nstc distill."""

from typing import Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.output import Bar, say
from nstc.core.recipe import DistillRecipe, load_recipe


@options.with_flags
def distill(
    teacher: Annotated[
        str, typer.Argument(help="Bundle, zoo name, checkpoint, or ONNX or TorchScript file.")
    ],
    output: options.Output,
    *,
    photos: options.PhotoSets = None,
    recipe: options.Recipe = None,
    name: options.Name = None,
    given: options.Given[DistillRecipe],
    init: options.Init = None,
    style: options.Style = None,
    credit: options.Credit = None,
    foreign: options.TeacherFlags,
    _seed: options.Placed = None,
    resume: options.Resume = False,
) -> None:
    """Train a tiny student network to reproduce a full-size teacher."""
    from nstc.compress.learning.loop import note_what_is_resumed
    from nstc.compress.learning.photo_sets import photos_of

    settings = given.over(load_recipe(recipe).distill)
    with Bar() as bar:
        if resume:
            note_what_is_resumed(output, bar)
        bundle = nstc.distill(
            teacher,
            output,
            photos=photos_of(photos or []),
            recipe=settings,
            name=name,
            init=init,
            style=style,
            credit=credit,
            options=foreign.options(),
            vgg=foreign.vgg,
            resume=resume,
            progress=bar,
        )
    say(f"wrote {bundle.path}")
