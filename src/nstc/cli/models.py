"""nstc models."""

import json
from typing import Annotated

import typer

from nstc.cli.tables import print_list


def models(
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models that ship with nstc."""
    from nstc.core.zoo_listing import list_zoo

    entries = list_zoo()
    if json_output:
        typer.echo(json.dumps([entry.to_dict() for entry in entries], indent=1))
        return
    print_list(
        ("name", "stage", "style", "artifacts"),
        ("KB", "times faster", "style ratio"),
        (entry.cells() for entry in entries),
    )
