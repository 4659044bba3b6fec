"""nstc targets."""

from typing import Annotated

import typer

from nstc.cli.output import say_json
from nstc.cli.tables import print_list


def targets(
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List where nstc bench can measure, and why not where it can't."""
    from nstc.benchmarks.targets import TARGETS

    kinds = TARGETS.values()
    if json_output:
        say_json([kind.to_dict() for kind in kinds])
        return
    print_list(
        ("target",),
        (),
        (kind.cells() for kind in kinds),
        sentences=("available", "what it measures"),
    )
