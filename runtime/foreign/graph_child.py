"""The process in which `nstc.runtime.foreign.trial` opens and runs an ONNX file, under its limits.

It loads NumPy and ONNX Runtime alone. Memory is limited on Linux only, by `RLIMIT_DATA`, on top of
what the process uses before it opens the file.
"""

import ctypes
import json
import math
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from nstc.core.errors import out_of_memory
from nstc.core.graph_form import MOST_FORM_TEXT
from nstc.runtime.onnx_session import ORT_ERRORS, first_line, load_graph

_GRACE_S: Final = 10  # of CPU time beyond the limit, for loading the libraries
_KEPT_BYTES: Final = 1_000_000  # that it may write to files: its standard error
MOST_TEXT: Final = 300  # characters of a name or a reason
_MOST_VALUES: Final = 16  # inputs, outputs, axes and entries of metadata that are described
_MOST_NAME: Final = 100  # characters of the name of an entry of the file's metadata
MOST_TIMES_LARGER: Final = 64  # an output larger than its input by more is not sent
_DIES_WITH_PARENT: Final = 1  # PR_SET_PDEATHSIG in Linux's prctl.h
_REFUSALS: Final[tuple[type[Exception], ...]] = (*ORT_ERRORS, ValueError)


def write_header(stream: IO[bytes], header: Mapping[str, Any]) -> None:
    """One line of JSON, which each message of both sides begins with."""
    stream.write(json.dumps(header).encode() + b"\n")


def main(path: str, threads: str, max_ram_bytes: str, timeout_s: str) -> None:
    """Open the file, describe it, and run it on each input that comes, until none does."""
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # whatever native code prints is not taken for an answer
        write_header(answers, {"ready": True})
        answers.flush()
        limit_this_process(int(max_ram_bytes), int(threads) * int(timeout_s) + _GRACE_S)
        try:
            serve(Path(path), int(threads), answers)
        except MemoryError:  # wherever it was; of the input an unknown part was read
            write_header(answers, {"memory": ""})


def serve(path: Path, threads: int, answers: IO[bytes]) -> None:
    """Answer with a description of the file, and with its output for each input that comes."""
    try:
        session = load_graph(path, threads)
        opened = describe(session)
    except _REFUSALS as error:
        write_header(answers, header_of("refused", error))
        return
    write_header(answers, opened)
    answers.flush()
    while line := sys.stdin.buffer.readline():
        answer(session, json.loads(line)["feeds"], answers)
        answers.flush()


def answer(session: Any, header: Sequence[Any], answers: IO[bytes]) -> None:
    """Run the graph on the input whose header was read."""
    feeds, size = {}, 0
    for name, dtype, shape in header:
        count = math.prod(shape) * np.dtype(dtype).itemsize
        feeds[name] = np.frombuffer(sys.stdin.buffer.read(count), dtype).reshape(shape)
        size += count
    try:
        made = session.run(None, feeds)[0]
    except _REFUSALS as error:
        write_header(answers, header_of("failed", error))
        return
    if not isinstance(made, np.ndarray) or made.dtype.kind not in "biuf":
        write_header(answers, {"failed": f"it gives a {type(made).__name__}, not numbers"})
    elif made.nbytes > MOST_TIMES_LARGER * size:
        write_header(answers, {"failed": f"it gives {list(made.shape)}, far more than it takes"})
    else:
        payload = np.ascontiguousarray(made).data  # a copy may fail, and no answer is half a one
        write_header(answers, {"dtype": made.dtype.str, "shape": made.shape, "bytes": made.nbytes})
        answers.write(payload)


def header_of(kind: str, error: Exception) -> dict[str, str]:
    """The answer where the graph is refused or fails."""
    return {"memory": ""} if out_of_memory(error) else {kind: first_line(error)[:MOST_TEXT]}


def describe(session: Any) -> dict[str, Any]:
    """Inputs, outputs and metadata, cut to what fits in a header whatever the file says."""

    def cut(value: Any) -> Any:
        return value[:MOST_TEXT] if isinstance(value, str) else value

    def values(all_values: Sequence[Any]) -> list[tuple[str, str, Sequence[Any]]]:
        return [
            (cut(each.name), cut(each.type), [cut(side) for side in each.shape[:_MOST_VALUES]])
            for each in all_values[:_MOST_VALUES]
        ]

    metadata = session.get_modelmeta().custom_metadata_map
    short = {
        name: text
        for name, text in metadata.items()
        if len(name) <= _MOST_NAME and len(text) <= MOST_FORM_TEXT
    }
    return {
        "inputs": values(session.get_inputs()),
        "outputs": values(session.get_outputs()),
        "metadata": dict(list(short.items())[:_MOST_VALUES]),
    }


def limit_this_process(max_ram_bytes: int, cpu_s: int) -> None:
    """Bound memory, files, CPU time and a life without the parent, as far as the system can.

    The parent's clock ends a process earlier: the CPU time is for native code whose parent is gone.
    """
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_KEPT_BYTES, _KEPT_BYTES))
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or hard > cpu_s:  # a lower one can't be raised, nor need be
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, hard))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        used = sum(int(line.split()[1]) for line in lines if line.startswith("VmData:")) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (used + max_ram_bytes, used + max_ram_bytes))


if __name__ == "__main__":
    main(*sys.argv[1:])
