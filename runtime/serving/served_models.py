"""The models of a server by name, each opened when it is first used, on a thread of its own."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from nstc.core import zoo
from nstc.core.bundle import Bundle, artifact_name, open_bundle
from nstc.core.errors import BundleError, OptionError
from nstc.runtime.serving.refusals import RefusedError
from nstc.runtime.serving.site import OfferedModel, offered_models
from nstc.runtime.session import MAX_THREADS, cached_artifact, find_artifact
from nstc.runtime.stylizer import PRECISIONS, Stylizer

MOST_OPEN: Final = 4  # one more closes the one that was used least recently
MOST_WAITING: Final = 16  # pictures for one model and precision, beside the one that it is at

T = TypeVar("T")


def find_models(asked: Sequence[str] = ()) -> tuple[OfferedModel, ...]:
    """The bundles that were asked for by path or zoo name; by default what the zoo has files of.

    Those are the students, and full-size networks whose ONNX file is in the user's cache. Of a pack
    that was asked for, every style is a model.

    Raises:
        BundleError: and its kinds, if there is no such bundle, it is damaged or has no ONNX file.
        GraphLimitError: its file crashes, or takes too much memory or time.
    """
    bundles = [open_bundle(model) for model in dict.fromkeys(asked or zoo.installed_names())]
    found = []
    for bundle in bundles:
        precisions = tuple(own for own in PRECISIONS if _is_at_hand(bundle, own))
        if asked:
            # also where there is none: the error says how to make it
            for precision in precisions or ("float",):
                find_artifact(bundle, precision)
        elif not precisions:
            continue
        found.append((bundle, precisions))
    if not found:
        raise BundleError("this installation includes no models: name a bundle to serve.")
    return offered_models(found)


class ServedModels:
    """Runs pictures through models: one at a time for each model and precision.

    Args:
        models: What there is, at least one.
        threads: Threads of each network; None for one a core.
        most_open: Networks that are kept open, with their threads and memory.
        most_waiting: Pictures that may wait for one network.

    Raises:
        OptionError: `threads` is out of range.
    """

    def __init__(
        self,
        models: Sequence[OfferedModel],
        *,
        threads: int | None = None,
        most_open: int = MOST_OPEN,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        if threads is not None and not 1 <= threads <= MAX_THREADS:
            raise OptionError(f"threads is {threads}: expected from 1 to {MAX_THREADS}.")
        self.by_name: Mapping[str, OfferedModel] = {model.name: model for model in models}
        self._threads = threads
        self._most_open = most_open
        self._most_waiting = most_waiting
        self._workers: OrderedDict[tuple[str, str], ModelWorker] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, name: str, precision: str) -> OfferedModel:
        """The model of this name; `RefusedError` if there is none, or not in this precision."""
        model = self.by_name.get(name)
        if model is None:
            names = ", ".join(self.by_name)
            raise RefusedError(404, f"there is no model {name!r:.60}: expected one of {names}.")
        if precision not in model.precisions:
            has = " or ".join(model.precisions)
            raise RefusedError(400, f"precision is {precision!r:.60}: {name} has {has}.")
        return model

    def submit(self, name: str, precision: str, work: Callable[[Stylizer], T]) -> "Future[T]":
        """Let a network's thread do some work; it is opened there if it is not yet.

        A future that is cancelled while it waits gives its place to others. `RefusedError` if the
        model is not there, too many wait for it, or too many other networks are at work.
        """
        model = self.find(name, precision)
        with self._lock:
            key = name, precision
            worker = self._workers.get(key)
            if worker is None:
                self._close_least_recent()
                worker = ModelWorker(
                    lambda: model.stylizer(precision, self._threads),
                    self._most_waiting,
                )
                self._workers[key] = worker
            self._workers.move_to_end(key)
            return worker.submit(work)

    @property
    def opened(self) -> tuple[tuple[str, str], ...]:
        """Names and precisions of the networks that have a thread, least recently used first."""
        return tuple(self._workers)

    @property
    def waiting(self) -> int:
        """Pictures that wait, of all networks."""
        return sum(worker.waiting for worker in list(self._workers.values()))

    def close(self, timeout_s: float = 0.5) -> bool:
        """Drop what waits, and end the threads; whether all of them ended within the time."""
        end = time.monotonic() + timeout_s
        workers = list(self._workers.values())
        for worker in workers:
            worker.close()
        return all(worker.join(end - time.monotonic()) for worker in workers)

    def _close_least_recent(self) -> None:
        """Make room for one more network."""
        if len(self._workers) < self._most_open:
            return
        idle = next((key for key, worker in self._workers.items() if worker.is_idle), None)
        if idle is None:
            raise RefusedError(
                429, f"{len(self._workers)} other models are at work: try again in a moment."
            )
        self._workers.pop(idle).close()


class ModelWorker:
    """A thread with a network, and a queue of bounded length."""

    def __init__(self, opening: Callable[[], Stylizer], most_waiting: int) -> None:
        self._opening = opening
        self._most_waiting = most_waiting
        self._jobs: deque[tuple[Future[Any], Callable[[Stylizer], Any]]] = deque()
        self._change = threading.Condition()
        self._at_work = self._closed = False
        # a network at work can't be stopped, and must not keep the process from ending
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing to do."""
        with self._change:
            return not self._at_work and not self._jobs

    @property
    def waiting(self) -> int:
        """How many jobs wait, but for those that nobody waits for any more."""
        with self._change:
            return sum(not future.cancelled() for future, _work in self._jobs)

    def submit(self, work: Callable[[Stylizer], T]) -> "Future[T]":
        """Queue some work; `RefusedError` if too much waits already."""
        future: Future[T] = Future()
        with self._change:
            self._jobs = deque(job for job in self._jobs if not job[0].cancelled())
            if len(self._jobs) >= self._most_waiting:
                raise RefusedError(
                    429, f"{len(self._jobs)} pictures wait for this model: try again in a moment."
                )
            self._jobs.append((future, work))
            self._change.notify()
        return future

    def close(self) -> None:
        """Cancel what waits, and end after what it is at."""
        with self._change:
            self._closed = True
            for future, _work in self._jobs:
                future.cancel()
            self._jobs.clear()
            self._change.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait until a closed one has ended; whether it has."""
        self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    def _run(self) -> None:
        stylizer: Stylizer | None = None
        while (job := self._next()) is not None:
            future, work = job
            if future.set_running_or_notify_cancel():
                try:
                    stylizer = stylizer or self._opening()
                    result = work(stylizer)
                except BaseException as error:  # noqa: BLE001 (whoever waits for it gets it)
                    self._rest()
                    future.set_exception(error)
                else:
                    self._rest()
                    future.set_result(result)
                    del result  # a picture, which may be large
            del job, future, work

    def _next(self) -> tuple[Future[Any], Callable[[Stylizer], Any]] | None:
        """The next job, waited for; None once it is closed."""
        with self._change:
            self._at_work = False
            while not self._jobs:
                if self._closed:
                    return None
                self._change.wait()
            self._at_work = True
            return self._jobs.popleft()

    def _rest(self) -> None:
        """Be idle before anybody hears of the result, so that it is a fact by then."""
        with self._change:
            self._at_work = False


def _is_at_hand(bundle: Bundle, precision: str) -> bool:
    name = artifact_name(precision)
    return name in bundle.artifacts or cached_artifact(bundle, name).is_file()
