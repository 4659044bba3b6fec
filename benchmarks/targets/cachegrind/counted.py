"""What Valgrind runs: it loads NumPy and ONNX Runtime alone, and gives each count a child process.

The job is `job.json` in the folder above the working folder. A child begins as a copy of this
process, opens one graph and runs it on its input, so many times; cachegrind writes a file of what
both did. Two children of the same process differ by their runs alone. `counted.json` says in the
end which child did what.

`launch` first makes addresses the same in every process, then becomes Valgrind.
"""

import ctypes
import functools
import gc
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

JOB: Final = "job.json"
LAUNCH: Final = "launch"
_FOLDER: Final = Path("..")  # of the job
RESULT: Final = "counted.json"
_PROFILE: Final = "profile"
_ASK: Final = 0xFFFFFFFF  # personality's argument that changes nothing
_ADDR_NO_RANDOMIZE: Final = 0x0040000  # in Linux's personality.h


def main() -> int:
    """Do the job; the exit status is 1 if a child fails, which says why on standard error."""
    import numpy  # noqa: F401  (before the children, so that none of them has to)
    import onnxruntime  # noqa: F401

    job = json.loads((_FOLDER / JOB).read_text(encoding="ascii"))
    gc.disable()  # it would come in some runs and not in others
    results = []
    for number, graph in enumerate(job["graphs"]):
        processes = [_child(number, functools.partial(_run, graph, runs)) for runs in job["runs"]]
        events = []
        if job["profile"]:
            _child(number, functools.partial(_run, graph, 1, _PROFILE))
            (profile,) = Path().glob(f"{_PROFILE}*")
            events = json.loads(profile.read_text(encoding="utf-8"))
            profile.unlink()
        results.append({"processes": processes, "operators": operators(events)})
    Path(RESULT).write_text(json.dumps(results), encoding="ascii")
    return 0


def launch(command: list[str]) -> None:
    """Become another program, whose addresses are not random where the system allows that.

    Some containers don't; there counts scatter a little more.
    """
    libc = ctypes.CDLL(None)
    libc.personality(libc.personality(_ASK) | _ADDR_NO_RANDOMIZE)
    os.execv(command[0], command)  # noqa: S606  (the command is nstc's own)


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


def _run(graph: dict[str, Any], runs: int, profile: str | None = None) -> None:
    """Open a graph as `nstc.runtime.onnx_session.load_graph` does on one thread, and run it."""
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    if graph["weights_once"]:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    session = onnxruntime.InferenceSession(
        str(_FOLDER / graph["file"]), options, providers=["CPUExecutionProvider"]
    )
    names = [given.name for given in session.get_inputs()]
    inputs = [numpy.load(_FOLDER / feed, allow_pickle=False) for feed in graph["feeds"]]
    feeds = dict(zip(names, inputs, strict=True))
    output = [session.get_outputs()[0].name]
    for _ in range(runs):
        session.run(output, feeds)
    if profile is not None:
        session.end_profiling()


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
