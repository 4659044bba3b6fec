"""nstc models."""

import json
from typing import Annotated

import typer

from nstc.cli.tables import print_table


def models(
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models that ship with nstc."""
    from rich import box
    from rich.table import Table

    from nstc.core.zoo_listing import list_zoo

    entries = list_zoo()
    if json_output:
        typer.echo(json.dumps([entry.to_dict() for entry in entries], indent=1))
        return
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
    for column in ("name", "stage", "style", "artifacts"):
        shown.add_column(column, no_wrap=True)
    for column in ("KB", "times faster", "style ratio"):
        shown.add_column(column, justify="right")
    for entry in entries:
        shown.add_row(*entry.cells())
    print_table(shown)
