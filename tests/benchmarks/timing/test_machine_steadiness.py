import time

from nstc.benchmarks.timing.latency import (
    MAX_WARM_UPS,
    MIN_TICKS,
    drifting,
    runs_a_stretch,
    timer_tick_ns,
    warm_up,
)


def test_a_run_is_warm_once_the_next_is_hardly_faster():
    times = iter([90.0, 70.0, 52.0, 50.0, 50.0])
    found = warm_up(lambda: next(times))
    assert (found.runs, found.steady, found.warm_ms) == (2, True, 50.0)


def test_a_session_that_is_warm_at_once_needs_no_warm_up():
    found = warm_up(lambda: 20.0)
    assert (found.runs, found.steady, found.warm_ms) == (0, True, 20.0)


def test_one_that_never_settles_is_given_up_on():
    cost = 100.0

    def faster() -> float:
        nonlocal cost
        cost *= 0.9
        return cost

    found = warm_up(faster)
    assert (found.runs, found.steady) == (MAX_WARM_UPS, False)


def test_the_tick_of_a_coarse_timer_and_of_this_machines():
    readings = 0

    def coarse() -> int:
        nonlocal readings
        readings += 1
        return readings // 7 * 1_000

    assert timer_tick_ns(coarse) == 1_000
    assert 0 < timer_tick_ns() < 100_000
    assert timer_tick_ns(time.time_ns) > 0


def test_a_stretch_is_many_ticks_whatever_a_run_takes():
    assert runs_a_stretch(5.0, tick=50) == 1
    assert runs_a_stretch(0.3, tick=100_000) == 334
    assert runs_a_stretch(0.0, tick=100_000) == MIN_TICKS


def test_a_round_drifts_when_its_reference_is_far_from_the_usual():
    assert drifting([100.0, 109.0, 91.0, 100.0]) == []
    assert drifting([100.0, 130.0, 100.0, 85.0, 101.0]) == [1, 3]
