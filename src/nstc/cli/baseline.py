"""nstc baseline."""

from pathlib import Path
from typing import Annotated

import typer

from nstc.cli import options
from nstc.cli.output import say
from nstc.cli.signatures import with_flags
from nstc.cli.tables import print_result


@with_flags
def update(
    file: Annotated[Path, typer.Argument(help="The baseline.", metavar="FILE")],
    reason: Annotated[
        str, typer.Option("--reason", help="Why the new numbers hold from now on; it is kept.")
    ],
    *,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Those to measure; new ones are added. Default: all that it names.",
            metavar="BUNDLE",
            show_default=False,
        ),
    ] = None,
    rounds: Annotated[int | None, typer.Option("--rounds", show_default="the baseline's")] = None,
    against: options.BaselineReference = None,
    teacher: options.BaselineTeacher = None,
    photos: options.Photos = None,
    judged: options.JudgedFlags,
) -> None:
    """Measure a baseline's rows anew and agree to what is found.

    Facts and quality are replaced, and the times of this machine's class; those of other classes
    stay.
    """
    from nstc.benchmarks.baseline_file import save_baseline
    from nstc.benchmarks.gate import update_baseline
    from nstc.benchmarks.measuring import Conditions
    from nstc.cli.progress import Bar
    from nstc.compress.exporting import made_artifact
    from nstc.core.locks import locked
    from nstc.core.photos import photos_in

    with locked(file), Bar() as bar:  # from reading it to writing it
        updated, result = update_baseline(
            models or (),
            file,
            reason,
            conditions=Conditions(
                photos=photos_in(photos or []),
                rounds=rounds,
                against=against,
                teacher=teacher,
                vgg=judged.vgg,
                probe=judged.probe(),
                trust=judged.trust,
                store=made_artifact,
                progress=bar,
            ),
        )
        save_baseline(updated, file)
    print_result(result, costs=False)
    say(f"{file}: {len(result.rows)} rows agreed to")
