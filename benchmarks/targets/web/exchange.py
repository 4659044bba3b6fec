"""One run's conversation with a page: in which order it may speak, how much, and how long.

Its messages are checked against what they must be: a stranger may have sent them. What the page
would not send is a `DecodingError`, and ends the run.
"""

import hmac
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from nstc.benchmarks.targets.web.setup import MAX_TEXT
from nstc.core.child_processes import readable
from nstc.core.decoding import DecodingError, decode, parse_json
from nstc.core.errors import TargetError
from nstc.runtime.session import MAX_THREADS

_Milliseconds = Annotated[float, Meta(gt=0, le=3_600_000)]

_POLL_S: Final = 0.2
_SHORT_BYTES: Final = 4096
_SAMPLE_BYTES: Final = 32
"""A number of double precision in JSON, and the comma."""

_AGAIN: Final = "Run nstc bench again; a smaller --size needs less of the place."


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Where the page was opened, as it says itself."""

    agent: Annotated[str, Meta(min_length=1)]  # the browser's user agent, or Node's version
    secure: bool  # whether it is a secure context
    isolated: bool  # whether it is isolated from other pages, which threads need
    threads: Annotated[int, Meta(ge=1, le=MAX_THREADS)]  # it computes with
    clock_step_ms: _Milliseconds  # the smallest difference its clock tells


@dataclass(frozen=True)
class _Samples:
    samples_ms: tuple[tuple[_Milliseconds, ...], ...]


@dataclass(frozen=True)
class _Failure:
    message: str


class RefusedMessageError(Exception):
    """A message that is not taken, with its HTTP status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class PageAnswer:
    """What a run gave."""

    visitor: Visitor  # who opened the page, as it says itself
    address: str  # where it came from, as the network says
    samples_ms: tuple[tuple[float, ...], ...]  # one list a file, one time a round
    outputs: tuple[bytes, ...]  # of each file, the raw bytes


class Patience(NamedTuple):
    """How long to wait, in seconds: for the page to be opened, and for each next message."""

    opening_s: float
    silence_s: float


