"""nstc check, and nstc baseline update, which keeps what it compares with."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstc.cli import options
from nstc.cli.output import print_result, print_table, say
from nstc.cli.signatures import with_flags

if TYPE_CHECKING:
    from nstc.benchmarks.gate.verdicts import CheckReport


@dataclass(frozen=True, kw_only=True)
class ComparisonFlags:
    """What is compared, and how long."""

    base: Annotated[
        list[str] | None,
        typer.Option(
            help="A bundle before the change, repeatable: times are compared with its own, "
            "taken in the same run.",
            show_default=False,
        ),
    ] = None
    facts_and_quality_only: Annotated[
        bool, typer.Option("--facts-and-quality-only", help="Leave time out, and say so.")
    ] = False
    strict: Annotated[bool, typer.Option("--strict", help="IMPROVED fails too.")] = False
    tolerance: Annotated[float, typer.Option(help="Per cent that time may change by.")] = 5.0
    rounds: Annotated[
        int | None, typer.Option(help="To begin with.", show_default="the baseline's")
    ] = None
    max_rounds: Annotated[
        int | None,
        typer.Option(
            help="Rounds are added up to so many while noise leaves a time open.",
            show_default="8 times --rounds",
        ),
    ] = None
    memory_cap: Annotated[
        int | None,
        typer.Option(
            help="MB of peak memory above which a row of a target that reports it is REGRESSED.",
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ReportFlags:
    """Where a check's report goes."""

    json: Annotated[
        Path | None,
        typer.Option(help="Write all to this file; - is standard output, without the table."),
    ] = None
    markdown: Annotated[
        Path | None, typer.Option(help="Write a summary for people to this file.")
    ] = None
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None

    def write(self, report: "CheckReport") -> None:
        """Write it to all of these, and print its table."""
        from nstc.benchmarks.gate import output_formats

        if self.markdown is not None:
            output_formats.write(output_formats.markdown(report), self.markdown)
        if self.junit is not None:
            output_formats.write(output_formats.junit(report), self.junit)
        if str(self.json) == "-":
            typer.echo(output_formats.to_json(report), nl=False)
            return
        print_table(output_formats.check_table(report))
        if self.json is not None:
            output_formats.write(output_formats.to_json(report), self.json)


@with_flags
def check(
    baseline: Annotated[Path, typer.Option(help="What nstc bench --save-baseline wrote.")],
    *,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Bundles that stand for the baseline's. Default: those that it names.",
            metavar="BUNDLE",
            show_default=False,
        ),
    ] = None,
    compared: ComparisonFlags,
    anew: options.AnewFlags,
    written: ReportFlags,
) -> None:
    """Measure a baseline's rows anew and exit by the worst verdict."""
    from nstc.cli.progress import Bar
    from nstc.compress.benchmarking import check as run

    with Bar() as bar:
        report = run(
            models or (),
            baseline,
            base=compared.base or (),
            facts_and_quality_only=compared.facts_and_quality_only,
            strict=compared.strict,
            tolerance=compared.tolerance / 100,
            rounds=compared.rounds,
            max_rounds=compared.max_rounds,
            memory_cap_mb=compared.memory_cap,
            progress=bar,
            **anew.conditions(),
        )
    written.write(report)
    raise typer.Exit(report.exit_status)


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
    rounds: Annotated[int | None, typer.Option(show_default="the baseline's")] = None,
    anew: options.AnewFlags,
) -> None:
    """Measure a baseline's rows anew and agree to what is found.

    Facts and quality are replaced, and the times of this machine's class; those of other classes
    stay.
    """
    from nstc.benchmarks.gate.baseline import save_baseline
    from nstc.benchmarks.gate.check_models import update_baseline
    from nstc.benchmarks.gate.measuring import Conditions
    from nstc.cli.progress import Bar
    from nstc.compress.export.export_model import made_artifact
    from nstc.core.files.locks import locked

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
