"""`nstc stylize`: photographs in, pictures in a painting's style out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nstc.runtime.stylizer import Stylized


def stylize(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO", help="Photographs to stylise.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="The picture to write; a folder for several photographs."
        ),
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="A bundle's folder or a zoo name.")
    ] = "zoo:starry-night",
    artifact: Annotated[
        str, typer.Option(help="Which file of the bundle runs: int8, float, ts, pte.")
    ] = "int8",
    threads: Annotated[
        int | None, typer.Option(help="Threads to compute with; by default one a core.")
    ] = None,
) -> None:
    """Paint photographs in the style of a model."""
    from nstc.runtime.stylizer import Stylizer, stylize_files

    stylizer = Stylizer(model, artifact=artifact, threads=threads)
    stylize_files(photos, stylizer, output, on_done=_report)


def _report(done: "Stylized") -> None:
    typer.echo(f"{done.output}  {done.width}x{done.height}  {done.seconds:.2f} s")
