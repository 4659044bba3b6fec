"""The clock on a GPU that is made up: time passes there as the stand-in says."""

from dataclasses import dataclass, field

import pytest

from nstc.benchmarks.targets.cuda import EVENT_TICK_NS, CudaClock


@dataclass
class FakeCuda:
    """A GPU that works off what it was given only when somebody waits for it."""

    now_ms: float = 0.0
    queue: list[object] = field(default_factory=list)

    def launch(self, ms: float) -> None:
        self.queue.append(ms)

    def synchronize(self) -> None:
        for item in self.queue:
            if isinstance(item, FakeEvent):
                item.at_ms = self.now_ms
            else:
                self.now_ms += item
        self.queue.clear()

    def Event(self, *, enable_timing):  # noqa: N802
        assert enable_timing
        return FakeEvent(self)


class FakeEvent:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.at_ms: float | None = None

    def record(self) -> None:
        self.cuda.queue.append(self)

    def synchronize(self) -> None:
        self.cuda.synchronize()

    def elapsed_time(self, end: "FakeEvent") -> float:
        assert self.at_ms is not None
        assert end.at_ms is not None
        return end.at_ms - self.at_ms


def test_a_run_that_only_starts_work_is_timed_until_the_gpu_has_done_it():
    cuda = FakeCuda()
    clock = CudaClock(sleep=lambda _: None, cuda=cuda)
    assert clock.timed_ms(lambda: cuda.launch(3.0)) == pytest.approx(3.0)
    assert clock.timed_ms(lambda: cuda.launch(3.0), 10) == pytest.approx(3.0)


def test_work_that_was_under_way_before_does_not_count():
    cuda = FakeCuda()
    cuda.launch(500.0)
    clock = CudaClock(sleep=lambda _: None, cuda=cuda)
    assert clock.timed_ms(lambda: cuda.launch(2.0)) == pytest.approx(2.0)


def test_a_run_is_as_many_ticks_of_the_events_as_of_any_timer():
    assert CudaClock(sleep=lambda _: None, cuda=FakeCuda()).tick_ns == EVENT_TICK_NS
