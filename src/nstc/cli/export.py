"""nstc export."""

from pathlib import Path
from typing import Annotated

import typer


def export(
    model: Annotated[str, typer.Argument(help="Bundle or zoo name to export.")],
    formats: Annotated[
        str, typer.Option("--format", help="Some of onnx, torchscript, with commas between.")
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
            "--static",
            metavar="HEIGHTxWIDTH",
            help="Fix ONNX files, int8 too, to one size, which phone delegates want: 512x512.",
        ),
    ] = None,
) -> None:
    """Write model.onnx and model.ts, and check them."""
    from nstc.cli.progress import Bar
    from nstc.compress.exporting import export as run
    from nstc.compress.exporting import parse_size

    with Bar() as bar:
        written = run(
            model,
            formats=[name.strip() for name in formats.split(",")],
            output=output,
            static=None if static is None else parse_size(static),
            progress=bar,
        )
    for path in written:
        typer.echo(f"wrote {path}")
