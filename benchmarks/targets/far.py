"""What the targets on other machines share: options, files of this machine, checked answers."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from nstc.benchmarks.subjects import FLOAT, Probe, Subject
from nstc.benchmarks.targets.base import Measurement, Place, RowFacts
from nstc.benchmarks.targets.remote.far_job import FarAnswer
from nstc.benchmarks.timing.machine import usable_cores
from nstc.core.bundle import artifact_name
from nstc.core.errors import OptionError, TargetError
from nstc.core.images import Pixels
from nstc.runtime.agreement import FAR_MACHINE_LEVELS, Difference
from nstc.runtime.session import MAX_THREADS, Session

WHOLE_S: Final = 3600
"""That a measurement may take. The far side gives up by itself then, whoever listens."""

SILENCE_S: Final = 120
"""After which a far machine counts as hanging; it speaks after each turn."""

THREADS: Final = "threads"
PYTHON: Final = "python"
_PATH: Final = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._/+-]*")
_NUMBER: Final = re.compile(r"[0-9]{1,4}")
_SLOWEST_BYTES_S: Final = 100_000


@dataclass(frozen=True, kw_only=True)
class FarTarget:
    """A machine that is sent ONNX files; see `nstc.benchmarks.targets.base.Target`."""

    name: str  # as results and `--target` have it
    threads: int  # that a session computes with there
    reports_memory: ClassVar[bool] = True  # whether rows say what memory a fresh process needs
    reference_artifact: ClassVar[str] = FLOAT

    def artifacts(self, subject: Subject, size: int) -> tuple[str, ...]:
        """All ONNX files that take such pictures."""
        return subject.artifacts(size)

    def open(self, subject: Subject, artifact: str, probe: Probe) -> Session:
        """A session here: pictures are judged on this machine.

        Raises:
            OptionError: it is no ONNX file.
            NstcError: whatever else `Subject.open` raises.
        """
        name = artifact_name(artifact)
        if not name.endswith(FLOAT):
            raise OptionError(
                f"{self.name} runs ONNX files, not {name}: give --artifact int8 or onnx."
            )
        return subject.open(name, min(len(usable_cores()), MAX_THREADS), probe)

    def checked_reading(
        self, sessions: Sequence[Session], picture: Pixels, answer: FarAnswer, place: Place
    ) -> Measurement:
        """An answer whose pictures are those that the same files make here, the reference's first.

        The answer's facts are added to what the target itself knows of the place.

        Raises:
            TargetError: a picture is another one.
        """
        for session, far in zip(sessions, answer.pictures, strict=True):
            refuse_other_picture(self.name, str(session.path), far, session.run(picture))
        return Measurement(
            timings=answer.timings,
            place={**place, **answer.place},
            rows=tuple(RowFacts(footprint=own) for own in answer.footprints[1:]),
        )


def parse_options(target: str, text: str, known: Collection[str]) -> Mapping[str, str]:
    """The options behind a target's question mark, such as threads=2&python=/opt/bin/python.

    Raises:
        OptionError: an unknown or doubled name, threads out of range, or a path that holds more
            than letters, digits and . _ / + -
    """
    options: dict[str, str] = {}
    for part in text.split("&") if text else []:
        name, _, value = part.partition("=")
        if name not in known or name in options:
            raise OptionError(
                f"target {target!r}: no option {name!r}; it takes {', '.join(known)}, once each."
            )
        pattern = _NUMBER if name == THREADS else _PATH
        if pattern.fullmatch(value) is None:
            raise OptionError(
                f"target {target!r}: {name} is {value!r}: expected "
                + ("a number." if name == THREADS else "a path of letters, digits and . _ / + -")
            )
        options[name] = value
    if not 1 <= int(options.get(THREADS, "1")) <= MAX_THREADS:
        raise OptionError(f"target {target!r}: threads must be from 1 to {MAX_THREADS}.")
    return options


def refuse_other_picture(name: str, file: str, far: Pixels, here: Pixels) -> None:
    """Hold a picture (H, W, 3) uint8 from the target `name` to that which a file makes here.

    Raises:
        TargetError: they differ by more than `FAR_MACHINE_LEVELS`.
    """
    found = Difference.between(far, here).rms
    if found > FAR_MACHINE_LEVELS:
        raise TargetError(
            f"{name}: {file} makes another picture there than here, {found:.1f} of 255 levels away "
            f"where {FAR_MACHINE_LEVELS} is allowed, so its time counts for nothing. An int8 file "
            "must be made with reduced range to be portable: nstc quantize does."
        )


def silence_limit_s(sent_bytes: int) -> float:
    """Seconds without a word that count as hanging, when so much must be sent before the first."""
    return SILENCE_S + sent_bytes / _SLOWEST_BYTES_S


def advice(error: str, python: str) -> str:
    """What to do about an error that a far Python told of."""
    if error.startswith(("ModuleNotFoundError", "ImportError")):
        return (
            f"It needs onnxruntime and numpy: {python} -m pip install onnxruntime, or give "
            f"?{PYTHON}=PATH of one that has them."
        )
    return "Is the memory there enough, and onnxruntime there as new as here?"
