"""One run's messages from a page: in which order they may come, how large, and how late.

They are checked, because a stranger may have sent them. What the page itself would not send is a
`DecodingError`, and ends the run.
"""

import hmac
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, NamedTuple

from msgspec import Meta

from nstc.benchmarks.targets.base import SampleMs
from nstc.benchmarks.targets.web.setup import MAX_TEXT
from nstc.core.child_processes import readable
from nstc.core.decoding import DecodingError, decode, parse_json
from nstc.core.errors import TargetError
from nstc.runtime.serving.refusals import RefusedError
from nstc.runtime.session import MAX_THREADS

FOLDER: Final = "bench/"  # of messages, and of files that are one run's own, in their addresses

MESSAGE_S: Final = 600  # in which a message must be whole: a slow phone may send some 10 MB
_POLL_S: Final = 0.2
_SHORT_BYTES: Final = 4096
_SAMPLE_BYTES: Final = 32  # a number of double precision in JSON, and the comma
_NAMELESS: Final = "the page"  # whose user agent says nothing
_AGAIN: Final = "Run nstc bench again; a smaller --size needs less memory and time."


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Where the page was opened, as it says itself."""

    agent: Annotated[str, Meta(min_length=1)]  # the browser's user agent, or Node's version
    secure: bool  # whether it is a secure context
    isolated: bool  # whether it is isolated from other pages, which threads need
    threads: Annotated[int, Meta(ge=1, le=MAX_THREADS)]  # it computes with
    clock_step_ms: SampleMs  # the smallest step of its clock


@dataclass(frozen=True)
class _Samples:
    samples_ms: tuple[tuple[SampleMs, ...], ...]


@dataclass(frozen=True)
class _Failure:
    message: str


@dataclass(frozen=True, kw_only=True)
class PageAnswer:
    """The results of a run."""

    visitor: Visitor
    address: str  # where it came from, as the network says
    samples_ms: tuple[tuple[float, ...], ...]  # of each file, one a round
    outputs: tuple[bytes, ...]  # of each file, the raw bytes


class Timeouts(NamedTuple):
    """How long to wait, in seconds."""

    opening_s: float  # for the page to be opened
    silence_s: float  # for each next message, or part of one


class Exchange:
    """Takes the messages of whoever opens the page first, and of nobody else.

    The reply to `begin` is a key that all later messages must carry. `output_bytes` is the exact
    size of each file's output, `threads` what the page is to use; None where it may choose.
    """

    def __init__(self, output_bytes: Sequence[int], *, rounds: int, threads: int | None) -> None:
        self._sizes, self._rounds, self._threads = tuple(output_bytes), rounds, threads
        self._changed = threading.Condition()
        self._key = self._address = ""
        self._visitor: Visitor | None = None
        self._outputs: dict[int, bytes] = {}
        self._samples: tuple[tuple[float, ...], ...] | None = None
        self._failure: str | None = None  # why the run is over without results
        self._steps = 0
        self._last_heard = time.monotonic()
        self._first_part: dict[str, float] = {}  # when each message began to come, by its name

    @property
    def limits(self) -> Mapping[str, int]:
        """How many bytes each message may have, by its name."""
        limits = dict.fromkeys(("begin", "step", "failed"), _SHORT_BYTES)
        limits["samples"] = _SHORT_BYTES + _SAMPLE_BYTES * len(self._sizes) * self._rounds
        return limits | {f"output/{i}": size for i, size in enumerate(self._sizes)}

    def refuse_stranger(self, name: str, key: str) -> None:
        """Raise `RefusedError` without the key, or if the run is over: no body is read."""
        with self._changed:
            if name == "begin":
                if self._key:
                    said = "this link was used already: run nstc bench again"
                    raise RefusedError(409, said)
            elif not self._key or not hmac.compare_digest(key.encode(), self._key.encode()):
                raise RefusedError(403, "the run belongs to whoever opened the link first")
            if self._failure is not None or self._samples is not None:
                raise RefusedError(409, "the run is over")

    def take(self, name: str, key: str, body: bytes, address: str) -> str:
        """Take one message, of a name and a size that `limit` allows; gives the reply.

        `key` is the reply to `begin`, "" for begin itself; `address` where it came from. Raises
        `RefusedError` if it is not taken; an invalid one ends the run.
        """
        with self._changed:
            self.refuse_stranger(name, key)
            try:
                return self._taken(name, body, address)
            except DecodingError as error:
                self._failure = f"the page sent an invalid message ({name}: {error})"
                raise RefusedError(400, str(error)) from error
            finally:
                self._last_heard = time.monotonic()
                self._changed.notify_all()

    def hear(self, name: str) -> None:
        """Note that a part of a message came, whose sender was not refused as a stranger.

        The page is not silent then, though for no longer than `MESSAGE_S` by messages of one name,
        or it could begin the same one without end. Parts of `begin`, which anybody can send, say
        nothing.
        """
        with self._changed:
            now = time.monotonic()
            if name != "begin" and now - self._first_part.setdefault(name, now) <= MESSAGE_S:
                self._last_heard = now

    def end(self, failure: str) -> None:
        """End the run for a reason that is not in a message."""
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()

    def wait(
        self,
        timeouts: Timeouts,
        *,
        ended: Callable[[], str | None] = lambda: None,
        steps: Callable[[int], None] = lambda _: None,
    ) -> PageAnswer:
        """Wait for the results; `TargetError` if they do not come.

        `ended` gives the reason once the program that opens the page has ended; `steps` receives
        now and then how many steps are done.
        """
        self._last_heard = time.monotonic()
        while True:
            gone = ended()  # asked first: what was sent before the end counts
            with self._changed:
                if self._samples is not None and self._visitor is not None:
                    return PageAnswer(
                        visitor=self._visitor,
                        address=self._address,
                        samples_ms=self._samples,
                        outputs=tuple(self._outputs[i] for i in range(len(self._sizes))),
                    )
                self._refuse_failure(timeouts, gone)
                self._changed.wait(_POLL_S)
                done = self._steps
            steps(done)

    def _taken(self, name: str, body: bytes, address: str) -> str:
        if name == "begin":
            visitor = decode(parse_json(body), Visitor)
            # without isolation a browser has one thread, whatever it is told
            if visitor.threads != ((self._threads or visitor.threads) if visitor.isolated else 1):
                raise DecodingError(f"threads is {visitor.threads}, which it was not told to use")
            self._visitor = replace(visitor, agent=readable(visitor.agent, MAX_TEXT) or _NAMELESS)
            self._address, self._key = address, secrets.token_urlsafe(16)
            return self._key
        if name == "step":
            self._steps += 1
            if self._steps > len(self._sizes) * (self._rounds + 1):
                raise DecodingError("more steps than there are")
        elif name == "failed":
            message = readable(decode(parse_json(body), _Failure).message, MAX_TEXT)
            self._failure = f"it failed there: {message or 'an error without words'}"
        elif name == "samples":
            samples, files = decode(parse_json(body), _Samples).samples_ms, len(self._sizes)
            if list(map(len, samples)) != [self._rounds] * files:
                raise DecodingError(f"samples_ms is not {self._rounds} times of {files} files each")
            if len(self._outputs) < files:
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

    def _refuse_failure(self, timeouts: Timeouts, gone: str | None) -> None:
        if (failure := self._failure or gone) is not None:
            raise TargetError(f"{failure}. {_AGAIN}")
        silent_s = time.monotonic() - self._last_heard
        if self._visitor is None:
            if silent_s > timeouts.opening_s:
                raise TargetError(
                    f"nobody opened the page within {timeouts.opening_s:.0f} s. If a device could "
                    "not, check that it is in the same network and no firewall is between."
                )
        elif silent_s > timeouts.silence_s:
            raise TargetError(
                f"{self._visitor.agent:.60} fell silent for {timeouts.silence_s:.0f} s after "
                f"{self._steps} steps: its page was closed, hangs, or the network is gone. {_AGAIN}"
            )
