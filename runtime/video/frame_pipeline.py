"""Reading, working and writing at once: each waits for the others only where a queue is full.

A queue holds a few things at most, so that memory stays flat.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

T = TypeVar("T")
Read = TypeVar("Read")
Made = TypeVar("Made")

ROOM: Final = 4  # things that wait before the worker and before the writer
# A camera that hangs is left behind after these; its thread does not keep the process alive.
_SECONDS_TO_END: Final = 5.0
# A thread that waits for ever can't be interrupted on Windows: it wakes up and waits on.
_SECONDS_ASLEEP: Final = 0.5


class Cancelled(Exception):  # noqa: N818  (no fault: the other side has gone)
    """Whoever was to take or give has gone."""


class Channel(Generic[T]):
    """First in, first out, between one thread that puts and one that takes.

    It holds `room` things; who puts more waits.
    """

    def __init__(self, room: int) -> None:
        self.peak = 0  # the most it has held
        self._room = room
        self._held: deque[T] = deque()
        self._closed = False
        self._cancelled = False
        self._changed = threading.Condition()

    def put(self, thing: T) -> None:
        """Hand over, when there is room; `Cancelled` if nobody wants more."""
        with self._changed:
            while len(self._held) >= self._room and not self._closed and not self._cancelled:
                self._changed.wait(_SECONDS_ASLEEP)
            if self._closed or self._cancelled:
                raise Cancelled
            self._held.append(thing)
            self.peak = max(self.peak, len(self._held))
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more comes; what is held can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def cancel(self) -> None:
        """Forget what is held and wake up both sides."""
        with self._changed:
            self._cancelled = True
            self._held.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Take one after the other until the channel is closed and empty, or `Cancelled`."""
        while True:
            with self._changed:
                while not self._held and not self._closed and not self._cancelled:
                    self._changed.wait(_SECONDS_ASLEEP)
                if self._cancelled:
                    raise Cancelled
                if not self._held:
                    return
                thing = self._held.popleft()
                self._changed.notify_all()
            yield thing


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What a run was like: the most that waited in a queue, and whether the user ended it."""

    peak: int
    interrupted: bool


def overlap(
    read: Generator[Read, None, None],
    work: Callable[[Read], Made],
    write: Callable[[Made], None],
    *,
    room: int = ROOM,
    keep_on_interrupt: bool = False,
) -> Flow:
    """Read in one thread, work in this one, write in a third, in order, with two queues between.

    Each queue holds `room` things. With `keep_on_interrupt` Ctrl-C ends the reading, and what was
    made is still written.

    Raises:
        KeyboardInterrupt: Ctrl-C, unless it only ends the reading.
        BaseException: what `read`, `work` or `write` raised first. All threads have ended then.
    """
    incoming: Channel[Read] = Channel(room)
    outgoing: Channel[Made] = Channel(room)

    def feed() -> None:
        with closing(read):
            for thing in read:
                incoming.put(thing)

    def drain() -> None:
        for thing in outgoing:
            write(thing)

    interrupted = False
    reader = _Thread("reader", feed, incoming.close)
    # a writer that failed takes no more: the worker must not wait for room
    writer = _Thread("writer", drain, outgoing.cancel)
    try:
        try:
            for thing in incoming:
                outgoing.put(work(thing))
        except KeyboardInterrupt:
            if not keep_on_interrupt:
                raise
            interrupted = True
            incoming.close()
        except Cancelled:
            writer.finish()
            raise
        outgoing.close()
        writer.finish()
        if not interrupted:
            reader.finish()
    finally:
        incoming.cancel()
        outgoing.cancel()
        reader.join(_SECONDS_TO_END)
        writer.wait()
    return Flow(peak=max(incoming.peak, outgoing.peak), interrupted=interrupted)


class _Thread(threading.Thread):
    """A thread whose error is raised where it is waited for."""

    def __init__(self, name: str, run: Callable[[], None], at_end: Callable[[], None]) -> None:
        super().__init__(name=f"nstc-{name}", daemon=True)
        self._work = run
        self._at_end = at_end
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._work()
        except Cancelled:
            pass  # the other side ended first and knows why
        except BaseException as error:  # noqa: BLE001  (raised again by finish)
            self._error = error
        finally:
            self._at_end()

    def wait(self) -> None:
        """Wait for its end; Ctrl-C still gets through."""
        while self.is_alive():
            self.join(_SECONDS_ASLEEP)

    def finish(self) -> None:
        """Wait for its end and raise what it raised."""
        self.wait()
        if self._error is not None:
            raise self._error
