"""nstc targets."""

import json
from typing import Annotated

import typer

from nstc.cli.tables import print_table


def targets(
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List where nstc bench can measure, and why not where it can't."""
    from nstc.benchmarks.targets import TARGETS

    found = [
        {
            "target": kind.form,
            "available": kind.availability() is None,
            "reason": kind.availability(),
            "summary": kind.summary,
        }
        for kind in TARGETS.values()
    ]
    if json_output:
        typer.echo(json.dumps(found, indent=1))
        return
    from rich import box
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    shown.add_column("target", no_wrap=True)
    shown.add_column("available")
    shown.add_column("what it measures")
    for entry in found:
        available = "yes" if entry["available"] else f"no: {entry['reason']}"
        shown.add_row(str(entry["target"]), available, str(entry["summary"]))
    print_table(shown)
