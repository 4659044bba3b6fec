"""nstc check, and nstc baseline update, which keeps what it compares with."""

from pathlib import Path
from typing import Annotated

import typer

from nstc.cli import options
from nstc.cli.output import print_result, print_table, say
from nstc.cli.signatures import with_flags


@with_flags
def check(
    baseline: Annotated[
        Path, typer.Option("--baseline", help="What nstc bench --save-baseline wrote.")
    ],
    *,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Bundles that stand for the baseline's. Default: those that it names.",
            metavar="BUNDLE",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        list[str] | None,
        typer.Option(
            "--base",
            help="A bundle before the change, repeatable: times are compared with its own, "
            "taken in the same run.",
            show_default=False,
        ),
    ] = None,
    facts_and_quality_only: Annotated[
        bool, typer.Option("--facts-and-quality-only", help="Leave time out, and say so.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="IMPROVED fails too.")] = False,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Per cent that time may change by.")
    ] = 5.0,
    rounds: Annotated[
        int | None,
        typer.Option("--rounds", help="To begin with.", show_default="the baseline's"),
    ] = None,
    max_rounds: Annotated[
        int | None,
        typer.Option(
            "--max-rounds",
            help="Rounds are added up to so many while noise leaves a time open.",
            show_default="8 times --rounds",
        ),
    ] = None,
    memory_cap: Annotated[
        int | None,
        typer.Option(
            "--memory-cap",
            help="MB of peak memory above which a row of a target that reports it is REGRESSED.",
            show_default=False,
        ),
    ] = None,
    against: options.BaselineReference = None,
    teacher: options.BaselineTeacher = None,
    photos: options.Photos = None,
    judged: options.JudgedFlags,
    json: Annotated[
        Path | None,
        typer.Option(
            "--json", help="Write all to this file; - is standard output, without the table."
        ),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Write a summary for people to this file.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", help="Write JUnit XML to this file.")
    ] = None,
) -> None:
    """Measure a baseline's rows anew and exit by the worst verdict."""
    from nstc.benchmarks import gate_output
    from nstc.cli.progress import Bar
    from nstc.compress.benchmarking import check as run
    from nstc.core.photos import photos_in

    with Bar() as bar:
        report = run(
            models or (),
            baseline,
            photos=photos_in(photos or []),
            base=base or (),
            facts_and_quality_only=facts_and_quality_only,
            strict=strict,
            tolerance=tolerance / 100,
            rounds=rounds,
            max_rounds=max_rounds,
            memory_cap_mb=memory_cap,
            against=against,
            teacher=teacher,
            vgg=judged.vgg,
            probe=judged.probe(),
            trust=judged.trust,
            progress=bar,
        )
    if markdown is not None:
        gate_output.write(gate_output.markdown(report), markdown)
    if junit is not None:
        gate_output.write(gate_output.junit(report), junit)
    if json is None or str(json) != "-":
        print_table(gate_output.check_table(report))
    if json is not None:
        if str(json) == "-":
            typer.echo(gate_output.to_json(report), nl=False)
        else:
            gate_output.write(gate_output.to_json(report), json)
    raise typer.Exit(report.exit_status)


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
