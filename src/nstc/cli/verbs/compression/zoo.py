"""nstc zoo."""

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.output import Bar, say, say_json, tell
from nstc.cli.ray_flags import RayFlags
from nstc.cli.steps_or_time import with_steps_or_time
from nstc.core.errors import BatchError
from nstc.core.recipe import RestyleRecipe

if TYPE_CHECKING:
    from nstc.compress.restyling.catalogue import StyleOutcome


@options.with_flags
def build(
    catalogue: Annotated[
        Path,
        typer.Argument(
            metavar="CATALOGUE",
            help="TOML file with a table for each style: its name, its painting, and who made it.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the bundles, one for each style.",
            resolve_path=True,
        ),
    ],
    *,
    photos: options.PhotoSets = None,
    given: options.Given[RestyleRecipe],
    vgg: options.Vgg = "shipped",
    ray: RayFlags,
    json_output: options.Json = False,
) -> None:
    """Make a student of each painting in a catalogue.

    Each is made as by nstc restyle, one after another, or several at once with --ray. A style
    that fails is named at the end, and the others are made. Run the same command again to resume:
    what is finished is kept.
    """
    from nstc.compress.learning.photo_sets import photos_of
    from nstc.compress.restyling.catalogue import read_catalogue

    on_ray = ray.asked()
    given.over(RestyleRecipe())  # or a flag is out of range, whatever the catalogue is
    styles = [
        dataclasses.replace(style, recipe=with_steps_or_time(style.recipe, given))
        for style in read_catalogue(catalogue)
    ]

    with Bar() as bar:
        outcomes = nstc.build_zoo(
            styles,
            output,
            photos=photos_of(photos or []),
            vgg=vgg,
            ray=on_ray,
            progress=bar,
            finished=functools.partial(_report, quiet=json_output),
        )
    if json_output:
        say_json({"schema": "nstc.zoo/1", "styles": [outcome.to_dict() for outcome in outcomes]})
    failed = [outcome.name for outcome in outcomes if outcome.status == "failed"]
    if failed:
        raise BatchError(
            f"{len(failed)} of {len(outcomes)} styles failed: {', '.join(failed)}. The reason of "
            "each is above, and the others are done; run the same command again to go on."
        )


def _report(outcome: "StyleOutcome", *, quiet: bool) -> None:
    if outcome.error is not None:
        tell(f"{outcome.name} failed: {outcome.error}")
    elif not quiet:
        say(f"{outcome.name}: {outcome.path}")
