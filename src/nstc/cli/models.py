"""nstc models."""

from pathlib import Path
from typing import Annotated

import typer

from nstc.cli.output import say, say_json
from nstc.cli.tables import print_list


def models(
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", help="A photograph, to see all of them on, side by side."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The picture that --sheet writes.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models that ship with nstc."""
    from nstc.core.errors import OptionError
    from nstc.core.zoo_listing import basis, list_zoo

    if (sheet is None) != (output is None):
        raise OptionError("--sheet and --output go together: give the photograph and the picture.")
    if sheet is not None and output is not None:
        from nstc.runtime.zoo_sheet import write_zoo_sheet

        names = write_zoo_sheet(sheet, output)
        if json_output:
            say_json({"output": str(output), "models": names})
        else:
            say(f"wrote {output}: {', '.join(names)}")
        return
    entries = list_zoo()
    if json_output:
        say_json([entry.to_dict() for entry in entries])
        return
    print_list(
        ("name", "stage", "style"),
        ("KB", "times faster", "style ratio"),
        (entry.cells() for entry in entries),
        sentences=("artifacts",),
    )
    for line in basis(entries):
        say(line)
