"""Where latency is taken: a module for each kind of place, and the table of them all."""

from collections.abc import Mapping, Sequence
from typing import Final

from nstc.benchmarks.targets import adb, browser, cpu, cuda, ssh
from nstc.benchmarks.targets.base import Target, TargetKind
from nstc.core.errors import OptionError
from nstc.runtime.session import MAX_THREADS

TARGETS: Final[Mapping[str, TargetKind]] = {
    "cpu": cpu.CPU,
    "mobile": cpu.MOBILE,
    "ssh": ssh.SSH,
    "adb": adb.ADB,
    "cuda": cuda.CUDA,
    "executorch": cpu.EXECUTORCH,
    "torchscript": cpu.TORCHSCRIPT,
    **browser.KINDS,
}
"""By what stands before the argument's colon."""

_LONGEST_FIRST: Final = sorted(TARGETS, key=len, reverse=True)


def parse_target(text: str) -> Target:
    """A target from its name: "cpu:2" is two threads on two cores, "cpu" all cores.

    Raises:
        OptionError: there is no such target here, or fewer cores than threads.
    """
    kind = next((own for own in _LONGEST_FIRST if text == own or text.startswith(f"{own}:")), text)
    known = TARGETS.get(kind)
    if known is None:
        raise OptionError(f"no target {text!r}: expected one of {', '.join(TARGETS)}, as in cpu:2.")
    reason = known.availability()
    if reason is not None:
        raise OptionError(f"target {kind} can't run here: {reason}.")
    return known.make(None if text == kind else text.removeprefix(f"{kind}:"))


def chosen_targets(targets: Sequence[str], threads: int | None) -> tuple[str, ...] | None:
    """The names of the targets that the flags ask for; `threads` is short for cpu:N.

    Returns:
        None if no flag was given.

    Raises:
        OptionError: both are given, or the threads are out of range.
    """
    if threads is None:
        return tuple(targets) or None
    if targets:
        raise OptionError(f"--threads {threads} and --target {targets[0]}: give one of them.")
    if not 1 <= threads <= MAX_THREADS:
        raise OptionError(f"threads is {threads}: expected from 1 to {MAX_THREADS}.")
    return (f"cpu:{threads}",)