class Exchange:
    """Takes the messages of the first who opens the page, and of nobody else.

    Whoever begins is given a key that all later messages must carry. `output_bytes` is the exact
    size of each file's output, `threads` what the page is told to take; None where it may choose.
    """

    def __init__(self, output_bytes: Sequence[int], *, rounds: int, threads: int | None) -> None:
        self._sizes = tuple(output_bytes)
        self._rounds = rounds
        self._threads = threads
        self._changed = threading.Condition()
        self._key = ""
        self._visitor: Visitor | None = None
        self._address = ""
        self._outputs: dict[int, bytes] = {}
        self._samples: tuple[tuple[float, ...], ...] | None = None
        self._trouble: str | None = None
        self._steps = 0
        self._last_heard = time.monotonic()

    def limit(self, name: str) -> int | None:
        """How many bytes a message may have; None if there is no such message."""
        limits = dict.fromkeys(("begin", "step", "failed"), _SHORT_BYTES)
        limits["samples"] = _SHORT_BYTES + _SAMPLE_BYTES * len(self._sizes) * self._rounds
        limits |= {f"output/{i}": size for i, size in enumerate(self._sizes)}
        return limits.get(name)

    def refuse_stranger(self, name: str, key: str) -> None:
        """Turn away who does not hold the key, before the body is read.

        Raises:
            RefusedMessageError: it is the wrong key, or the run is over.
        """
        with self._changed:
            if name == "begin":
                if self._key:
                    said = "this link was used already: run nstc bench again"
                    raise RefusedMessageError(409, said)
            elif not self._key or not hmac.compare_digest(key.encode(), self._key.encode()):
                raise RefusedMessageError(403, "the run belongs to whoever opened the link first")
            if self._trouble is not None or self._samples is not None:
                raise RefusedMessageError(409, "the run is over")

    def take(self, name: str, key: str, body: bytes, address: str) -> str:
        """Take one message: one that `limit` knows, and no longer than that.

        `key` is what `begin` gave, "" for begin itself; `address` where it came from. Returns what
        to reply: the key, for begin.

        Raises:
            RefusedMessageError: it is not taken; the run may be over by that.
        """
        with self._changed:
            self.refuse_stranger(name, key)
            try:
                reply = self._taken(name, body, address)
            except DecodingError as error:
                self._trouble = f"the page sent rubbish ({name}: {error})"
                raise RefusedMessageError(400, str(error)) from error
            finally:
                self._last_heard = time.monotonic()
                self._changed.notify_all()
            return reply

    def end(self, trouble: str) -> None:
        """End the run for a reason that is not in a message."""
        with self._changed:
            self._trouble = self._trouble or trouble
            self._changed.notify_all()

    def wait(
        self,
        patience: Patience,
        *,
        ended: Callable[[], str | None] = lambda: None,
        steps: Callable[[int], None] = lambda _: None,
    ) -> PageAnswer:
        """Until everything has come.

        `ended` gives why whoever was to open the page is gone. `steps` is told now and then how
        many are done.

        Raises:
            TargetError: nobody opened the page, it fell silent, failed or sent rubbish.
        """
        self._last_heard = time.monotonic()
        while True:
            gone = ended()  # asked first: what it sent before it went counts
            with self._changed:
                if self._samples is not None and self._visitor is not None:
                    return PageAnswer(
                        visitor=self._visitor,
                        address=self._address,
                        samples_ms=self._samples,
                        outputs=tuple(self._outputs[i] for i in range(len(self._sizes))),
                    )
                self._refuse_trouble(patience, gone)
                self._changed.wait(_POLL_S)
                done = self._steps
            steps(done)

    def _taken(self, name: str, body: bytes, address: str) -> str:
        if name == "begin":
            self._visitor = read_visitor(body, threads=self._threads)
            self._address = address
            self._key = secrets.token_urlsafe(16)
            return self._key
        if name == "step":
            self._steps += 1
            if self._steps > len(self._sizes) * (self._rounds + 1):
                raise DecodingError("more steps than there are")
        elif name == "failed":
            self._trouble = f"it failed there: {read_failure(body)}"
        elif name == "samples":
            samples = read_samples(body, files=len(self._sizes), rounds=self._rounds)
            if len(self._outputs) < len(self._sizes):
                raise DecodingError("times without pictures")
            self._samples = samples
        else:
            number = int(name.rpartition("/")[2])
            if number in self._outputs:
                raise DecodingError("it came before")
            if len(body) != self._sizes[number]:
                raise DecodingError(f"{len(body)} bytes, expected {self._sizes[number]}")
            self._outputs[number] = body
        return "ok"

    def _refuse_trouble(self, patience: Patience, gone: str | None) -> None:
        trouble = self._trouble or gone
        if trouble is not None:
            raise TargetError(f"{trouble}. {_AGAIN}")
        silent_s = time.monotonic() - self._last_heard
        if self._visitor is None:
            if silent_s > patience.opening_s:
                raise TargetError(
                    f"nobody opened the page within {patience.opening_s:.0f} s. If a device could "
                    "not, look whether it is in the same network and no firewall is between."
                )
        elif silent_s > patience.silence_s:
            raise TargetError(
                f"{self._visitor.agent:.60} fell silent for {patience.silence_s:.0f} s after "
                f"{self._steps} steps: its page was closed, hangs, or the network is gone. {_AGAIN}"
            )


def read_visitor(body: bytes, *, threads: int | None) -> Visitor:
    """Who opened the page; it takes as many `threads` as it was told to where it can have any."""
    visitor = decode(parse_json(body), Visitor)
    if visitor.threads != ((threads or visitor.threads) if visitor.isolated else 1):
        raise DecodingError(f"threads is {visitor.threads}, which it was not told to take")
    return replace(visitor, agent=readable(visitor.agent, MAX_TEXT))


def read_samples(body: bytes, *, files: int, rounds: int) -> tuple[tuple[float, ...], ...]:
    """The times in milliseconds, above 0, one a round for each file."""
    rows = decode(parse_json(body), _Samples).samples_ms
    if list(map(len, rows)) != [rounds] * files:
        raise DecodingError(f"samples_ms is not a list of {rounds} times for each of {files} files")
    return rows


def read_failure(body: bytes) -> str:
    """What went wrong there, in one line."""
    message = decode(parse_json(body), _Failure).message
    return readable(message, MAX_TEXT) or "an error without words"
