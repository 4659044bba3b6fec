"""nstc share."""

from pathlib import Path
from typing import Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.output import Bar, say
from nstc.core.recipe import ShareRecipe, load_recipe


@options.with_flags
def share(
    styles: Annotated[
        list[str],
        typer.Argument(
            metavar="STYLE",
            help="A teacher or a painting of each style, two or more, or one with --photograph: "
            "bundles, zoo names, checkpoints, ONNX or TorchScript files, or pictures.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder of the bundles to write, each named after its style.",
            resolve_path=True,
        ),
    ],
    *,
    init: Annotated[str, typer.Option("--init", help="Bundle of a student that all start from.")],
    photos: options.PhotoSets = None,
    recipe: options.Recipe = None,
    given: options.Given[ShareRecipe],
    foreign: options.TeacherFlags,
    photograph: bool = options.flag(
        False,
        "One more student, called photograph, which gives the photograph itself: a pack of all "
        "then blends it with a style for stylize --strength.",
    ),
    _seed: options.Placed = None,
    resume: options.Resume = False,
) -> None:
    """Train students of several styles that share their weights.

    Only a factor and a bias of each channel are a style's own. Quantized by nstc quantize with the
    same settings, the students have the same integers as weights, for all styles one copy.
    """
    from nstc.compress.learning.loop import note_what_is_resumed
    from nstc.compress.learning.photo_sets import photos_of

    settings = given.over(load_recipe(recipe).share)
    with Bar() as bar:
        if resume:
            note_what_is_resumed(output, bar)
        made = nstc.share(
            styles,
            output,
            init=init,
            photos=photos_of(photos or []),
            recipe=settings,
            options=foreign.options(),
            vgg=foreign.vgg,
            photograph=photograph,
            resume=resume,
            progress=bar,
        )
    for bundle in made:
        say(f"wrote {bundle.path}")
