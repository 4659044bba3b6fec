"""Reading, working and writing at once: three threads with short queues between them."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from typing import Final, Generic, NamedTuple, TypeVar

ROOM: Final = 4  # frames and packets that wait before the network, and before the writer
# A camera that hangs is left behind after these; its thread does not keep the process alive.
_SECONDS_TO_END: Final = 5.0
# A thread that waits for ever can't be interrupted on Windows: it wakes up and waits on.
_SECONDS_ASLEEP: Final = 0.5
_SECONDS_IDLE: Final = 0.02  # between two calls of `idle`, so that a window answers at once

T = TypeVar("T")
Made = TypeVar("Made")


class Cancelled(Exception):  # noqa: N818  (no fault: the other side has gone)
    """The other side of a channel has gone."""


class Ended(Exception):  # noqa: N818  (no fault: the user wants no more)
    """Raised by the work, or by what is called while it waits, to end a run without an error."""


class Channel(Generic[T]):
    """Between one thread that puts and one that takes: at most `room` things, so far `peak`.

    Whoever puts waits for room, unless only the `newest` are kept: then the oldest makes room, and
    `dropped` counts those that nobody took.
    """

    def __init__(self, room: int, *, newest: bool = False) -> None:
        self.peak = self.dropped = 0
        self._room = room
        self._newest = newest
        self._held: deque[T] = deque()
        self._closed = self._cancelled = False
        self._changed = threading.Condition()

    def put(self, thing: T) -> None:
        """Hand over, when there is room; `Cancelled` if nobody wants more."""
        with self._changed:
            while len(self._held) >= self._room and not self._newest and not self._closed:
                self._changed.wait(_SECONDS_ASLEEP)
            if self._closed:
                raise Cancelled
            if len(self._held) >= self._room:
                self._held.popleft()
                self.dropped += 1
            self._held.append(thing)
            self.peak = max(self.peak, len(self._held))
            self._changed.notify_all()

    def close(self, *, cancel: bool = False) -> None:
        """Nothing more comes; what is held can still be taken, unless it is cancelled."""
        with self._changed:
            self._closed = True
            if cancel:
                self._cancelled = True
                self._held.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Take one after the other until the channel is closed and empty, or `Cancelled`."""
        return self.taking()

    def taking(self, idle: Callable[[], None] | None = None) -> Iterator[T]:
        """The same; `idle` is called again and again while there is nothing to take."""
        while True:
            with self._changed:
                if not self._held and not self._closed:
                    self._changed.wait(_SECONDS_ASLEEP if idle is None else _SECONDS_IDLE)
                if self._cancelled:
                    raise Cancelled
                taken = [self._held.popleft()] if self._held else []
                if not taken and self._closed:
                    return
                self._changed.notify_all()
            if taken:
                yield taken[0]
            elif idle is not None:
                idle()


class Flow(NamedTuple):
    """What a run was like."""

    peak: int  # the most that waited in a queue
    interrupted: bool  # whether the user ended it
    dropped: int = 0  # what was read and not worked on, where only the newest counts


def overlap(
    read: Generator[T, None, None],
    work: Callable[[T], Made],
    write: Callable[[Made], None],
    *,
    room: int = ROOM,
    keep_on_interrupt: bool = False,
    newest: bool = False,
    idle: Callable[[], None] | None = None,
    no_more: threading.Event | None = None,
) -> Flow:
    """Read in one thread, work in this one, write in a third, in order, with two queues between.

    Each queue holds `room` things, so that memory stays flat. With `keep_on_interrupt` Ctrl-C ends
    the reading, and what was made is still written; `Ended`, raised by `work` or `idle`, does so
    always. With `newest` reading never waits: of what comes while the work is busy only the last is
    worked on. `idle` is called in this thread while there is nothing to do. `no_more` is set when
    nothing more is wanted, for a `read` that waits.

    Raises:
        KeyboardInterrupt: Ctrl-C, unless it only ends the reading.
        BaseException: what `read`, `work` or `write` raised first. All threads have ended then.
    """
    incoming: Channel[T] = Channel(1 if newest else room, newest=newest)
    outgoing: Channel[Made] = Channel(room)

    interrupted = False
    reader = _Thread("reader", partial(_put_all, read, incoming), incoming.close)
    # a writer that failed takes no more: the worker must not wait for room
    refuse = partial(outgoing.close, cancel=True)
    writer = _Thread("writer", partial(_write_all, outgoing, write), refuse)
    try:
        try:
            for thing in incoming.taking(idle):
                outgoing.put(work(thing))
        except (KeyboardInterrupt, Ended) as end:
            if not keep_on_interrupt and not isinstance(end, Ended):
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
        if no_more is not None:
            no_more.set()
        incoming.close(cancel=True)
        outgoing.close(cancel=True)
        reader.join(_SECONDS_TO_END)
        writer.wait()
    peak = max(incoming.peak, outgoing.peak)
    return Flow(peak=peak, interrupted=interrupted, dropped=incoming.dropped)


def _put_all(read: Generator[T, None, None], channel: Channel[T]) -> None:
    with closing(read):
        for thing in read:
            channel.put(thing)


def _write_all(channel: Channel[Made], write: Callable[[Made], None]) -> None:
    for thing in channel:
        write(thing)


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
