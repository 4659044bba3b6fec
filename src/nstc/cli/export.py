"""nstc export."""

from pathlib import Path
from typing import Annotated

import typer

from nstc.cli import options
from nstc.cli.output import say


def export(
    model: Annotated[str, typer.Argument(help="Bundle or zoo name to export.")],
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            help="Some of onnx, torchscript, executorch, executorch-int8, ort, tiles, with commas "
            "between; or folder, which a board runs by itself.",
        ),
    ] = "onnx,torchscript",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the files. Default: into the bundle.",
            show_default=False,
        ),
    ] = None,
    static: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHTxWIDTH",
            help="Fix ONNX files, int8 too, to one size, which phone delegates want: 512x512.",
        ),
    ] = None,
    photos: options.Photos = None,
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
) -> None:
    """Write files that run elsewhere, each compared with the network.

    That is model.onnx, model.ts, model.pte, or model.int8.pte, which photographs calibrate.
    ort is ONNX Runtime's own format: model.ort, and model.int8.ort of a quantized bundle. tiles is
    model.int8.tiles.onnx, which stylize --max-ram runs on pictures that don't fit.
    """
    from nstc.cli.progress import Bar
    from nstc.compress.export.export_model import export as run
    from nstc.compress.export.export_model import parse_size
    from nstc.core.photos import photos_in

    with Bar() as bar:
        written = run(
            model,
            formats=[name.strip() for name in formats.split(",")],
            output=output,
            static=None if static is None else parse_size(static),
            photos=photos_in(photos or []),
            progress=bar,
        )
    for path in written:
        say(f"wrote {path}")
