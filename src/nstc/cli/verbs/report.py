"""nstc report."""

from pathlib import Path
from typing import Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.options import flag, with_flags
from nstc.cli.output import Bar, say


@with_flags
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
    history: Path | None = flag(
        None, "Folder of such results, one for each commit: their trend is drawn.", shown=False
    ),
    photos: options.Photos = None,
    pictures: bool = flag(
        True,
        "Whether to stylise some photographs with the files that are still here.",
        "--pictures/--no-pictures",
    ),
    layer_times: bool = flag(
        True, "Whether to profile those files, here and now.", "--layer-times/--no-layer-times"
    ),
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
) -> None:
    """Make one self-contained HTML page of benchmark results."""
    from nstc.benchmarks.report.page import write_report

    with Bar() as bar:
        write_report(
            files or [],
            output,
            history=history,
            photos=nstc.photos_in(photos or []) if pictures else None,
            layers=layer_times,
            progress=bar,
        )
    say(f"{output}: {output.stat().st_size / 1e6:.2f} MB")
