"""Verdicts on measured rows, compared with a baseline's, number by number."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from nstc.benchmarks.gate import baseline as baselines
from nstc.benchmarks.gate.baseline import Baseline, BaselineQuality, BaselineRow
from nstc.benchmarks.gate.keys import FileKey, RowKey
from nstc.benchmarks.quality.metrics import ESTABLISHED, KNOWN, Better, Metric, metric_of_number
from nstc.benchmarks.result import BenchResult, Quality, Row
from nstc.benchmarks.subjects import Find
from nstc.benchmarks.timing import statistics
from nstc.benchmarks.timing.machine import machine_class, same_hardware
from nstc.benchmarks.timing.statistics import PRECISION, SpeedChange, bootstrap_speedup, undisturbed


class Verdict(StrEnum):
    """On one number, from the best to the worst; PASS is within tolerance."""

    PASS = "PASS"  # noqa: S105  (no password)
    NOT_JUDGED = "NOT_JUDGED"  # the baseline is too old to have it, or this machine can't take it
    IMPROVED = "IMPROVED"  # better than tolerance allows: the baseline wants an update
    CHANGED = "CHANGED"  # other pictures, which figures may not tell: the baseline wants an update
    INCONCLUSIVE = "INCONCLUSIVE"  # too noisy to say; the finding says what would settle it
    MISSING_BASELINE = "MISSING_BASELINE"  # there is nothing to compare with
    INCOMPARABLE = "INCOMPARABLE"  # there is, but measured in another way, or one of them not
    REGRESSED = "REGRESSED"  # worse than tolerance allows


SEVERITY: Final = tuple(Verdict)  # from the best to the worst

EXIT_STATUS: Final[Mapping[Verdict, int]] = {
    Verdict.PASS: 0,
    Verdict.REGRESSED: 70,
    Verdict.INCOMPARABLE: 71,
    Verdict.MISSING_BASELINE: 72,
    Verdict.INCONCLUSIVE: 73,
    Verdict.IMPROVED: 74,
    Verdict.NOT_JUDGED: 75,
    Verdict.CHANGED: 76,
}
"""Of `nstc check`, by its worst verdict. Those in `WANT_UPDATE` fail only a strict check."""

WANT_UPDATE: Final = (Verdict.IMPROVED, Verdict.NOT_JUDGED)

SPEEDUP: Final = "speedup"

# Less than what a user notices, more than an unchanged file shows on a low-noise machine.
TIME_TOLERANCE: Final = PRECISION

UPDATE: Final = "nstc baseline update FILE --reason TEXT"
NEWER: Final = f"the baseline was made without it: {UPDATE} adds it"
SAME_PICTURES: Final = "the same pictures as the baseline's"
_NO_TIME: Final = (
    "give --base with the files before the change, or run nstc baseline update here, or leave "
    "--time out"
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A row of a baseline as it is now."""

    row: Row  # what was found
    result: BenchResult  # the run that it was found in
    base: Row | None = None  # the base's row of the same run, if it was timed with one
    same_pictures: bool = False  # as the baseline's quality is of, which was not measured then


@dataclass(frozen=True)
class Finding:
    """A verdict on one number of one row."""

    row: FileKey  # whose number: a row's, or a file's that no row needs to measure
    fact: str  # which: "bytes", "style_ratio", "speedup"
    verdict: Verdict  # what became of it
    baseline: float | None  # what it was; None where there is nothing to compare with
    value: float | None  # what it is; None where it was not measured
    explanation: str  # one line: what changed by how much, or what to do
    rounds_needed: int | None = None  # about, to settle an INCONCLUSIVE time; None: none here would
    more_rounds_may_settle: bool = False  # whether it is worth trying


