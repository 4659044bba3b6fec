"""What the targets on other machines share: files of this machine, and answers held to it."""

from collections.abc import Sequence
from typing import Final

from nstc.benchmarks.machine import usable_cores
from nstc.benchmarks.remote.address import PYTHON
from nstc.benchmarks.remote.answer import Answer
from nstc.benchmarks.remote.pictures import refuse_other_picture
from nstc.benchmarks.subjects import FLOAT, Probe, Subject
from nstc.benchmarks.targets.base import Place, Reading, RowFacts
from nstc.core.bundle import artifact_name
from nstc.core.errors import OptionError
from nstc.core.images import Pixels
from nstc.runtime.session import MAX_THREADS, Session

WHOLE_S: Final = 3600
"""That a measurement may take. The far side gives up by itself then, whoever listens."""

SILENCE_S: Final = 120
"""After which a far machine counts as hanging; it speaks after each turn."""

_SLOWEST_BYTES_S: Final = 100_000
_LACKS_A_PACKAGE: Final = ("ModuleNotFoundError", "ImportError")


def open_onnx(target: str, subject: Subject, artifact: str, probe: Probe) -> Session:
    """A session on this machine of a file that another machine will be sent.

    Raises:
        OptionError: it is no ONNX file.
        NstcError: whatever else `Subject.open` raises.
    """
    name = artifact_name(artifact)
    if not name.endswith(FLOAT):
        raise OptionError(f"{target} runs ONNX files, not {name}: give --artifact int8 or onnx.")
    return subject.open(name, min(len(usable_cores()), MAX_THREADS), probe)


def checked_reading(
    target: str, sessions: Sequence[Session], picture: Pixels, answer: Answer, place: Place
) -> Reading:
    """An answer whose pictures are those that the same files make here.

    Args:
        target: Its name, for messages.
        sessions: The reference, then the candidates, on this machine.
        picture: That was timed, (H, W, 3) uint8.
        answer: From the far machine.
        place: What the target itself knows of the place; the answer's facts are added.

    Raises:
        TargetError: a picture is another one.
    """
    for session, far in zip(sessions, answer.pictures, strict=True):
        refuse_other_picture(target, str(session.path), far, session.run(picture))
    return Reading(
        timings=answer.timings,
        place={**place, **answer.place},
        rows=tuple(RowFacts(footprint=own) for own in answer.footprints[1:]),
    )


def silence_limit_s(sent_bytes: int) -> float:
    """Seconds without a word that count as hanging, when so much must be sent before the first."""
    return SILENCE_S + sent_bytes / _SLOWEST_BYTES_S


def advice(error: str, python: str) -> str:
    """What to do about an error that a far Python told of."""
    if error.startswith(_LACKS_A_PACKAGE):
        return (
            f"It needs onnxruntime and numpy: {python} -m pip install onnxruntime, or give "
            f"?{PYTHON}=PATH of one that has them."
        )
    return "Is the memory there enough, and onnxruntime there as new as here?"
