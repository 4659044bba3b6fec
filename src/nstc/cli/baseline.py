"""nstc baseline."""

from pathlib import Path
from typing import Annotated

import typer

from nstc.cli import options
from nstc.cli.output import say
from nstc.cli.tables import print_result
from nstc.core.graph_form import GraphForm


@options.with_graph_flags
def update(
    file: Annotated[Path, typer.Argument(help="The baseline.", metavar="FILE")],
    reason: Annotated[
        str, typer.Option("--reason", help="Why the new numbers hold from now on; it is kept.")
    ],
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Those to measure; new ones are added. Default: all that it names.",
            metavar="BUNDLE",
            show_default=False,
        ),
    ] = None,
    rounds: Annotated[int | None, typer.Option("--rounds", show_default="the baseline's")] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="Where the reference lies. Default: as the baseline says."),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option("--teacher", help="Default: as the baseline says.")
    ] = None,
    photos: options.Photos = None,
    form: GraphForm = options.NO_FORM,
    trust: options.TrustBundled = False,
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
    vgg: options.Vgg = "shipped",
) -> None:
    """Measure a baseline's rows anew and agree to what is found.

    Facts and quality are replaced, and the times of this machine's class; those of other classes
    stay.
    """
    from functools import partial

    from nstc.benchmarks.baseline_file import save_baseline
    from nstc.benchmarks.gate import update_baseline
    from nstc.benchmarks.measuring import Conditions
    from nstc.cli.progress import Bar
    from nstc.compress.exporting import ensure_artifact
    from nstc.core.locks import locked
    from nstc.core.photos import photos_in
    from nstc.runtime.foreign import probe_contract

    probe = partial(probe_contract, **form.told(), trust=trust)
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
                vgg=vgg,
                probe=probe,
                trust=trust,
                prepare=ensure_artifact,
                progress=bar,
            ),
        )
        save_baseline(updated, file)
    print_result(result, costs=False)
    say(f"{file}: {len(result.rows)} rows agreed to")