class ComparedWith(StrEnum):
    """What times were compared with."""

    BASELINE = "baseline"  # the speed-ups that the baseline keeps for this class of machine
    BASE = "base"  # the base's own files, in the same run
    NOTHING = "nothing"  # they are not judged: the caller did not ask for it


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """All findings of one check."""

    baseline: str  # the baseline's file
    machine_class: str  # of the machine that ran it
    times_compared_with: ComparedWith
    strict: bool  # whether `WANT_UPDATE` fail too
    findings: tuple[Finding, ...]  # row by row: facts, quality, time; then file by file
    notes: tuple[str, ...]  # what a reader must know: what was left out, and why
    results: tuple[BenchResult, ...]  # the raw measurements

    @property
    def verdict(self) -> Verdict:
        """The worst of all."""
        return worst(finding.verdict for finding in self.findings)

    @property
    def exit_status(self) -> int:
        """Of the process."""
        return exit_status(self.verdict, strict=self.strict)

    @property
    def by_row(self) -> Mapping[FileKey, tuple[Finding, ...]]:
        """What was found of each row, in order."""
        rows = dict.fromkeys(finding.row for finding in self.findings)
        return {row: tuple(own for own in self.findings if own.row == row) for row in rows}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The most severe one; of none at all MISSING_BASELINE, since nothing was compared."""
    return max(verdicts, key=SEVERITY.index, default=Verdict.MISSING_BASELINE)


def exit_status(verdict: Verdict, *, strict: bool = False) -> int:
    """Of a process whose worst verdict this is."""
    return 0 if verdict in WANT_UPDATE and not strict else EXIT_STATUS[verdict]


def facts_and_quality(
    old: BaselineRow, new: Measured, baseline: Baseline, find: Find
) -> list[Finding]:
    """Verdicts on all that holds on every machine; `find` opens teachers."""
    facts = baselines.exact_facts(new.row)
    found = [
        compare_fact(old.key, name, old.facts.get(name), facts.get(name))
        for name in {**old.facts, **facts}
    ]
    before = {} if old.quality is None else old.quality.numbers
    if new.same_pictures:
        same = ((name, Verdict.PASS, was, was, SAME_PICTURES) for name, was in before.items())
        return [*found, *(Finding(old.key, *own) for own in same)]
    judged = {} if new.row.quality is None else new.row.quality.numbers
    obstacle = _quality_obstacle(old.quality, new, baseline, find)
    newer = _newer_than_baseline(old.quality, new.row.quality)
    for name in {**before, **judged}:
        was, value = before.get(name), judged.get(name)
        if name in newer:
            found.append(Finding(old.key, name, Verdict.NOT_JUDGED, was, value, NEWER))
        elif obstacle is not None and was is not None:
            found.append(Finding(old.key, name, Verdict.INCOMPARABLE, was, value, obstacle))
        else:
            finding = compare_quality(old.key, metric_of_number(name), was, value)
            found.append(_with_photo(finding, new.row.quality))
    return found


def _with_photo(finding: Finding, quality: Quality | None) -> Finding:
    """The same, which names the photograph if it is on the worst one and differs."""
    metric, _, end = finding.fact.rpartition("_")
    tail = None if quality is None or end != "worst" else quality.tails.get(metric)
    if tail is None or math.isnan(tail.worst) or finding.value == finding.baseline:
        return finding
    explanation = f"{finding.explanation}; the worst is {tail.worst_photo}"
    return replace(finding, explanation=explanation)


def _newer_than_baseline(old: BaselineQuality | None, new: Quality | None) -> Collection[str]:
    """Numbers that a baseline may lack, since whoever wrote it may not have had them.

    Those are metrics in `NEWER`, metrics of packages, and tails. No others, or a baseline from
    which numbers were taken away would pass; and none where both have no median in common, so that
    nothing would be judged.
    """
    if old is None or new is None or not old.metrics.keys() & new.metrics.keys():
        return ()
    metrics = new.metrics.keys() - old.metrics.keys() - ESTABLISHED
    lacked = new.tails.keys() - old.tails.keys()
    if old.tails:  # of an nstc that has tails
        lacked -= old.metrics.keys() & KNOWN.keys()
    return metrics | statistics.tail_numbers({name: new.tails[name] for name in lacked}).keys()


def _quality_obstacle(
    old: BaselineQuality | None, new: Measured, baseline: Baseline, find: Find
) -> str | None:
    """Why the two qualities can't be compared, if they can't."""
    quality = new.row.quality
    if old is None or quality is None:
        return None
    if new.result.protocol.id != baseline.protocol.id:
        return _protocol_difference(baseline, new.result)
    teacher = None
    if quality.teacher != new.row.model:
        teacher = baselines.known_model(find(quality.teacher), baseline.folder)
    (before, was), (now, sha256) = (
        ("itself", None) if own is None else (own.place, own.sha256)
        for own in (old.teacher, teacher)
    )
    if was != sha256 and before == now:
        return f"{before} is another network than when the baseline was judged by it"
    if was != sha256:
        return f"judged by {now}, the baseline by {before}"
    if quality.style_source != old.style_source:
        return f"the style is from the {quality.style_source}, the baseline's {old.style_source}"
    return None


def _protocol_difference(baseline: Baseline, result: BenchResult) -> str:
    old, new = baseline.protocol, result.protocol
    if old.id == new.id:  # and `times_id` differs
        return (
            "this time was taken with other photographs, another reference, or by a version of "
            "nstc that takes times in another way"
        )
    pairs = {
        "other photographs": (old.photos.list_sha256, new.photos.list_sha256),
        "another size": (old.size, new.size),
        "another feature network": (old.vgg, new.vgg),
        "another reference": (baseline.reference.sha256, new.reference),
    }
    differing = [name for name, (before, now) in pairs.items() if before != now]
    what = " and ".join(differing) or "another way of measuring in this nstc"
    return f"{what} (protocol {new.id}, the baseline's is {old.id})"


def compare_fact(row: RowKey, fact: str, baseline: int | None, value: int | None) -> Finding:
    """Compare a number that is exact on every machine, such as parameters; fewer is better.

    None: the baseline, or this run, does not have it.
    """
    if baseline is None or value is None:
        return _one_sided(row, fact, baseline, value)
    if value == baseline:
        return Finding(row, fact, Verdict.PASS, baseline, value, "the same")
    verdict = Verdict.REGRESSED if value > baseline else Verdict.IMPROVED
    share = f" ({(value - baseline) / baseline * 100:+.2f} %)" if baseline else ""
    explanation = f"{value - baseline:+,}{share}, and it should be exactly the same"
    return Finding(row, fact, verdict, baseline, value, explanation)


def compare_quality(
    row: RowKey, metric: Metric, baseline: float | None, value: float | None
) -> Finding:
    """Compare two medians with the metric's tolerance on both sides; None as in `compare_fact`."""
    if baseline is None or value is None:
        return _one_sided(row, metric.name, baseline, value)
    tolerance = metric.tolerance
    before, now = min(baseline, tolerance.ceiling), min(value, tolerance.ceiling)
    explanation = f"{now - before:+.4g}, {tolerance.allowed(before):.3g} is allowed"
    if math.isnan(baseline) or math.isnan(value):
        verdict, explanation = Verdict.INCOMPARABLE, "not a number"
    elif before == now:
        verdict, explanation = Verdict.PASS, "the same"
    elif abs(now - before) <= tolerance.allowed(before):
        verdict = Verdict.PASS
    elif metric.better is Better.NEITHER:
        verdict, explanation = Verdict.REGRESSED, f"{explanation}, and neither way is better"
    else:
        better = (now > before) == (metric.better is Better.HIGHER)
        verdict = Verdict.IMPROVED if better else Verdict.REGRESSED
    return Finding(row, metric.name, verdict, baseline, value, explanation)


