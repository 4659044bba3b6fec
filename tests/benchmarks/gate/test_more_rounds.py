"""Rounds added until a time is settled, on samples made up from known distributions."""

import dataclasses
import math

import numpy as np
import pytest

from nstc.benchmarks.gate.keys import RowKey
from nstc.benchmarks.gate.more_rounds import FEWEST_MORE, rounds_to_add
from nstc.benchmarks.gate.verdicts import Finding, Verdict, compare_time
from nstc.benchmarks.result import BenchProtocol, BenchResult, LatencySummary, Reference, Row
from nstc.benchmarks.timing.statistics import bootstrap_speedup, since_stored
from nstc.core.manifest import PhotoRecord

KEY = RowKey(model="zoo:starry-night", artifact="int8.onnx", target="cpu:1", size=256)


def finding(verdict: Verdict, *, needed: int | None = None, may_settle: bool = True) -> Finding:
    return Finding(
        row=KEY,
        fact="speedup",
        verdict=verdict,
        baseline=2.0,
        value=2.0,
        explanation="",
        rounds_needed=needed,
        more_rounds_may_settle=may_settle,
    )


@pytest.mark.parametrize(
    ("found", "more"),
    [
        ([finding(Verdict.PASS)], 0),
        ([finding(Verdict.REGRESSED, may_settle=False)], 20),  # as many again
        ([finding(Verdict.PASS), finding(Verdict.IMPROVED)], 20),
        ([finding(Verdict.INCONCLUSIVE, needed=30)], 19),  # 1.3 x 30 - 20
        ([finding(Verdict.INCONCLUSIVE, needed=21)], 7),
        ([finding(Verdict.INCONCLUSIVE, needed=500)], 20),  # no more than there are
        ([finding(Verdict.INCONCLUSIVE)], 20),
        ([finding(Verdict.INCONCLUSIVE, may_settle=False)], 0),
        ([finding(Verdict.PASS), finding(Verdict.INCONCLUSIVE, needed=30)], 19),
    ],
)
def test_only_what_is_open_wants_more(found, more):
    assert rounds_to_add(found, first=20, taken=20, at_most=160) == more


def test_a_change_is_believed_once_as_many_rounds_say_so():
    worse = [finding(Verdict.REGRESSED)]
    assert rounds_to_add(worse, first=20, taken=39, at_most=160) == 20
    assert rounds_to_add(worse, first=20, taken=40, at_most=160) == 0
    assert rounds_to_add(worse, first=20, taken=20, at_most=25) == 5
    assert rounds_to_add(worse, first=20, taken=20, at_most=20) == 0


def test_the_bound_holds():
    open_ = [finding(Verdict.INCONCLUSIVE, needed=500)]
    assert rounds_to_add(open_, first=20, taken=150, at_most=160) == 10
    assert rounds_to_add(open_, first=20, taken=160, at_most=160) == 0
    assert rounds_to_add(open_, first=20, taken=3, at_most=160) == FEWEST_MORE


def result(reference_ms: list[float], own_ms: list[float], *, seed: int = 0) -> BenchResult:
    return BenchResult(
        machine={},
        protocol=BenchProtocol(
            rounds=len(own_ms),
            size=256,
            photos=PhotoRecord(count=1, sets=("samples",), list_sha256="0" * 64),
            seed=seed,
            vgg=None,
            reference="0" * 64,
        ),
        references=(
            Reference(
                model="teacher",
                artifact="onnx",
                target="cpu:1",
                latency_ms=LatencySummary.of(tuple(reference_ms)),
            ),
        ),
        rows=(
            Row(
                model="student",
                artifact="int8.onnx",
                target="cpu:1",
                size=256,
                latency_ms=LatencySummary.of(tuple(own_ms)),
                speedup=bootstrap_speedup(reference_ms, own_ms, seed=seed),
                params=1,
                macs=1,
                size_bytes=1,
                quality=None,
            ),
        ),
    )


def test_pooled_rounds_keep_their_own_references():
    both = result([10, 10, 10], [5, 5, 5]).pooled(result([40, 40], [10, 10], seed=1))
    [row] = both.rows
    assert row.latency_ms.samples == (5, 5, 5, 10, 10)
    assert both.reference_of(row).latency_ms.samples == (10, 10, 10, 40, 40)
    assert row.speedup.median == 2.0  # lowest quarters: 10 of 10 10 10 40 40, 5 of 5 5 5 10 10
    assert (both.protocol.rounds, both.protocol.seed) == (5, 0)


def test_results_of_other_rows_are_not_pooled():
    short = dataclasses.replace(result([10], [5]), rows=())
    with pytest.raises(ValueError, match="argument"):
        result([10], [5]).pooled(short)


def judged(slowdown: float, seed: int, *, noise: float = 0.03) -> tuple[Verdict, int]:
    """The verdict on a network that takes so many times as long, and the rounds it took."""
    rng = np.random.default_rng(seed)
    stored = bootstrap_speedup(np.exp(rng.normal(0, noise, 100)), np.ones(100), seed=0)
    samples: list[float] = []
    more = 20
    while more:
        samples += list(np.exp(rng.normal(-math.log(slowdown), noise, more)))
        change = since_stored(
            bootstrap_speedup(samples, np.ones(len(samples)), seed=0),
            stored,
            rounds=len(samples),
            stored_rounds=100,
        )
        found = compare_time(KEY, baseline=1, value=1, change=change)
        more = rounds_to_add([found], first=20, taken=len(samples), at_most=300)
    return found.verdict, len(samples)


def test_added_rounds_settle_what_twenty_leave_open():
    slower = [judged(1.08, seed) for seed in range(20)]
    assert {verdict for verdict, _ in slower} == {Verdict.REGRESSED}
    assert max(rounds for _, rounds in slower) > 20
    same = [judged(1.0, seed) for seed in range(20)]
    assert {verdict for verdict, _ in same} == {Verdict.PASS}
