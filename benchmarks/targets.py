"""Where latency is taken: how many threads, on which cores, and whether memory is looked at."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from nstc.benchmarks.footprint import tells_peak_memory
from nstc.benchmarks.machine import usable_cores
from nstc.core.errors import OptionError
from nstc.runtime.session import MAX_THREADS


@dataclass(frozen=True, kw_only=True)
class Target:
    """A place to measure.

    Attributes:
        name: As results and `--target` have it: cpu:2, mobile.
        threads: That a session computes with.
        cores: Numbers of the cores the threads are held to.
        reports_memory: Whether rows say what memory a fresh process needs.
    """

    name: str
    threads: int
    cores: tuple[int, ...]
    reports_memory: bool = False

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


@dataclass(frozen=True, kw_only=True)
class TargetKind:
    """What `nstc targets` lists.

    Attributes:
        form: How `--target` is written.
        summary: What it measures, in one line.
        make: From the text behind the colon, None without one, to a target.
        availability: None if it can run here, or the reason why not.
    """

    form: str
    summary: str
    make: Callable[[str | None], Target]
    availability: Callable[[], str | None]

    def to_dict(self) -> dict[str, str | bool | None]:
        """Plain JSON values."""
        reason = self.availability()
        return {
            "target": self.form,
            "available": reason is None,
            "reason": reason,
            "summary": self.summary,
        }

    def cells(self) -> tuple[str, str, str]:
        """Form, availability and summary, for a table."""
        reason = self.availability()
        return self.form, "yes" if reason is None else f"no: {reason}", self.summary


def parse_target(text: str) -> Target:
    """A target from its name: "cpu:2" is two threads on two cores, "cpu" all cores.

    Raises:
        OptionError: there is no such target here, or fewer cores than threads.
    """
    kind, colon, argument = text.partition(":")
    known = TARGETS.get(kind)
    if known is None:
        raise OptionError(f"no target {text!r}: expected one of {', '.join(TARGETS)}, as in cpu:2.")
    reason = known.availability()
    if reason is not None:
        raise OptionError(f"target {kind} can't run here: {reason}.")
    return known.make(argument if colon else None)


def chosen_target(target: str | None, threads: int | None) -> str | None:
    """The name of the target that the flags ask for; `threads` is short for cpu:N.

    Raises:
        OptionError: both are given, or the threads are out of range.
    """
    if threads is None:
        return target
    if target is not None:
        raise OptionError(f"--threads {threads} and --target {target}: give one of them.")
    if not 1 <= threads <= MAX_THREADS:
        raise OptionError(f"threads is {threads}: expected from 1 to {MAX_THREADS}.")
    return f"cpu:{threads}"


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


def _mobile(argument: str | None) -> Target:
    if argument is not None:
        raise OptionError(f"no target 'mobile:{argument}': mobile is one thread, cpu:2 is two.")
    return Target(name="mobile", threads=1, cores=usable_cores()[:1], reports_memory=True)


def _everywhere() -> str | None:
    return None


def _where_peak_memory_is_told() -> str | None:
    return None if tells_peak_memory() else "this system does not tell a process's peak memory"


TARGETS: Final[Mapping[str, TargetKind]] = {
    "cpu": TargetKind(
        form="cpu[:N]",
        summary="ONNX Runtime, N threads on N pinned cores; all cores without N",
        make=_cpu,
        availability=_everywhere,
    ),
    "mobile": TargetKind(
        form="mobile",
        summary="ONNX Runtime as phones run it, on one core of this machine, with peak memory",
        make=_mobile,
        availability=_where_peak_memory_is_told,
    ),
}
"""By what stands before the colon."""
