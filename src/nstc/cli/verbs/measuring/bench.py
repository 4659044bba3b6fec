"""nstc bench."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import nstc
from nstc.cli import options, output
from nstc.cli.options import Given, Placed, flag, with_flags
from nstc.core.errors import Interrupted
from nstc.core.recipe import BenchRecipe, load_recipe

if TYPE_CHECKING:
    from nstc.benchmarks.result import BenchResult
    from nstc.benchmarks.targets.base import Target


@dataclass(frozen=True, kw_only=True)
class PlaceFlags:
    """Where it is measured, and what it may take there."""

    threads: int | None = flag(None, "Number of threads: short for --target cpu:N.", shown="2")
    target: list[str] | None = flag(
        None, "Where to measure; nstc targets lists the choices. Repeatable.", shown="cpu:2"
    )
    open_page: bool = flag(
        False, "With --target web: serve the page for a phone on this network to open.", "--open"
    )
    https: bool = flag(
        False, "Serve that page by HTTPS with a self-signed certificate, which threads require."
    )
    memory_cap: int | None = flag(
        None,
        "Most MB of peak memory; the command fails if a row of a target that reports it has more.",
        shown=False,
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
        None,
        "File of the bundle to run, such as int8. Repeatable. Default: all ONNX files.",
        shown=False,
    )
    quality: bool = flag(
        True, "Also measure the quality of the pictures.", "--quality/--no-quality"
    )


@dataclass(frozen=True, kw_only=True)
class ResultFlags:
    """Where the result goes."""

    json: Path | None = flag(
        None,
        "Write the result to this file, again after each target; "
        "- is standard output, without the table.",
    )
    save_baseline: Path | None = flag(None, "Write a baseline for nstc check to a new file.")
    all_metrics: options.AllMetrics = False

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

    @contextlib.contextmanager
    def writing(self) -> Iterator["Callable[[BenchResult], None] | None"]:
        """What writes a result so far to the file, if there is one; Ctrl-C in the block says so."""
        file, is_written = self.file, False
        if file is None:
            yield None
            return

        def write(so_far: "BenchResult") -> None:
            nonlocal is_written
            so_far.write(file)
            is_written = True

        try:
            yield write
        except KeyboardInterrupt as interrupt:
            if not is_written:
                raise
            raise Interrupted(
                f"stopped: {file} has what was measured until then. The same command begins anew."
            ) from interrupt

    def write(self, result: "BenchResult") -> None:
        """Write it to all of these but the file, which has it already, and print its table."""
        from nstc.benchmarks.gate.baseline import from_result, save_baseline

        if self.save_baseline is not None:
            save_baseline(from_result(result, self.save_baseline.parent), self.save_baseline)
        if str(self.json) == "-":
            typer.echo(result.to_json(), nl=False)
        else:
            output.print_result(result, costs=True, every=self.all_metrics)


@with_flags
def bench(
    models: Annotated[
        list[str], typer.Argument(help="Bundles or zoo names to measure.", metavar="BUNDLE")
    ],
    *,
    against: str | None = flag(
        None,
        "Reference, timed in every round as its float graph; or optimized, for the quality of "
        "pictures optimized without a network.",
        shown="the teacher that the manifests name",
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
    """Measure speed and quality compared with a reference."""
    from nstc.benchmarks.gate.limits import refuse_over_cap, refuse_useless_cap
    from nstc.benchmarks.targets import parse_target

    settings = given.over(load_recipe(recipe).bench, targets=places.targets())
    wanted = [parse_target(name) for name in settings.targets]
    refuse_useless_cap(places.memory_cap, wanted, memory=settings.memory)
    written.refuse_in_vain(wanted)
    with written.writing() as finished:
        with output.Bar() as bar:
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
                finished=finished,
            )
        written.write(result)
    refuse_over_cap(result, places.memory_cap)
