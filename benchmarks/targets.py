"""Where latency is taken: how many threads, on which cores."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from nstc.benchmarks.machine import usable_cores
from nstc.core.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Target:
    """A place to measure.

    Attributes:
        name: As results and `--target` have it: cpu:2.
        threads: That a session computes with.
        cores: Numbers of the cores the threads are held to.
    """

    name: str
    threads: int
    cores: tuple[int, ...]

    @contextlib.contextmanager
    def pinned(self) -> Iterator[None]:
        """Hold this thread, and those started inside the block, to the target's cores.

        Open sessions inside: their threads keep the cores for life. Where the system has no
        such call (macOS, Windows) nothing is pinned.
        """
        if not hasattr(os, "sched_setaffinity"):
            yield
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.cores)
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


def parse_target(text: str) -> Target:
    """A target from its name: "cpu:2" is two threads on two cores, "cpu" all cores.

    Raises:
        OptionError: there is no such target here, or fewer cores than threads.
    """
    kind, colon, argument = text.partition(":")
    maker = TARGETS.get(kind)
    if maker is None:
        raise OptionError(f"no target {text!r}: expected one of {', '.join(TARGETS)}, as in cpu:2.")
    return maker(argument if colon else None)


def _cpu(argument: str | None) -> Target:
    cores = usable_cores()
    if argument is None:
        argument = str(len(cores))
    if not (argument.isascii() and argument.isdigit() and int(argument) > 0):
        raise OptionError(f"no target 'cpu:{argument}': expected a number of threads, as in cpu:2.")
    threads = int(argument)
    if threads > len(cores):
        raise OptionError(
            f"cpu:{threads} needs {threads} cores and this process may use {len(cores)}: "
            f"give --threads {len(cores)} or fewer."
        )
    return Target(name=f"cpu:{threads}", threads=threads, cores=cores[:threads])


TARGETS: Final[Mapping[str, Callable[[str | None], Target]]] = {"cpu": _cpu}
"""What makes a target of each kind from the text behind its colon."""
