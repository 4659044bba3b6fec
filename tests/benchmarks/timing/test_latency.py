import gc
import time
from collections.abc import Callable

import pytest

from nstc.benchmarks.timing import latency
from nstc.benchmarks.timing.latency import (
    FEWEST_REPEATS,
    MAX_WARM_UPS,
    MIN_TICKS,
    MOST_REPEATS,
    PAUSE_S,
    RunClock,
    Timings,
    alternate,
    drifting,
    repeats,
    runs_a_stretch,
    timer_tick_ns,
    warm_up,
)


class SimulatedMachine:
    """Time that passes only where a run or a pause spends it."""

    def __init__(self) -> None:
        self.now = 0
        self.events: list[str] = []

    def clock(self) -> RunClock:
        return RunClock(now_ns=lambda: self.now, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.events.append(f"sleep {seconds}")
        self.now += int(seconds * 1e9)

    def session(self, name: str, cost_ms: Callable[[int], float]) -> Callable[[], None]:
        count = 0

        def run() -> None:
            nonlocal count
            self.events.append(name)
            self.now += int(cost_ms(count) * 1e6)
            count += 1

        return run

    def turns(self) -> list[str]:
        """Who ran, each turn once."""
        names: list[str] = []
        for before, event in zip(["", *self.events], self.events, strict=False):
            if before.startswith("sleep"):
                names.append(event)
        return names


def test_samples_and_speedup_by_hand():
    machine = SimulatedMachine()
    teacher = machine.session("teacher", lambda _: 600.0)
    student = machine.session("student", lambda _: 12.0)
    found = alternate(teacher, [student], rounds=3, seed=0, clock=machine.clock())
    assert found.reference_ms == (600.0,) * 3
    assert found.candidates_ms == ((12.0,) * 3,)
    speedup = found.speedup(0, seed=0)
    assert (speedup.low, speedup.median, speedup.high) == (50.0, 50.0, 50.0)


def test_a_machine_that_slows_down_for_both_leaves_the_ratio_alone():
    found = Timings(reference_ms=(100.0, 200.0, 400.0), candidates_ms=((10.0, 20.0, 40.0),))
    assert found.speedup(0, seed=0).low == found.speedup(0, seed=0).high == 10.0


def test_every_turn_pauses_then_warms_up_and_only_then_is_timed():
    machine = SimulatedMachine()

    def cost(run: int) -> float:
        opening = run < 2
        warm_up = (run - 2) % 2 == 0
        return 50.0 if opening else 80.0 if warm_up else 20.0

    found = alternate(
        machine.session("reference", lambda _: 50.0),
        [machine.session("candidate", cost)],
        rounds=4,
        seed=0,
        clock=machine.clock(),
    )
    assert found.candidates_ms == ((20.0,) * 4,)
    pauses = [event for event in machine.events if event.startswith("sleep")]
    assert pauses == [f"sleep {PAUSE_S}"] * (2 + 2 * 4)


def test_a_turn_times_what_fits_into_it():
    assert repeats(600.0) == repeats(50.0) == repeats(13.0) == FEWEST_REPEATS == 3
    assert repeats(12.0) == 4
    assert repeats(7.0) == 7
    assert repeats(0.2) == repeats(0.0) == MOST_REPEATS == 15


def test_a_fast_session_gives_the_lowest_of_several_runs():
    machine = SimulatedMachine()
    cycle = [10.0, 13.0, 11.0, 100.0, 12.0, 14.0]  # one warm-up, five timed

    def cost(run: int) -> float:
        return 10.0 if run < 2 else cycle[(run - 2) % 6]

    found = alternate(
        machine.session("reference", lambda _: 50.0),
        [machine.session("candidate", cost)],
        rounds=2,
        seed=0,
        clock=machine.clock(),
    )
    assert found.candidates_ms == ((11.0, 11.0),)


def test_a_slow_first_run_does_not_make_a_fast_session_slow():
    machine = SimulatedMachine()
    alternate(
        machine.session("reference", lambda _: 50.0),
        [machine.session("candidate", lambda run: 500.0 if run == 0 else 2.0)],
        rounds=1,
        seed=0,
        clock=machine.clock(),
    )
    assert machine.events.count("candidate") == 3 + 1 + MOST_REPEATS
    assert machine.events.count("reference") == 2 + 1 + FEWEST_REPEATS


def test_a_session_that_warms_up_slowly_is_warmed_up_for_as_long_in_every_turn():
    machine = SimulatedMachine()
    since_opening = 0

    def cost(_: int) -> float:
        nonlocal since_opening
        since_opening += 1
        return {1: 90.0, 2: 70.0, 3: 55.0}.get(since_opening, 40.0)

    session = machine.session("candidate", cost)
    reference = machine.session("reference", lambda _: 50.0)

    def reopen(position: int) -> Callable[[], None]:
        nonlocal since_opening
        since_opening = since_opening if position == 0 else 0
        return (reference, session)[position]

    found = alternate(reference, [session], rounds=3, seed=0, reopen=reopen, clock=machine.clock())
    assert found.candidates_ms == ((40.0,) * 3,)


def test_every_turn_is_of_a_session_opened_anew():
    machine = SimulatedMachine()
    opened = []

    def reopen(position: int) -> Callable[[], None]:
        opened.append(position)
        slow = 0.0 if (len(opened) - 1) // 2 % 4 == 0 else 4.0  # in three rounds of four
        return machine.session("fresh", lambda _: 20.0 + slow * position)

    first = machine.session("first", lambda _: 20.0)
    found = alternate(first, [first], rounds=8, seed=0, reopen=reopen, clock=machine.clock())
    assert sorted(opened) == [0] * 8 + [1] * 8
    assert set(found.candidates_ms[0]) == {20.0, 24.0}
    speedup = found.speedup(0, seed=0)
    assert speedup.low < 0.9 < 1.0 <= speedup.high


def test_a_round_in_which_the_reference_drifts_is_void_and_repeated():
    machine = SimulatedMachine()
    turn = 0

    def reference(run: int) -> float:
        nonlocal turn
        turn = 0 if run < 2 else (run - 2) // (1 + FEWEST_REPEATS)
        return 80.0 if turn == 3 else 50.0

    found = alternate(
        machine.session("reference", reference),
        [machine.session("candidate", lambda _: 60.0 if turn == 3 else 20.0)],
        rounds=8,
        seed=0,
        clock=machine.clock(),
    )
    assert found.reference_ms == (50.0,) * 8
    assert found.watch is not None
    assert (found.watch.void_rounds, found.watch.drifting_rounds) == (1, 0)


def test_repeating_ends_after_half_as_many_rounds_and_says_what_still_drifts():
    machine = SimulatedMachine()
    found = alternate(
        machine.session("reference", lambda run: 50.0 * (1 + run % 5)),
        [machine.session("candidate", lambda _: 20.0)],
        rounds=8,
        seed=0,
        clock=machine.clock(),
    )
    assert found.watch is not None
    assert found.watch.void_rounds == 4
    assert found.watch.drifting_rounds > 0
    assert len(found.reference_ms) == 8
    assert machine.turns().count("candidate") == 1 + 8 + 4


def test_runs_too_short_for_the_timer_are_timed_together():
    machine = SimulatedMachine()
    coarse = RunClock(
        now_ns=lambda: machine.now // 100_000 * 100_000, sleep=machine.sleep, tick_ns=100_000
    )
    found = alternate(
        machine.session("reference", lambda _: 20.0),
        [machine.session("candidate", lambda _: 0.33)],
        rounds=3,
        seed=0,
        clock=coarse,
    )
    assert found.candidates_ms[0] == pytest.approx((0.33,) * 3, rel=0.002)
    assert found.reference_ms == pytest.approx((20.0,) * 3, rel=0.002)


def test_the_order_is_shuffled_by_the_seed_and_everybody_runs_once_a_round():
    def orders(seed: int) -> list[tuple[str, ...]]:
        machine = SimulatedMachine()
        runs = [machine.session(name, lambda _: 20.0) for name in "abc"]
        alternate(runs[0], runs[1:], rounds=12, seed=seed, clock=machine.clock())
        turns = machine.turns()[3:]
        return [tuple(turns[i : i + 3]) for i in range(0, len(turns), 3)]

    assert all(sorted(order) == ["a", "b", "c"] for order in orders(0))
    assert len(set(orders(0))) > 3
    assert orders(0) == orders(0) != orders(1)


def test_garbage_waits_until_the_end_even_of_a_failing_run():
    seen = []

    def failing() -> None:
        seen.append(gc.isenabled())
        raise MemoryError

    assert gc.isenabled()
    with pytest.raises(MemoryError):
        alternate(failing, [], rounds=1, seed=0, clock=RunClock(sleep=lambda _: None))
    assert seen == [False]
    assert gc.isenabled()


def test_progress_hears_of_every_round():
    class Recorder:
        def __init__(self) -> None:
            self.heard: list[object] = []

        def begin(self, title, steps, done):
            self.heard.append((title, steps, done))

        def advance(self, step, losses):
            self.heard.append(step)

        def note(self, message):
            self.heard.append(message)

    machine, recorder = SimulatedMachine(), Recorder()
    run = machine.session("reference", lambda _: 20.0)
    alternate(run, [], rounds=3, seed=0, clock=machine.clock(), progress=recorder)
    assert recorder.heard == [("latency", 3, 0), 1, 2, 3]


@pytest.mark.parametrize(
    ("cost_ms", "runs", "steady", "warm_ms"),
    [
        (lambda run: [90.0, 70.0, 52.0, 50.0, 50.0][run], 2, True, 50.0),
        (lambda _: 20.0, 0, True, 20.0),
        (lambda run: 100.0 * 0.5**run, MAX_WARM_UPS, False, 100.0 * 0.5**MAX_WARM_UPS),
    ],
    ids=["warm once the next is hardly faster", "warm at once", "never: given up on"],
)
def test_warming_up(cost_ms, runs, steady, warm_ms):
    machine = SimulatedMachine()
    found = warm_up(machine.session("own", cost_ms), machine.clock())
    assert (found.runs, found.steady) == (runs, steady)
    assert found.warm_ms == pytest.approx(warm_ms, rel=1e-4)


def test_the_tick_of_a_coarse_timer_and_of_this_machines():
    readings = 0

    def coarse() -> int:
        nonlocal readings
        readings += 1
        return readings // 7 * 1_000

    assert timer_tick_ns(coarse) == 1_000
    assert 0 < timer_tick_ns() < 100_000
    assert timer_tick_ns(time.time_ns) > 0


def test_processor_time_stands_still_while_a_run_waits_and_goes_on_while_it_computes():
    def compute() -> None:
        until = time.thread_time_ns() + 20_000_000
        while time.thread_time_ns() < until:
            pass

    clock = latency.processor_clock()
    assert clock.timed_ms(lambda: time.sleep(0.05)) < 10
    assert clock.timed_ms(compute) >= 20


def test_where_processor_time_is_coarse_time_of_day_is_taken(monkeypatch):
    monkeypatch.setattr(latency, "timer_tick_ns", lambda _: 15_625_000)
    clock = latency.processor_clock()
    assert clock.now_ns is time.perf_counter_ns
    assert clock.tick_ns < 15_625_000


def test_a_stretch_is_many_ticks_whatever_a_run_takes():
    assert runs_a_stretch(5.0, tick=50) == 1
    assert runs_a_stretch(0.3, tick=100_000) == 334
    assert runs_a_stretch(0.0, tick=100_000) == MIN_TICKS


def test_a_round_drifts_when_its_reference_is_far_from_the_usual():
    assert drifting([100.0, 109.0, 91.0, 100.0]) == []
    assert drifting([100.0, 130.0, 100.0, 85.0, 101.0]) == [1, 3]