def _one_sided(row: RowKey, fact: str, baseline: float | None, value: float | None) -> Finding:
    """A number that only one of the two has. Neither is a pass."""
    verdict, why = Verdict.INCOMPARABLE, "in the baseline, but this run did not measure it"
    if baseline is None:
        verdict = Verdict.MISSING_BASELINE
        why = f"not in the baseline: {UPDATE}"
    return Finding(row, fact, verdict, baseline, value, why)


def time_since_stored(
    old: BaselineRow, new: Measured, baseline: Baseline, *, tolerance: float
) -> Finding:
    """A verdict on the speed-up, compared with the baseline's for this machine class."""
    here = machine_class(new.result.machine, new.result.reference_of(new.row).place)
    value = new.row.speedup.median
    stored = {time.machine_class: time for time in baseline.times if time.key == old.key}
    kin = [name for name in stored if same_hardware(name, here)]
    time = stored.get(here)
    was = None if time is None else time.speedup.median
    verdict = Verdict.INCOMPARABLE
    if new.row.target != old.target:
        why = _too_few_cores(old)
    elif time is None and kin:
        was = stored[kin[-1]].speedup.median
        then, now = (name.rpartition("/")[2] for name in (kin[-1], here))
        why = f"taken with {then}, and here is {now}: {_NO_TIME}"
    elif time is None:
        verdict = Verdict.MISSING_BASELINE
        others = f", only of {', '.join(stored)}" if stored else ""
        why = f"no time of {here}{others}: {_NO_TIME}"
    elif time.protocol != new.result.protocol.times_id:
        why = f"{_protocol_difference(baseline, new.result)}: {_NO_TIME}"
    else:
        reference_ms = undisturbed(new.result.reference_of(new.row).latency_ms.samples)
        change = statistics.since_stored(
            new.row.speedup,
            time.speedup,
            rounds=len(new.row.latency_ms.samples),
            stored_rounds=time.rounds,
            reference_ratio=reference_ms / time.reference_ms,
        )
        return compare_time(
            old.key, baseline=time.speedup.median, value=value, change=change, tolerance=tolerance
        )
    return Finding(old.key, SPEEDUP, verdict, was, value, why)


