"""What Valgrind runs: it loads NumPy and ONNX Runtime alone, and gives each count a child process.

The job is `job.json` in the folder above the working folder. A child begins as a copy of this
process, opens one graph and runs it on its input. Callgrind is told when to count, so that start-up
runs at Valgrind's best speed and is in no count; it writes a file of what each child did meanwhile.
`counted.json` says in the end which child had which graph.

`launch` first makes addresses the same in every process, then becomes Valgrind.
"""

import ctypes
import functools
import gc
import json
import mmap
import os
import platform
import signal
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

JOB: Final = "job.json"
LAUNCH: Final = "launch"
_FOLDER: Final = Path("..")  # of the job
RESULT: Final = "counted.json"
_PROFILE: Final = "profile"
_ASK: Final = 0xFFFFFFFF  # personality's argument that changes nothing
_ADDR_NO_RANDOMIZE: Final = 0x0040000  # in Linux's personality.h

# Functions that hand Valgrind the request whose address is their second argument, and give back
# what it answers; anywhere else they give back their first one. After valgrind.h, by architecture.
REQUEST_CODE: Final[Mapping[str, bytes]] = {
    "x86_64": bytes.fromhex(
        "4889f0 4889fa"  # mov rax, rsi; mov rdx, rdi
        "48c1c703 48c1c70d 48c1c73d 48c1c733 4887db"  # rol rdi, 3, 13, 61 and 51; xchg rbx, rbx
        "4889d0 c3"  # mov rax, rdx; ret
    ),
    "aarch64": bytes.fromhex(
        "e30300aa e40301aa"  # mov x3, x0; mov x4, x1
        "8c0dcc93 8c35cc93 8ccdcc93 8cf5cc93 4a010aaa"  # ror x12, 3, 13, 51 and 61; orr x10, x10
        "e00303aa c0035fd6"  # mov x0, x3; ret
    ),
}
_WORDS_OF_REQUEST: Final = 6
_CALLGRIND: Final = ord("C") << 24 | ord("T") << 16  # its requests begin here, by callgrind.h
START: Final = _CALLGRIND + 4  # instrumentation
STOP: Final = _CALLGRIND + 5

# y = sqrt(x) of one number. To open it makes Valgrind translate most of what opens any graph, once
# for all children.
_ROOT: Final = (
    b'\x08\x08:3\n\x0c\n\x01x\x12\x01y"\x04Sqrt\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04'
    b"\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)


def main() -> int:
    """Do the job; the exit status is 1 if a child fails, which says why on standard error."""
    import numpy  # noqa: F401  (before the children, so that none of them has to)
    import onnxruntime  # noqa: F401

    job = json.loads((_FOLDER / JOB).read_text(encoding="ascii"))
    request = requests()
    _opened(_ROOT)
    gc.disable()  # it would come in some runs and not in others
    results = []
    for number, graph in enumerate(job["graphs"]):
        process = _child(number, functools.partial(_count, graph, job, request))
        events = []
        for profile in Path().glob(f"{_PROFILE}*"):
            events += json.loads(profile.read_text(encoding="utf-8"))
            profile.unlink()
        results.append({"process": process, "operators": operators(events)})
    Path(RESULT).write_text(json.dumps(results), encoding="ascii")
    return 0


def launch(command: list[str]) -> None:
    """Become another program, whose addresses are not random where the system allows that.

    Some containers don't; there counts scatter a little more.
    """
    libc = ctypes.CDLL(None)
    libc.personality(libc.personality(_ASK) | _ADDR_NO_RANDOMIZE)
    os.execv(command[0], command)  # noqa: S606  (the command is nstc's own)


def requests() -> Callable[[int], int]:
    """Makes Valgrind's client requests, by their number; the answer is 0 where there is none.

    `OSError` where memory can't hold a program, and there Valgrind can't run either.
    """
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(REQUEST_CODE[platform.machine()])
    start = ctypes.c_char.from_buffer(memory)
    function = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_void_p)

    def request(number: int) -> int:
        words = (ctypes.c_uint64 * _WORDS_OF_REQUEST)(number)
        return int(function(ctypes.addressof(start))(0, ctypes.addressof(words)))

    return request


def _child(number: int, work: Callable[[], None]) -> int:
    """Do some work on a graph in a copy of this process; the copy's process number.

    Ends this process, with a line on standard error, if the copy fails.
    """
    process = os.fork()
    if process == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  (whatever it is, nstc must hear of it)
            _complain(number, f"{type(error).__name__}: {error}")
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status < 0:
        _complain(number, f"it crashed, by signal {signal.Signals(-status).name}")
    if status != 0:
        sys.exit(1)
    return process


def _complain(number: int, reason: str) -> None:
    sys.stderr.write(f"graph {number}: {' '.join(reason.split())[:300]}\n")
    sys.stderr.flush()


def _count(graph: dict[str, Any], job: dict[str, Any], request: Callable[[int], int]) -> None:
    """Open a graph and run it on one thread; count its last runs, and profile those before them."""
    import numpy

    profiled = job["uncounted"] > 0
    session = _opened(
        str(_FOLDER / graph["file"]), weights_once=graph["weights_once"], profiled=profiled
    )
    names = [given.name for given in session.get_inputs()]
    inputs = [numpy.load(_FOLDER / feed, allow_pickle=False) for feed in graph["feeds"]]
    feeds = dict(zip(names, inputs, strict=True))
    output = [session.get_outputs()[0].name]
    for _ in range(job["uncounted"]):
        session.run(output, feeds)
    if profiled:
        session.end_profiling()  # or it would be counted
    request(START)
    for _ in range(job["pictures"]):
        session.run(output, feeds)
    request(STOP)


def _opened(graph: str | bytes, *, weights_once: bool = False, profiled: bool = False) -> Any:
    """A session on a file or its content, as `nstc.runtime.onnx_session.load_graph` opens it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    if weights_once:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if profiled:
        options.enable_profiling = True
        options.profile_file_prefix = _PROFILE
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def operators(events: list[dict[str, Any]]) -> dict[str, int]:
    """How many operators of each type ran, by the events of one run's profile."""
    ran = (
        event["args"]["op_name"]
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    )
    return dict(Counter(ran).most_common())


if __name__ == "__main__":
    if sys.argv[1:2] == [LAUNCH]:
        launch(sys.argv[2:])
    sys.exit(main())
