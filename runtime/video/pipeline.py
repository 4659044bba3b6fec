"""Reading, working and writing at once: each waits for the others only where a queue is full."""

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final, TypeVar

from nstc.runtime.video.channel import Cancelled, Channel

Read = TypeVar("Read")
Made = TypeVar("Made")

ROOM: Final = 4
"""Things that wait before the worker and before the writer."""

_SECONDS_TO_END: Final = 5.0
"""A camera that hangs is left behind after these; its thread does not keep the process alive."""

_SECONDS_ASLEEP: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What a run of the pipeline was like.

    Attributes:
        peak: The most things that waited in a queue.
        interrupted: Whether the user ended it.
    """

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
    """Read in one thread, work in this one, write in a third, in order.

    Args:
        read: What gives things; it is asked, and closed, in a thread of its own.
        work: Run on each in the calling thread.
        write: Takes what was made of each, in a thread of its own.
        room: Things that each of the two queues holds.
        keep_on_interrupt: Whether Ctrl-C ends the reading and what was made is still written.

    Raises:
        KeyboardInterrupt: Ctrl-C, unless it only ends the reading.
        BaseException: what `read`, `work` or `write` raised first. All threads have ended then.
    """
    incoming: Channel[Read] = Channel(room)
    outgoing: Channel[Made] = Channel(room)
    reader = _Thread("reader", lambda: _feed(read, incoming), incoming.close)
    # a writer that failed takes no more: the worker must not wait for room
    writer = _Thread("writer", lambda: _drain(outgoing, write), outgoing.cancel)
    interrupted = False
    reader.start()
    writer.start()
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


def _feed(things: Generator[Read, None, None], channel: Channel[Read]) -> None:
    try:
        for thing in things:
            channel.put(thing)
    finally:
        things.close()


def _drain(channel: Channel[Made], write: Callable[[Made], None]) -> None:
    for thing in channel:
        write(thing)
