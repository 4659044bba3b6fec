"""Many pictures of `nstc stylize`, here and on Ray: what is counted, reported and printed."""

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nstc.cli.options import flag
from nstc.cli.output import Bar, say_json, tell
from nstc.core import errors

if TYPE_CHECKING:
    from nstc.runtime.files.batch import BatchOptions, PictureOutcome
    from nstc.runtime.files.reports import AddOutcome
    from nstc.runtime.stylizer import Opening

_SECONDS_BEFORE_RATE: Final = 2.0
_SECONDS_OF_A_BLOCK: Final = 0.05  # in which Ray tells the outcomes of one, by the dozen


@dataclass(frozen=True, kw_only=True)
class BatchFlags:
    """What only many pictures have."""

    report: Path | None = flag(
        None,
        "File for a row about every picture: path, outcome, output, seconds, error and notes. "
        ".jsonl writes JSON lines, .parquet needs nstc[ray].",
        metavar="FILE",
    )
    ray: str | None = flag(
        None,
        "Stylise on Ray, with a worker for every core: ray://HOST:10001 or auto for a cluster, "
        "nothing for this machine. Then PHOTO may also be a list of pictures (.txt, .jsonl, "
        ".parquet) or an address in an object store (s3://, gs://), and so may -o. What exists "
        "is skipped.",
        metavar="[ADDRESS]",
    )
    workers: int | None = flag(
        None, "Number of workers on Ray.", shown="as many as the cluster has cores for"
    )


class Tally:
    """Counts outcomes, and keeps them where they are printed as JSON; a row of the report each."""

    def __init__(self, report: Path | None, *, keep: bool) -> None:
        """`OptionError` or `OutputError` if no report can be written there."""
        from nstc.runtime.files.reports import refuse_unfit_report

        if report is not None:
            refuse_unfit_report(report)
        self._report = report
        self._kept: list[dict[str, Any]] | None = [] if keep else None
        self.counts: Counter[str] = Counter()

    @property
    def is_kept(self) -> bool:
        """Whether the outcomes are printed as JSON at the end, and not as they come."""
        return self._kept is not None

    @contextlib.contextmanager
    def writing(self) -> Iterator["AddOutcome"]:
        """Give what adds an outcome; the report is there after the block, if it succeeds."""
        from nstc.runtime.files.reports import report_to

        with contextlib.ExitStack() as stack:
            row: AddOutcome | None = None
            if self._report is not None:
                row = stack.enter_context(report_to(self._report))

            def add(outcome: "PictureOutcome") -> None:
                self.counts[outcome.status] += 1
                if self._kept is not None:
                    self._kept.append(outcome.to_dict())
                if row is not None:
                    row(outcome)

            yield add

    def print_json(self, asked: Mapping[str, object]) -> None:
        """Print all outcomes, if they are kept."""
        if self._kept is not None:
            numbers = {status: self.counts[status] for status in ("done", "skipped", "failed")}
            say_json({"schema": "nstc.stylize/1", **asked, **numbers, "pictures": self._kept})

    def tell_counts(self, *more: str) -> None:
        """Print a line of them."""
        counts = (f"{self.counts[status]} {status}" for status in ("done", "skipped", "failed"))
        tell(", ".join((*counts, *more)))

    def raise_failures(self) -> None:
        """Raise `BatchError` if any picture failed."""
        if self.counts["failed"]:
            raise errors.BatchError(
                f"{self.counts['failed']} of {self.counts.total()} pictures could not be stylised: "
                "each is named above, and the others are done."
            )


def stylize_archive(
    inputs: list[str],
    output: str,
    opening: "Opening",
    options: "BatchOptions",
    flags: BatchFlags,
    asked: Mapping[str, object],
    json_output: bool,
) -> None:
    """Stylise pictures on Ray, with a bar of how far it is; raise last if any failed."""
    from nstc.runtime.files.archives import find_archived, plan_archived
    from nstc.runtime.files.ray_batch import Workers, stylize_on_ray, work_with

    threads = opening.options["threads"]
    workers = Workers(count=flags.workers, threads=1 if threads is None else threads)
    tally = Tally(flags.report, keep=json_output)
    if flags.report is not None and flags.report.resolve() in (
        Path(own).resolve() for own in inputs
    ):
        raise errors.OptionError(f"report is {flags.report}, which lists the photographs.")
    sources = find_archived(inputs, output, pattern=options.pattern)
    jobs = plan_archived(sources, output, options.ending, options.painting)
    rate, notes = _Rate(), _Notes(are_reported=flags.report is not None)
    try:
        with tally.writing() as add, Bar() as bar:

            def told(outcome: "PictureOutcome") -> None:
                if not tally.counts:  # Ray takes a while to start
                    bar.begin("stylising", len(jobs), 0)
                add(outcome)
                notes.add(outcome)
                if outcome.error is not None:
                    bar.note(str(outcome.error))
                rate.count(outcome.status != "skipped")
                bar.advance(tally.counts.total(), rate.shown())

            work = work_with(opening, options)
            stylize_on_ray(jobs, work, flags.ray or "", workers, told, bar.note)
    except KeyboardInterrupt as interrupt:
        raise errors.Interrupted(
            "stopped; pictures that are finished are kept. Run the same command again to go on."
        ) from interrupt
    finally:
        notes.tell()
    tally.print_json(asked)
    tally.tell_counts(*(f"{value:.3g} {name}" for name, value in rate.shown().items()))
    tally.raise_failures()


class _Notes:
    """What users may not expect of pictures, each kind once: archives have thousands of a kind.

    Notes are of one kind if they differ by numbers only, such as how many pages there are.
    """

    def __init__(self, *, are_reported: bool) -> None:
        self._are_reported = are_reported
        self._firsts: dict[str, str] = {}  # the first line of each kind
        self._counts: Counter[str] = Counter()

    def add(self, outcome: "PictureOutcome") -> None:
        """Keep those of a picture."""
        for note in outcome.notes:
            kind = re.sub(r"\b\d+\b", "", note)
            self._firsts.setdefault(kind, f"{outcome.output}: {note}")
            self._counts[kind] += 1

    def tell(self) -> None:
        """A line of each kind, as a run without Ray has for each picture."""
        named = "" if self._are_reported else "; give --report to name them"
        for kind, first in self._firsts.items():
            others = self._counts[kind] - 1
            tell(f"{first} (and {others} more like it{named})" if others else first)


class _Rate:
    """Pictures a second, after the first block of outcomes: until then Ray is starting."""

    def __init__(self) -> None:
        self._made = 0
        self._first = 0.0

    def count(self, made: bool) -> None:
        """Another outcome, of a picture that was made or only looked for."""
        now = time.monotonic()
        self._first = self._first or now
        self._made += made and now - self._first > _SECONDS_OF_A_BLOCK

    def shown(self) -> dict[str, float]:
        """For `Bar.advance`; nothing before it means anything."""
        elapsed = time.monotonic() - self._first
        return {"pictures/s": self._made / elapsed} if elapsed > _SECONDS_BEFORE_RATE else {}
