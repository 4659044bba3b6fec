"""nstc mask."""

from pathlib import Path
from typing import Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.output import print_list, say, say_json


@options.with_flags
def mask(
    picture: Annotated[Path, typer.Argument(help="Photograph or painting to divide.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="PNG to write, of the picture's size.")
    ],
    regions: int | None = options.flag(
        None, "Number of regions, 2 to 8.", shown="3, or as many as the map of --like has"
    ),
    like: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--like",
            metavar="MAP PICTURE",
            help="A label map and its picture: regions take the colours of the most similar "
            "regions there, by mean colour and height.",
        ),
    ] = None,
    seed: int = options.flag(0, "Random seed."),
    json_output: options.Json = False,
) -> None:
    """Divide a picture into regions, for semantic style transfer.

    Writes a label map: a PNG with one colour for each region of similar colour and height. Colours
    are given from the top of the picture to the bottom, so that the maps of two landscapes pair
    the sky with the sky, by day and by night. Correct a map in any image editor, with a hard-edged
    brush and the colours that it has.
    """
    made = nstc.mask(picture, output, regions=regions, like=like, seed=seed)
    labels = [*zip(made.hex_colors, made.shares, strict=True)]
    if json_output:
        height, width = made.labels.shape
        say_json(
            {
                "output": str(output),
                "width": width,
                "height": height,
                "labels": [{"color": color, "share": share} for color, share in labels],
            }
        )
        return
    print_list(("label",), ("share %",), ((color, f"{100 * share:.1f}") for color, share in labels))
    say(f"wrote {output}")
