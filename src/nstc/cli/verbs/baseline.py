"""nstc baseline."""

from pathlib import Path
from typing import Annotated

import typer

from nstc.cli import options
from nstc.cli.options import flag, with_flags
from nstc.cli.output import Bar, print_result, say


@with_flags
def update(
    file: Annotated[Path, typer.Argument(help="The baseline.", metavar="FILE")],
    reason: Annotated[str, typer.Option(help="Why the new numbers hold from now on; it is kept.")],
    *,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Those to measure; new ones are added. Default: all that it names.",
            metavar="BUNDLE",
            show_default=False,
        ),
    ] = None,
    rounds: int | None = flag(None, "", shown="the baseline's"),
    anew: options.AnewFlags,
) -> None:
    """Measure a baseline's rows anew and agree to what is found.

    Facts and quality are replaced, and the times of this machine's class; those of other classes
    stay.
    """
    from nstc.benchmarks.gate.baseline import save_baseline
    from nstc.benchmarks.gate.check_models import update_baseline
    from nstc.benchmarks.gate.measuring import Conditions
    from nstc.compress.export.export_model import made_artifact
    from nstc.core.files import locked

    with locked(file), Bar() as bar:  # from reading it to writing it
        updated, result = update_baseline(
            models or (),
            file,
            reason,
            conditions=Conditions(
                rounds=rounds, store=made_artifact, progress=bar, **anew.conditions()
            ),
        )
        save_baseline(updated, file)
    print_result(result, costs=False)
    say(f"{file}: {len(result.rows)} rows agreed to")
