"""nstc restyle."""

from pathlib import Path
from typing import Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.output import Bar, say, say_json
from nstc.cli.steps_or_time import with_steps_or_time
from nstc.core.model_names import result_name
from nstc.core.recipe import RestyleRecipe, load_recipe


@options.with_flags
def restyle(
    painting: Annotated[
        Path, typer.Argument(metavar="PAINTING", help="The painting whose style it learns.")
    ],
    output: options.Output,
    *,
    photos: options.PhotoSets = None,
    recipe: options.Recipe = None,
    name: options.Name = None,
    credit: options.Credit = None,
    init: str | None = options.flag(
        None,
        "Bundle of a student to start from. Default: the included one whose painting is nearest.",
    ),
    given: options.Given[RestyleRecipe],
    vgg: options.Vgg = "shipped",
    preview_every: int | None = options.flag(
        None, "Steps between previews, which go to OUTPUT.training/previews."
    ),
    _seed: options.Placed = None,
    resume: options.Resume = False,
    json_output: options.Json = False,
) -> None:
    """Make a student of any painting, without a teacher.

    An included student learns the painting's style, in the last part of its steps with the rounding
    of int8 files, and its files are exported: minutes in all. nstc compress --preset restyle takes
    longer, and learns from a full-size network of the style.
    """
    from nstc.compress.learning.loop import note_what_is_resumed
    from nstc.compress.learning.photo_sets import photos_of

    settings = with_steps_or_time(load_recipe(recipe).restyle, given)
    with Bar() as bar:
        if resume:
            note_what_is_resumed(output, bar)
        bundle = nstc.restyle(
            painting,
            output,
            photos=photos_of(photos or []),
            recipe=settings,
            name=name,
            credit=credit,
            init=init,
            vgg=vgg,
            preview_every=preview_every,
            resume=resume,
            progress=bar,
        )
    if json_output:
        made = next(step for step in bundle.manifest.history[::-1] if step.verb == "restyle")
        start = bundle.manifest.parent
        known = None if start is None else start.zoo
        if start is not None and start.path is not None:
            known = result_name(Path(start.path))
        told = {"path": str(bundle.path), "init": known}
        say_json({"schema": "nstc.restyle/1", **told, "results": made.results})
        return
    say(f"wrote {bundle.path}")
    say(f"to see how near it comes: nstc bench {bundle.path} --against optimized")
