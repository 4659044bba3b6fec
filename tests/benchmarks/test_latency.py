import gc
from collections.abc import Callable

import pytest

from nstc.benchmarks.latency import FAST_REPEATS, PAUSE_S, Clock, Timings, alternate


class SimulatedMachine:
    """Time that passes only where a run or a pause spends it."""

    def __init__(self) -> None:
        self.now = 0
        self.events: list[str] = []

    def clock(self) -> Clock:
        return Clock(now_ns=lambda: self.now, sleep=self.sleep)

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
    assert found == Timings(reference_ms=(600.0,) * 3, candidates_ms=((12.0,) * 3,))
    speedup = found.speedup(0, seed=0)
    assert (speedup.low, speedup.median, speedup.high) == (50.0, 50.0, 50.0)


def test_a_machine_that_slows_down_for_both_leaves_the_ratio_alone():
    found = Timings(reference_ms=(100.0, 200.0, 400.0), candidates_ms=((10.0, 20.0, 40.0),))
    assert found.speedup(0, seed=0).low == found.speedup(0, seed=0).high == 10.0


def test_every_turn_pauses_then_warms_up_and_only_then_is_timed():
    machine = SimulatedMachine()

    def cost(run: int) -> float:
        opening = run < 3
        warm_up = (run - 3) % 2 == 0
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


def test_a_fast_session_gives_the_median_of_several_runs():
    machine = SimulatedMachine()
    cycle = [4.0, 4.0, 4.0, 4.0, 4.0, 3.0, 9.0, 5.0, 100.0, 4.0]  # five warm-ups, five timed

    def cost(run: int) -> float:
        return 4.0 if run < 3 else cycle[(run - 3) % 10]

    assert FAST_REPEATS == 5
    found = alternate(
        machine.session("reference", lambda _: 50.0),
        [machine.session("candidate", cost)],
        rounds=2,
        seed=0,
        clock=machine.clock(),
    )
    assert found.candidates_ms == ((5.0, 5.0),)


def test_a_slow_first_run_does_not_make_a_fast_session_slow():
    machine = SimulatedMachine()
    alternate(
        machine.session("reference", lambda _: 50.0),
        [machine.session("candidate", lambda run: 500.0 if run == 0 else 2.0)],
        rounds=1,
        seed=0,
        clock=machine.clock(),
    )
    assert machine.events.count("candidate") == 3 + 2 * FAST_REPEATS
    assert machine.events.count("reference") == 3 + 2


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
        alternate(failing, [], rounds=1, seed=0, clock=Clock(sleep=lambda _: None))
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
