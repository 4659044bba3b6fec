"""Where latency is measured: a module for each kind of target, and the table of all."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from nstc.benchmarks.targets import (
    adb,
    browser,
    cpu,
    cuda,
    instructions,
    litert_target,
    ncnn,
    opencv,
    openvino,
    ssh,
)
from nstc.benchmarks.targets.base import Target, TargetKind
from nstc.core import extensions
from nstc.core.errors import OptionError
from nstc.runtime.session import MAX_THREADS

# By what stands before the argument's colon.
TARGETS: Final[Mapping[str, TargetKind]] = {
    "cpu": cpu.CPU,
    "mobile": cpu.MOBILE,
    instructions.NAME: instructions.INSTRUCTIONS,
    "ssh": ssh.SSH,
    "adb": adb.ADB,
    "cuda": cuda.CUDA,
    "executorch": cpu.EXECUTORCH,
    "torchscript": cpu.TORCHSCRIPT,
    "opencv": opencv.OPENCV,
    "openvino": openvino.OPENVINO,
    "ncnn": ncnn.NCNN,
    "litert": litert_target.LITERT,
    **browser.KINDS,
}
ADDED: Final = extensions.Extensions(extensions.TARGETS, TargetKind, TARGETS)


def all_targets() -> tuple[TargetKind, ...]:
    """All of nstc, and those that other packages add; `ExtensionError` if one can't be used."""
    return (*TARGETS.values(), *ADDED.all().values())


def parse_target(text: str) -> Target:
    """A target from its name: "cpu:2" is two threads on two cores, "cpu" all cores.

    `OptionError` if there is no such target here, or fewer cores than threads; `ExtensionError` if
    another package adds it, and it can't be used.
    """
    # not asked for the names of other packages where the name is one of nstc's own
    kind = _kind_in(text, TARGETS) or _kind_in(text, ADDED.names()) or text
    known = TARGETS.get(kind) or ADDED.get(kind)
    if known is None:
        names = ", ".join((*TARGETS, *ADDED.names()))
        raise OptionError(f"no target {text!r}: expected one of {names}, as in cpu:2.")
    if (reason := known.availability()) is not None:
        raise OptionError(f"target {kind} can't run here: {reason}.")
    target = known.make(None if text == kind else text.removeprefix(f"{kind}:"))
    if kind not in TARGETS:
        ADDED.refuse_incomplete(kind, target, Target)
    return target


def chosen_targets(targets: Sequence[str], threads: int | None) -> tuple[str, ...] | None:
    """The names of the targets that the flags ask for, None if none was given.

    `threads` is short for cpu:N. Raises `OptionError` if both are given, or it is out of range.
    """
    if threads is None:
        return tuple(targets) or None
    if targets:
        raise OptionError(f"--threads {threads} and --target {targets[0]}: give one of them.")
    if not 1 <= threads <= MAX_THREADS:
        raise OptionError(f"threads is {threads}: expected from 1 to {MAX_THREADS}.")
    return (f"cpu:{threads}",)


def _kind_in(text: str, names: Iterable[str]) -> str | None:
    """The longest name that is the text, or stands before a colon in it."""
    found = [own for own in names if text == own or text.startswith(f"{own}:")]
    return max(found, key=len, default=None)
