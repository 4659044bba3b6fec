"""What files that did not come with nstc must pass before this process opens them.

A program needs somebody who vouches for it. A graph is tried in a process under limits. A file is
known by its hash: what the zoo ships needs neither, and what held in a trial is not tried again by
the same process.
"""

import contextlib
import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn

import numpy as np

from nstc.core.errors import GraphLimitError, UnsafeFileError
from nstc.core.files import sha256_of
from nstc.core.manifest import MANIFEST_FILE
from nstc.core.zoo import resolve_model_path, zoo_names
from nstc.runtime.arrays import Array
from nstc.runtime.foreign.graph_process import (
    GraphFailedError,
    GraphProcess,
    GraphValue,
    RefusedGraphError,
    TrialLimits,
    current_limits,
)
from nstc.runtime.model_files import model_bytes, model_sha256

# Of pictures that graphs take, by ONNX Runtime's names.
DTYPES: Final[Mapping[str, str]] = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
}
LONGEST_SIDE: Final = 16384
MOST_PIXELS: Final = 2**25  # of a picture whose size a graph fixes: 8K, and little more
_SIDE: Final = 64  # of the picture that a file is tried on, if it takes any size
# Files that held, by their hash, and the limits that they held in.
_held: Final[dict[str, TrialLimits]] = {}
_made: Final[set[str]] = set()  # the hashes of files that this run made itself


def ensure_tried(path: Path, *, sha256: str | None = None, threads: int | None = None) -> None:
    """Open a graph and run it once in a process under limits, unless it is known to hold.

    What ONNX Runtime refuses there is left to be refused where it is opened.

    Args:
        path: The file.
        sha256: Its hash, if it is known already.
        threads: To compute with.

    Raises:
        GraphLimitError: it goes over a limit, or crashes.
        TeacherError: its weights lie elsewhere than in its folder.
    """
    limits = current_limits()
    refuse_too_large(path, limits)
    key = model_sha256(path) if sha256 is None else sha256
    if keeps_within(key, limits):
        return
    with contextlib.suppress(RefusedGraphError):
        process = GraphProcess(path, threads, limits)
        try:
            feeds = _feeds(process.inputs)
            if feeds is not None:
                with contextlib.suppress(GraphFailedError):
                    process.run(feeds)
        finally:
            process.close()
        remember(key, limits)


def refuse_too_large(path: Path, limits: TrialLimits) -> None:
    """Refuse a file that can't be within the limit before any of it is read.

    Raises:
        GraphLimitError: it is larger than the limit.
        TeacherError: its weights lie elsewhere than in its folder.
    """
    size = model_bytes(path)
    if size > limits.max_ram_bytes:
        raise GraphLimitError(
            f"{path} has {size / 1e9:.3g} GB, more than the {limits.max_ram_bytes / 1e9:.3g} GB of "
            "memory that it may take: give a larger --max-ram, if you know where it comes from."
        )


def is_ours(sha256: str) -> bool:
    """Whether a file came with nstc, or was made by this run."""
    return sha256 in _made or sha256 in shipped()


def keeps_within(sha256: str, limits: TrialLimits) -> bool:
    """Whether a file is ours, or was tried in this run and kept within these limits."""
    held = _held.get(sha256)
    if held is None:
        return is_ours(sha256)
    return held.max_ram_bytes <= limits.max_ram_bytes and held.timeout_s <= limits.timeout_s


def remember(sha256: str, limits: TrialLimits) -> None:
    """Keep in mind that a file kept within limits."""
    _held[sha256] = limits


def remember_made(path: Path) -> None:
    """Keep in mind that this run made a file itself, which it need not try or be told to trust."""
    _made.add(sha256_of(path))


def forget(sha256: str) -> None:
    """Take back what `remember` kept."""
    _held.pop(sha256, None)


@functools.cache
def shipped() -> frozenset[str]:
    """The hashes of all files that the zoo's bundles consist of.

    Read without a check of what else the manifests say, for a device pays for it at its first
    start: they are as much a part of nstc as this module.
    """
    manifests = (resolve_model_path(name) / MANIFEST_FILE for name in zoo_names())
    files = (json.loads(path.read_bytes())["files"] for path in manifests)
    return frozenset(own["sha256"] for records in files for own in records.values())


def is_possible(shape: Sequence[object]) -> bool:
    """Whether the axes of a picture that a graph fixes are such as pictures have."""
    fixed = [side for side in shape if isinstance(side, int)]
    possible = all(1 <= side <= LONGEST_SIDE for side in fixed)
    return possible and math.prod(fixed) <= 4 * MOST_PIXELS


def _feeds(inputs: Sequence[GraphValue]) -> dict[str, Array] | None:
    """Something grey for every input; None where nothing can be made up."""
    feeds: dict[str, Array] = {}
    for value in inputs:
        dtype = DTYPES.get(value.type)
        if dtype is None or not is_possible(value.shape):
            return None
        shape = [side if isinstance(side, int) else _SIDE for side in value.shape]
        if len(shape) == 4 and not isinstance(value.shape[0], int):
            shape[0] = 1
        feeds[value.name] = np.full(shape, 128 if dtype == "uint8" else 0.5, dtype)
    return feeds


# Kinds of artifacts that are programs, by their ending. A graph of ONNX is tried instead, see
# `nstc.runtime.foreign.trial`: it has no way to files, to the network or to other processes.
PROGRAMS: Final = {"ts": "TorchScript", "pte": "an ExecuTorch program"}


def refuse_program(path: Path, kind: str) -> NoReturn:
    """Refuse a file as a program of this kind by an `UnsafeFileError`."""
    raise UnsafeFileError(
        f"{path} was not loaded: it is {kind}, which is a program. Give --trust if you know where "
        "it comes from."
    )
