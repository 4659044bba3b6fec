"""Which files are programs, and that those of others run only if somebody vouches for them."""

from pathlib import Path
from typing import Final, NoReturn

from nstc.core.errors import UnsafeFileError

PROGRAMS: Final = {"ts": "TorchScript", "pte": "an ExecuTorch program"}
"""Kinds of artifacts that are programs, by their ending. A graph of ONNX is tried instead, see
`nstc.runtime.trial`: it has no way to files, to the network or to other processes."""


def refuse_program(path: Path, kind: str) -> NoReturn:
    """Refuse a program.

    Args:
        path: The file.
        kind: What it is.

    Raises:
        UnsafeFileError: in any case.
    """
    raise UnsafeFileError(
        f"{path} was not loaded: it is {kind}, which is a program. Give --trust if you know where "
        "it comes from."
    )
