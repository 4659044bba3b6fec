"""A session that takes longer, and a machine that is busy."""

import contextlib
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from statistics import median
from typing import Any, Final

from nstc.benchmarks.timing.machine import usable_cores
from nstc.runtime.session import Session

_REMEMBERED: Final = 101
_LOAD: Final = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.nice(int(sys.argv[2]))
import numpy as np
a = np.ones((512, 512), np.float32)
print("busy", flush=True)
while True:
    a @ a
"""


class Slower:
    """Computes after each run for a share of its own median time, on the thread that runs it."""

    def __init__(self, session: Session, share: float):
        self._session = session
        self._share = share
        self._own_ns: deque[int] = deque(maxlen=_REMEMBERED)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def reopened(self) -> "Slower":
        """Every turn is of a session opened anew, and that one is no faster."""
        return Slower(self._session.reopened(), self._share)

    def infer(self, feed: Any) -> Any:
        start = time.thread_time_ns()  # another process may have the core meanwhile
        raw = self._session.infer(feed)
        end = time.thread_time_ns()
        self._own_ns.append(end - start)
        until = end + self._share * median(self._own_ns)
        while time.thread_time_ns() < until:
            pass
        return raw


@contextlib.contextmanager
def busy_cores(niceness: int) -> Iterator[None]:
    """Such a process on every core."""
    with contextlib.ExitStack() as loads:
        for core in usable_cores():
            loads.enter_context(busy_core(core, niceness))
        yield


@contextlib.contextmanager
def busy_core(core: int, niceness: int = 0) -> Iterator[None]:
    """A process that multiplies matrices on one core for as long as the block runs."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    process = subprocess.Popen(
        [sys.executable, "-c", _LOAD, str(core), str(niceness)],
        env={**os.environ, **threads},
        stdout=subprocess.PIPE,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"busy\n"
            yield
        finally:
            process.kill()
