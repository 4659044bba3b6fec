"""nstc check."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.options import flag, with_flags
from nstc.cli.output import Bar, print_table

if TYPE_CHECKING:
    from nstc.benchmarks.gate.verdicts import CheckReport


@dataclass(frozen=True, kw_only=True)
class ComparisonFlags:
    """What is compared, and how long."""

    base: list[str] | None = flag(
        None,
        "A bundle before the change, repeatable: times are compared with its own, "
        "taken in the same run.",
        shown=False,
    )
    facts_and_quality_only: bool = flag(False, "Leave time out, and say so.")
    strict: bool = flag(False, "IMPROVED fails too.")
    tolerance: float = flag(5.0, "Per cent that time may change by.")
    rounds: int | None = flag(None, "To begin with.", shown="the baseline's")
    max_rounds: int | None = flag(
        None,
        "Rounds are added up to so many while noise leaves a time open.",
        shown="8 times --rounds",
    )
    memory_cap: int | None = flag(
        None,
        "MB of peak memory above which a row of a target that reports it is REGRESSED.",
        shown=False,
    )


@dataclass(frozen=True, kw_only=True)
class ReportFlags:
    """Where a check's report goes."""

    json: Path | None = flag(
        None, "Write all to this file; - is standard output, without the table."
    )
    markdown: Path | None = flag(None, "Write a summary for people to this file.")
    junit: Path | None = flag(None, "Write JUnit XML to this file.")

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
    with Bar() as bar:
        report = nstc.check(
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
