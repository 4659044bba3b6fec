"""A student of another painting in the place of the one that is judged."""

import os
from pathlib import Path
from typing import Final

from gate_proof.faults import Changed
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.session import Session

FILE: Final = Path(__file__).parents[2] / "gate_proof" / "data" / "great-wave.int8.onnx"
STAND_IN_VARIABLE: Final = "NSTC_GATE_PROOF_OTHER_STYLE"
"""Another file, to try the suite with."""


class _OtherStyle(Changed):
    """Runs the other network; its file and all other facts are the judged one's."""

    def __init__(self, judged: Session, other: Session):
        super().__init__(judged)
        self._other = other

    def prepare(self, rgb):
        return self._other.prepare(rgb)

    def infer(self, feed):
        return self._other.infer(feed)

    def finish(self, raw):
        return self._other.finish(raw)

    def run(self, rgb):
        return self._other.run(rgb)


def other_style_file() -> Path:
    """The network that was trained toward another painting."""
    return Path(os.environ.get(STAND_IN_VARIABLE, FILE))


def open_other_style(judged: Session) -> Session:
    """The other style's network, which passes for the judged one."""
    return _OtherStyle(judged, OnnxSession(other_style_file(), "int8.onnx", 1))
