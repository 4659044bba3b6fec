"""nstc quantize."""

import json
from typing import Annotated

import typer

from nstc.cli import options


def quantize(
    model: Annotated[str, typer.Argument(help="Bundle or zoo name to quantize.")],
    output: options.Output,
    mode: Annotated[
        str | None,
        typer.Option("--mode", help="static or dynamic.", show_default="static"),
    ] = None,
    photos: options.PhotoSets = None,
    calibration_photos: Annotated[
        int | None,
        typer.Option("--calibration-photos", help="How many to calibrate on.", show_default="24"),
    ] = None,
    calibration_size: Annotated[
        int | None,
        typer.Option("--calibration-size", help="Their side in px.", show_default="512"),
    ] = None,
    percentile: Annotated[
        float | None,
        typer.Option(
            "--percentile",
            help="Of an activation's values, how many its bytes hold; the rest saturates.",
            show_default="99.99",
        ),
    ] = None,
    recipe: options.Recipe = None,
    name: options.Name = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON instead of text.")
    ] = False,
) -> None:
    """Make an integer file of a network."""
    from nstc.cli.progress import Bar
    from nstc.compress.photo_sets import photos_of
    from nstc.compress.quantization import quantize as run
    from nstc.core.recipe import load_recipe, override

    settings = override(
        load_recipe(recipe).quantize,
        mode=mode,
        calibration_photos=calibration_photos,
        calibration_size=calibration_size,
        percentile=percentile,
    )
    with Bar() as bar:
        bundle, report = run(
            model,
            output,
            photos=photos_of(photos or []),
            recipe=settings,
            name=name,
            progress=bar,
        )
    if json_output:
        typer.echo(json.dumps({"bundle": str(bundle.path), **report.to_dict()}, indent=1))
        return
    typer.echo(report.describe())
    typer.echo(f"wrote {bundle.path}")
