"""nstc report."""

from pathlib import Path
from typing import Annotated

import typer

from nstc.cli import options
from nstc.cli.output import say


def report(
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML page to write.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Results that nstc bench --json wrote. Default: the newest of --history.",
            metavar="FILE...",
            show_default=False,
        ),
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option(
            "--history",
            help="Folder of such results, one for each commit: their trend is drawn.",
            show_default=False,
        ),
    ] = None,
    photos: options.Photos = None,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures/--no-pictures",
            help="Whether to stylise some photographs with the files that are still here.",
        ),
    ] = True,
    layer_times: Annotated[
        bool,
        typer.Option(
            "--layer-times/--no-layer-times",
            help="Whether to profile those files, here and now.",
        ),
    ] = True,
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
) -> None:
    """Make one self-contained HTML page of benchmark results."""
    from nstc.benchmarks.report.page import write_report
    from nstc.cli.progress import Bar
    from nstc.core.photos import photos_in

    with Bar() as bar:
        write_report(
            files or [],
            output,
            history=history,
            photos=photos_in(photos or []) if pictures else None,
            layers=layer_times,
            progress=bar,
        )
    say(f"{output}: {output.stat().st_size / 1e6:.2f} MB")
