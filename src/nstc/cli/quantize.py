"""nstc quantize."""

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
    photos: options.Photos = None,
    calibration_photos: Annotated[
        int | None,
        typer.Option("--calibration-photos", help="How many to calibrate on.", show_default="24"),
    ] = None,
    calibration_size: Annotated[
        int | None,
        typer.Option("--calibration-size", help="Their side in px.", show_default="512"),
    ] = None,
    recipe: options.Recipe = None,
    name: options.Name = None,
) -> None:
    """Make an integer file of a network, checked, and measured beside the float one."""
    from nstc.cli.progress import Bar
    from nstc.compress.quantization import quantize as run
    from nstc.core.photos import photos_in
    from nstc.core.recipe import load_recipe, override

    bundle, report = run(
        model,
        output,
        photos=photos_in(photos or []),
        recipe=override(
            load_recipe(recipe).quantize,
            mode=mode,
            calibration_photos=calibration_photos,
            calibration_size=calibration_size,
        ),
        name=name,
        progress=Bar(),
    )
    typer.echo(report.describe())
    typer.echo(f"wrote {bundle.path}")
