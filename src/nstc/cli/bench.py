"""The verbs that measure: bench, report, check and baseline update."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.options import Given, Placed, flag, with_flags
from nstc.cli.output import Bar, print_result, print_table, say
from nstc.core.recipe import BenchRecipe, load_recipe

if TYPE_CHECKING:
    from nstc.benchmarks.gate.verdicts import CheckReport
    from nstc.benchmarks.result import BenchResult
    from nstc.benchmarks.targets.base import Target


@dataclass(frozen=True, kw_only=True)
class PlaceFlags:
    """Where it is measured, and what it may take there."""

    threads: int | None = flag(None, "N: short for --target cpu:N.", shown="2")
    target: list[str] | None = flag(
        None, "Where; nstc targets lists them. Repeatable.", shown="cpu:2"
    )
    open_page: bool = flag(
        False, "Serve the page of --target web for a phone in this network to open.", "--open"
    )
    https: bool = flag(False, "Serve it by a certificate of its own: threads need that.")
    memory_cap: int | None = flag(
        None, "MB of peak memory above which a row of a target that reports it fails.", shown=False
    )

    def targets(self) -> tuple[str, ...] | None:
        """The targets that are meant; None for the recipe's."""
        from nstc.benchmarks.targets import chosen_targets
        from nstc.benchmarks.targets.browser import opened_elsewhere

        opened = opened_elsewhere(self.target or (), page=self.open_page, https=self.https)
        return chosen_targets(opened, self.threads)


@dataclass(frozen=True, kw_only=True)
class SubjectFlags:
    """What of them is measured."""

    photos: options.Photos = None
    teacher: options.Teacher = None
    artifact: list[str] | None = flag(
        None, "File to run, such as int8, repeatable. Default: all ONNX files.", shown=False
    )
    quality: bool = flag(True, "Whether to judge the pictures.", "--quality/--no-quality")


@dataclass(frozen=True, kw_only=True)
class ResultFlags:
    """Where the result goes."""

    json: Path | None = flag(
        None,
        "Write the result to this file, after each target what there is so far; "
        "- is standard output, without the table.",
    )
    save_baseline: Path | None = flag(None, "Write what nstc check compares with to a new file.")

    @property
    def file(self) -> Path | None:
        """What --json names, unless it is standard output."""
        return None if str(self.json) == "-" else self.json

    def refuse_in_vain(self, targets: "Sequence[Target]") -> None:
        """Raise before any work if one of them can't be written."""
        from nstc.benchmarks.gate.baseline import refuse_existing
        from nstc.benchmarks.targets.browser import refuse_baseline_of_another_device
        from nstc.core.files import refuse_unwritable_file

        if self.file is not None:
            refuse_unwritable_file(self.file)
        if self.save_baseline is not None:
            refuse_baseline_of_another_device(targets)
            refuse_existing(self.save_baseline)

    def write(self, result: "BenchResult") -> None:
        """Write it to all of these but the file, which has it already, and print its table."""
        from nstc.benchmarks.gate.baseline import from_result, save_baseline

        if self.save_baseline is not None:
            save_baseline(from_result(result, self.save_baseline.parent), self.save_baseline)
        if str(self.json) == "-":
            typer.echo(result.to_json(), nl=False)
        else:
            print_result(result, costs=True)


@with_flags
def bench(
    models: Annotated[
        list[str], typer.Argument(help="Bundles or zoo names to judge.", metavar="BUNDLE")
    ],
    *,
    against: str | None = flag(
        None,
        "Timed beside them in every round, as its float graph.",
        shown="the teacher that their manifests name",
    ),
    _size: Placed = None,
    places: PlaceFlags,
    _memory: Placed = None,
    _roofline: Placed = None,
    given: Given[BenchRecipe],
    subjects: SubjectFlags,
    recipe: options.Recipe = None,
    judged: options.JudgedFlags,
    _seed: Placed = None,
    written: ResultFlags,
) -> None:
    """Measure speed and quality beside a reference."""
    from nstc.benchmarks.gate.limits import refuse_over_cap, refuse_useless_cap
    from nstc.benchmarks.targets import parse_target

    settings = given.over(load_recipe(recipe).bench, targets=places.targets())
    wanted = [parse_target(name) for name in settings.targets]
    refuse_useless_cap(places.memory_cap, wanted, memory=settings.memory)
    written.refuse_in_vain(wanted)
    file = written.file
    with Bar() as bar:
        result = nstc.bench(
            models,
            against=against,
            artifacts=subjects.artifact or (),
            photos=nstc.photos_in(subjects.photos or []),
            recipe=settings,
            teacher=subjects.teacher,
            quality=subjects.quality,
            vgg=judged.vgg,
            probe=judged.probe(),
            trust=judged.trust,
            progress=bar,
            finished=None if file is None else lambda so_far: so_far.write(file),
        )
    written.write(result)
    refuse_over_cap(result, places.memory_cap)


@with_flags
def report(
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML page to write.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Results that nstc bench --json wrote. Default: the newest of --history.",
            metavar="FILE...",
            show_default=False,
        ),
    ] = None,
    history: Path | None = flag(
        None, "Folder of such results, one for each commit: their trend is drawn.", shown=False
    ),
    photos: options.Photos = None,
    pictures: bool = flag(
        True,
        "Whether to stylise some photographs with the files that are still here.",
        "--pictures/--no-pictures",
    ),
    layer_times: bool = flag(
        True, "Whether to profile those files, here and now.", "--layer-times/--no-layer-times"
    ),
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
) -> None:
    """Make one self-contained HTML page of benchmark results."""
    from nstc.benchmarks.report.page import write_report

    with Bar() as bar:
        write_report(
            files or [],
            output,
            history=history,
            photos=nstc.photos_in(photos or []) if pictures else None,
            layers=layer_times,
            progress=bar,
        )
    say(f"{output}: {output.stat().st_size / 1e6:.2f} MB")


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
