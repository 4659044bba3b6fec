"""Puts measured rows beside a baseline's, number by number."""

from typing import Final

from nstc.benchmarks.gate.baseline import (
    Baseline,
    BaselineQuality,
    BaselineRow,
    exact_facts,
    known_model,
)
from nstc.benchmarks.gate.measuring import Measured
from nstc.benchmarks.gate.verdicts import (
    SPEEDUP,
    Finding,
    Verdict,
    compare_fact,
    compare_quality,
    compare_time,
    incomparable,
)
from nstc.benchmarks.quality.metrics import metric_of
from nstc.benchmarks.result import BenchResult
from nstc.benchmarks.subjects import Find, find_subject
from nstc.benchmarks.timing.machine import machine_class, same_hardware
from nstc.benchmarks.timing.statistics import (
    bootstrap_speedup,
    since_stored,
    undisturbed,
    within_run,
)

_NO_TIME: Final = (
    "give --base with the files before the change, or run nstc baseline update here, or leave time "
    "out with --facts-and-quality-only"
)


def facts_and_quality(
    old: BaselineRow, new: Measured, baseline: Baseline, find: Find = find_subject
) -> list[Finding]:
    """Verdicts on all that holds on every machine; `find` opens teachers."""
    facts = exact_facts(new.row)
    found = [
        compare_fact(old.key, name, old.facts.get(name), facts.get(name))
        for name in {**old.facts, **facts}
    ]
    before = {} if old.quality is None else old.quality.metrics
    judged = {} if new.row.quality is None else new.row.quality.metrics
    now = {name: interval.median for name, interval in judged.items()}
    obstacle = _quality_obstacle(old.quality, new, baseline, find)
    for name in {**before, **now}:
        was, value = before.get(name), now.get(name)
        if obstacle is not None and was is not None:
            found.append(incomparable(old.key, name, was, value, obstacle))
        else:
            found.append(compare_quality(old.key, metric_of(name), was, value))
    return found


def time_since_stored(
    old: BaselineRow, new: Measured, baseline: Baseline, *, tolerance: float
) -> Finding:
    """A verdict on the speed-up beside the one that the baseline keeps for this machine class."""
    here = machine_class(new.result.machine, new.result.reference_of(new.row).place)
    value = new.row.speedup.median
    stored = {time.machine_class: time for time in baseline.times if time.key == old.key}
    time = stored.get(here)
    if new.row.target != old.key.target:
        was = None if time is None else time.speedup.median
        return incomparable(old.key, SPEEDUP, was, value, _too_few_cores(old))
    if time is None:
        kin = [name for name in stored if same_hardware(name, here)]
        if kin:
            was = stored[kin[-1]].speedup.median
            why = f"taken with {kin[-1].rpartition('/')[2]}, and here is {here.rpartition('/')[2]}"
            return incomparable(old.key, SPEEDUP, was, value, f"{why}: {_NO_TIME}")
        others = f", only of {', '.join(stored)}" if stored else ""
        why = f"no time of {here}{others}: {_NO_TIME}"
        return Finding(old.key, SPEEDUP, Verdict.MISSING_BASELINE, None, value, why)
    if time.protocol != new.result.protocol.id:
        why = _protocol_difference(baseline, new.result)
        return incomparable(old.key, SPEEDUP, time.speedup.median, value, f"{why}: {_NO_TIME}")
    change = since_stored(
        new.row.speedup,
        time.speedup,
        rounds=len(new.row.samples_ms),
        stored_rounds=time.rounds,
        reference_ratio=undisturbed(new.result.reference_of(new.row).samples_ms)
        / time.reference_ms,
    )
    return compare_time(
        old.key, baseline=time.speedup.median, value=value, change=change, tolerance=tolerance
    )


def time_beside_base(old: BaselineRow, new: Measured | None, *, tolerance: float) -> Finding:
    """A verdict on the time beside that of the base's file, round by round.

    Args:
        old: The row.
        new: None if the base does not have it.
        tolerance: As a share.
    """
    if new is None or new.base is None:
        why = (
            "no base was given that has this file: give --base, or --facts-and-quality-only where "
            "the file is new"
        )
        return Finding(old.key, SPEEDUP, Verdict.MISSING_BASELINE, None, None, why)
    if new.row.target != old.key.target:
        was, value = new.base.speedup.median, new.row.speedup.median
        return incomparable(old.key, SPEEDUP, was, value, _too_few_cores(old))
    seed = new.result.protocol.seed
    interval = bootstrap_speedup(new.base.samples_ms, new.row.samples_ms, seed=seed)
    return compare_time(
        old.key,
        baseline=new.base.speedup.median,
        value=new.row.speedup.median,
        change=within_run(interval, rounds=len(new.row.samples_ms)),
        tolerance=tolerance,
    )


def _too_few_cores(row: BaselineRow) -> str:
    return f"this process may use too few cores for {row.key.target}"


def _quality_obstacle(
    old: BaselineQuality | None, new: Measured, baseline: Baseline, find: Find
) -> str | None:
    """Why the two qualities can't be compared, if they can't."""
    quality = new.row.quality
    if old is None or quality is None:
        return None
    if new.result.protocol.id != baseline.protocol.id:
        return _protocol_difference(baseline, new.result)
    itself = quality.teacher == new.row.model
    teacher = None if itself else known_model(find(quality.teacher), baseline.folder)
    if (None if teacher is None else teacher.sha256) != (old.teacher and old.teacher.sha256):
        before = "itself" if old.teacher is None else old.teacher.place
        now = "itself" if teacher is None else teacher.place
        return (
            f"{before} is another network than when the baseline was judged by it"
            if before == now
            else f"judged by {now}, the baseline by {before}"
        )
    if quality.style_source != old.style_source:
        return f"the style is from the {quality.style_source}, the baseline's {old.style_source}"
    return None


def _protocol_difference(baseline: Baseline, result: BenchResult) -> str:
    old, new = baseline.protocol, result.protocol
    pairs = {
        "other photographs": (old.photos.list_sha256, new.photos.list_sha256),
        "another size": (old.size, new.size),
        "another feature network": (old.vgg, new.vgg),
        "another reference": (baseline.reference.sha256, new.reference),
    }
    differing = [name for name, (before, now) in pairs.items() if before != now]
    what = " and ".join(differing) or "another way of measuring in this nstc"
    return f"{what} (protocol {new.id}, the baseline's is {old.id})"
