"""nstc report."""

from pathlib import Path
from typing import Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.output import Bar, say


@options.with_flags
def report(
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML page to write.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Results written by nstc bench --json. Default: the newest of --history.",
            metavar="FILE...",
            show_default=False,
        ),
    ] = None,
    history: Path | None = options.flag(
        None, "Folder of results, one for each commit, whose trend is plotted.", shown=False
    ),
    photos: options.Photos = None,
    pictures: bool = options.flag(
        True,
        "Stylise some photographs with those files that are still there.",
        "--pictures/--no-pictures",
    ),
    layer_times: bool = options.flag(
        True, "Profile the layers of those files on this machine.", "--layer-times/--no-layer-times"
    ),
    all_metrics: options.AllMetrics = False,
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
) -> None:
    """Write benchmark results as one self-contained HTML page."""
    from nstc.benchmarks.report.page import write_report

    with Bar() as bar:
        write_report(
            files or [],
            output,
            history=history,
            photos=nstc.photos_in(photos or []) if pictures else None,
            layers=layer_times,
            all_metrics=all_metrics,
            progress=bar,
        )
    say(f"{output}: {output.stat().st_size / 1e6:.2f} MB")
