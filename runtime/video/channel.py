"""A queue between two threads that holds a few things at most, so that memory stays flat."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_SECONDS_ASLEEP: Final = 0.5
"""A thread that waits for ever can't be interrupted on Windows: it wakes up and waits on."""


class Cancelled(Exception):  # noqa: N818  (no fault: the other side has gone)
    """Whoever was to take or give has gone."""


class Channel(Generic[T]):
    """First in, first out, between one thread that puts and one that takes.

    Args:
        room: How many things it holds; who puts more waits.

    Attributes:
        peak: The most it has held.
    """

    def __init__(self, room: int) -> None:
        self.peak = 0
        self._room = room
        self._held: deque[T] = deque()
        self._closed = False
        self._cancelled = False
        self._changed = threading.Condition()

    def put(self, thing: T) -> None:
        """Hand over, when there is room.

        Raises:
            Cancelled: the channel was closed or cancelled: nobody wants more.
        """
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
        """Take one after the other until the channel is closed and empty.

        Raises:
            Cancelled: it was cancelled.
        """
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
