import threading
import time

import pytest

pytest.importorskip("av", reason='not installed: pip install "nstc[video]"')

from nstc.runtime.video.overlap import Cancelled, Channel, Ended, overlap


def counted(most, started=None):
    for number in range(most):
        if started is not None:
            started.append(number)
        yield number


def test_everything_arrives_in_order(threads_left) -> None:
    written = []
    flow = overlap(counted(50), lambda number: number * 2, written.append)
    assert written == [number * 2 for number in range(50)]
    assert not flow.interrupted
    assert threads_left() == []


def test_a_slow_writer_holds_the_reader_back() -> None:
    read, written, ahead = [], [], []

    held = 1 + 3 + 1 + 3 + 1  # two full queues, and one in each pair of hands

    def write(number):
        for _ in range(30_000 if not written else 0):
            if len(read) == held:
                break
            time.sleep(0.002)
        written.append(number)
        ahead.append(len(read) - len(written))

    flow = overlap(counted(60, read), lambda number: number, write, room=3)
    assert len(written) == 60
    assert flow.peak == 3
    assert max(ahead) < held


def test_the_three_run_at_once() -> None:
    """Each waits until the other two are busy: one after the other it would never end."""
    meeting = threading.Barrier(3, timeout=300)

    def read():
        for number in range(5):
            if number >= 2:
                meeting.wait()
            yield number

    def work(number):
        if 1 <= number < 4:
            meeting.wait()
        return number

    def write(number):
        if number < 3:
            meeting.wait()

    overlap(read(), work, write)


@pytest.mark.parametrize("failing", ["reader", "worker", "writer"])
def test_an_error_ends_all_three(failing, threads_left) -> None:
    def fail(name, number):
        if failing == name and number == 7:
            raise ValueError(name)
        return number

    def read():
        for number in range(1000):
            yield fail("reader", number)

    with pytest.raises(ValueError, match=failing):
        overlap(read(), lambda n: fail("worker", n), lambda n: fail("writer", n))
    assert threads_left() == []


def test_what_was_read_before_an_error_is_written() -> None:
    def read():
        yield from range(6)
        raise ValueError("gone")

    written = []
    with pytest.raises(ValueError, match="gone"):
        overlap(read(), lambda number: number, written.append)
    assert written == [*range(6)]


class TestNewest:
    def test_what_came_while_it_was_busy_is_dropped_but_for_the_last(self, threads_left) -> None:
        all_read = threading.Event()
        worked = []

        def read():
            yield from range(100)
            all_read.set()  # the last was put: whoever asks for more has handed it over

        def work(number):
            all_read.wait(300)
            worked.append(number)
            return number

        written = []
        flow = overlap(read(), work, written.append, newest=True)
        assert worked == written
        assert worked[-1] == 99
        assert len(worked) <= 2  # the first may have been taken before the last came
        assert flow.dropped == 100 - len(worked)
        assert flow.peak == 1
        assert threads_left() == []

    def test_nothing_is_dropped_where_work_keeps_up(self) -> None:
        done = threading.Semaphore(1)

        def read():
            for number in range(20):
                done.acquire()
                yield number

        worked = []

        def work(number):
            worked.append(number)
            done.release()
            return number

        assert overlap(read(), work, lambda number: None, newest=True).dropped == 0
        assert worked == [*range(20)]


class TestIdle:
    def test_it_is_called_while_nothing_comes(self, threads_left) -> None:
        waited = threading.Semaphore(0)

        def read():
            for number in range(3):
                waited.acquire()
                yield number

        written = []
        overlap(read(), lambda number: number, written.append, idle=waited.release)
        assert written == [0, 1, 2]
        assert threads_left() == []

    def test_it_may_end_a_run_in_which_nothing_comes(self, threads_left) -> None:
        no_more = threading.Event()

        def read():
            yield 1
            no_more.wait(300)

        def end():
            if written:
                raise Ended

        written = []
        flow = overlap(read(), lambda number: number, written.append, idle=end, no_more=no_more)
        assert (flow.interrupted, written) == (True, [1])
        assert threads_left() == []

    def test_so_may_the_work(self, threads_left) -> None:
        def work(number):
            if number == 4:
                raise Ended
            return number

        written = []
        flow = overlap(counted(10**9), work, written.append)
        assert (flow.interrupted, written) == (True, [*range(4)])
        assert threads_left() == []


class TestInterrupted:
    @staticmethod
    def work(number):
        if number == 9:
            raise KeyboardInterrupt
        return number

    def test_it_ends_all_three(self, threads_left) -> None:
        with pytest.raises(KeyboardInterrupt):
            overlap(counted(1000), self.work, lambda number: None)
        assert threads_left() == []

    def test_or_only_the_reading(self, threads_left) -> None:
        written = []
        flow = overlap(counted(10**9), self.work, written.append, keep_on_interrupt=True)
        assert flow.interrupted
        assert written == [*range(9)]
        assert threads_left() == []


class TestChannel:
    def test_what_is_held_can_be_taken_after_the_end(self) -> None:
        channel = Channel(3)
        channel.put("a")
        channel.put("b")
        channel.close()
        assert list(channel) == ["a", "b"]
        with pytest.raises(Cancelled):
            channel.put("c")

    def test_cancelling_wakes_who_waits(self) -> None:
        channel = Channel(1)
        channel.put("a")
        ended = []

        def wait():
            try:
                channel.put("b")
            except Cancelled:
                ended.append(True)

        waiting = threading.Thread(target=wait)
        waiting.start()
        channel.close(cancel=True)
        waiting.join(60)
        assert ended == [True]
        with pytest.raises(Cancelled):
            next(iter(channel))
