"""nstc check."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nstc
from nstc.cli import options, output
from nstc.cli.options import flag, with_flags

if TYPE_CHECKING:
    from nstc.benchmarks.gate.verdicts import CheckReport

_CI = "CI"  # the variable that CI systems set to true


@dataclass(frozen=True, kw_only=True)
class ComparisonFlags:
    """What is compared, and how long."""

    base: list[str] | None = flag(
        None,
        "Bundle from before the change: times are judged, compared with its times from the same "
        "run. Repeatable.",
        shown=False,
    )
    time: bool = flag(False, "Judge times too, which takes an idle machine.")
    facts_and_quality_only: bool = flag(
        False, "Check facts and quality, not instructions; the report says so."
    )
    measure_quality: bool = flag(
        False,
        "Measure quality even where the pictures are the baseline's, byte for byte, and so their "
        "quality.",
    )
    strict: bool = flag(False, "Fail on IMPROVED and NOT_JUDGED too.")
    tolerance: float | None = flag(None, "Per cent by which a time may change.", shown="5")
    rounds: int | None = flag(None, "Initial number of timed rounds.", shown="the baseline's")
    max_rounds: int | None = flag(
        None,
        "Most timed rounds: more are added while noise leaves a verdict open.",
        shown="8 times --rounds",
    )
    memory_cap: int | None = flag(
        None,
        "Most MB of peak memory; a row of a target that reports it is REGRESSED above it.",
        shown=False,
    )


@dataclass(frozen=True, kw_only=True)
class ReportFlags:
    """Where a check's report goes."""

    json: Path | None = flag(
        None, "Write the report to this file as JSON; - is standard output, without the table."
    )
    markdown: Path | None = flag(None, "Write a Markdown summary to this file.")
    junit: Path | None = flag(None, "Write JUnit XML to this file.")
    all_metrics: options.AllMetrics = False

    def write(self, report: "CheckReport") -> None:
        """Write it to all of these, and print its table."""
        from nstc.benchmarks.gate import output_formats
        from nstc.core import files

        if self.markdown is not None:
            files.write_text(self.markdown, output_formats.markdown(report))
        if self.junit is not None:
            files.write_text(self.junit, output_formats.junit(report))
        if str(self.json) == "-":
            typer.echo(output_formats.to_json(report), nl=False)
            return
        output.print_table(output_formats.check_table(report, every=self.all_metrics))
        if self.json is not None:
            files.write_text(self.json, output_formats.to_json(report))


@with_flags
def check(
    baseline: Annotated[
        Path, typer.Option(help="The baseline, written by nstc bench --save-baseline.")
    ],
    *,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Bundles to check in place of those in the baseline. Default: those it names.",
            metavar="BUNDLE",
            show_default=False,
        ),
    ] = None,
    compared: ComparisonFlags,
    anew: options.AnewFlags,
    written: ReportFlags,
) -> None:
    """Measure the rows of a baseline again; the worst verdict sets the exit code.

    Facts, quality and instructions are judged, which hold on any machine; --time adds times.
    """
    with output.Bar() as bar:
        report = nstc.check(
            models or (),
            baseline,
            base=compared.base or (),
            time=compared.time,
            facts_and_quality_only=compared.facts_and_quality_only,
            counts_required=os.environ.get(_CI, "").lower() not in {"", "0", "false"},
            measure_quality=compared.measure_quality,
            strict=compared.strict,
            tolerance=None if compared.tolerance is None else compared.tolerance / 100,
            rounds=compared.rounds,
            max_rounds=compared.max_rounds,
            memory_cap_mb=compared.memory_cap,
            progress=bar,
            **anew.conditions(),
        )
    written.write(report)
    raise typer.Exit(report.exit_status)