def time_since_base(old: BaselineRow, new: Measured | None, *, tolerance: float) -> Finding:
    """A verdict on the time, compared with that of the base's file round by round.

    `new` is None if the base does not have it; `tolerance` is a share.
    """
    if new is None or new.base is None:
        why = (
            "no base was given that has this file: give --base, or leave it out where the file is "
            "new"
        )
        return Finding(old.key, SPEEDUP, Verdict.MISSING_BASELINE, None, None, why)
    was, value = new.base.speedup.median, new.row.speedup.median
    if new.row.target != old.target:
        return Finding(old.key, SPEEDUP, Verdict.INCOMPARABLE, was, value, _too_few_cores(old))
    seed = new.result.protocol.seed
    interval = bootstrap_speedup(new.base.latency_ms.samples, new.row.latency_ms.samples, seed=seed)
    change = statistics.within_run(interval, rounds=len(new.row.latency_ms.samples))
    return compare_time(old.key, baseline=was, value=value, change=change, tolerance=tolerance)


def _too_few_cores(row: BaselineRow) -> str:
    return f"this process may use too few cores for {row.target}"


def compare_time(
    row: RowKey,
    *,
    baseline: float,
    value: float,
    change: SpeedChange,
    tolerance: float = TIME_TOLERANCE,
) -> Finding:
    """Compare two speed-ups over the reference, which relate by `change`.

    REGRESSED needs the median beyond tolerance and the whole 95 % interval with it, and so does
    IMPROVED on the other side, and both of them by more than the machine's own change accounts for,
    see `SpeedChange.doubt`. PASS needs the whole interval within tolerance. Else the interval is
    too wide to say, and the finding is INCONCLUSIVE. A tolerance of 0.05 lets a picture take 5 %
    longer, or a 1.05th of the time.
    """
    slowest, fastest = 1 / (1 + tolerance), 1 + tolerance
    explanation = f"{change}, {tolerance * 100:.1f} % is allowed"
    needed, may_settle = None, False
    if change.high * math.exp(change.doubt) < slowest:
        verdict = Verdict.REGRESSED
    elif change.low * math.exp(-change.doubt) > fastest:
        verdict = Verdict.IMPROVED
    elif slowest <= change.low and change.high <= fastest:
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INCONCLUSIVE
        needed = statistics.rounds_to_settle(change, tolerance)
        may_settle = statistics.more_may_settle(change, tolerance)
        both = statistics.rounds_to_settle(change, tolerance, baseline_too=True)
        if needed is not None:
            advice = f"too noisy to say, about --rounds {needed} would settle it"
        elif both is not None and change.stored_rounds:
            advice = (
                f"too noisy to say, about --rounds {both} in the baseline and here would settle it"
            )
        elif change.doubt:
            outweigh = statistics.rounds_to_outweigh(change, tolerance)
            advice = (
                "the machine is not in the state that the baseline was taken in: about --rounds "
                f"{outweigh} would settle it once it is, or give --base"
            )
        else:
            advice = "too near to the tolerance to say, and more rounds would not settle it"
        explanation += f": {advice}"
        if needed is None and change.doubt:
            needed, may_settle = statistics.rounds_to_outweigh(change, tolerance), True
    return Finding(row, SPEEDUP, verdict, baseline, value, explanation, needed, may_settle)
