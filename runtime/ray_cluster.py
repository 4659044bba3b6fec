"""Ray: a cluster that answers within a time limit, or one on this machine for as long as needed.

Whoever distributes work opens the cluster here. Nothing imports Ray before it is asked for.
"""

import contextlib
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from nstc.core import VERSION
from nstc.core.child_processes import readable, run_to_end
from nstc.core.drafts import draft_folder
from nstc.core.errors import ClusterError, OptionError

LOCAL: Final = "local"
RUNNING: Final = "auto"
MAX_WORKERS: Final = 100_000
ANSWER_S: Final = 60.0  # that a cluster may take to answer
_MOST_STARTS: Final = 3  # on this machine: Ray gives up after 30 s, which a busy one exceeds
_OBJECT_STORE_BYTES: Final = 100_000_000  # of a local Ray: paths and outcomes, never pixels
_SHARE: Final = 0.9
"""Of a processor, which a worker of one thread asks for. Ray Data starts none of its own tasks
where its actors have taken all of them."""

_ASK: Final = """
import sys, ray
ray.init(sys.argv[1], logging_level="error")
print(ray.__version__)
"""


def is_ray_address(word: str) -> bool:
    """Whether a word is one of `connected_ray`'s addresses by its form."""
    host, _, port = word.removeprefix("ray://").rpartition(":")
    return word in {LOCAL, RUNNING} or bool(host and port.isdecimal() and "/" not in host)


@contextlib.contextmanager
def connected_ray(address: str, *, answer_s: float = ANSWER_S) -> Iterator[Any]:
    """Give the module `ray`, connected for as long as the block runs.

    A process that is connected already stays so.

    Args:
        address: `local` starts Ray on this machine and ends it after the block; `auto` takes the
            one that runs here, or that RAY_ADDRESS names; ray://HOST:PORT is a cluster's client
            server, HOST:PORT one that this machine is a node of.
        answer_s: seconds that a cluster may take to answer.

    Raises:
        OptionError: it is no address.
        ModuleNotFoundError: Ray is not installed.
        ClusterError: nothing answers there in time, or Ray does not start.
    """
    if not is_ray_address(address):
        raise OptionError(
            f"ray is {address}: expected ray://HOST:10001, HOST:PORT, auto, or no address for a "
            "Ray on this machine."
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # and no warning about it
    import ray

    if ray.is_initialized():
        yield ray
        return
    with contextlib.ExitStack() as stack:
        how: dict[str, Any] = {"logging_level": "error"}
        if address == LOCAL:
            # Ray's sockets lie in it, whose paths have at most some hundred characters.
            root = Path("/tmp") if os.name == "posix" else Path(tempfile.gettempdir())  # noqa: S108
            folder = stack.enter_context(draft_folder(root / "ray", mode=0o700))
            how |= {
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE_BYTES,
                "_temp_dir": str(folder),
            }
        else:
            _refuse_unanswered(address, answer_s)
        if not address.startswith("ray://"):
            how["log_to_driver"] = False
        _start(ray, address, how)
        stack.callback(ray.shutdown)
        yield ray


def _refuse_unanswered(address: str, answer_s: float) -> None:
    """Raise `ClusterError` if nothing answers in time.

    In a process of its own: Ray waits for some addresses without an end, and can't be interrupted.
    """
    try:
        ran = run_to_end([sys.executable, "-P", "-c", _ASK, address], timeout_s=answer_s)
        reason = "" if ran.status == 0 else readable(ran.last_words())
    except subprocess.TimeoutExpired:
        reason = f"it took longer than {answer_s:g} s"
    if reason:
        raise ClusterError(
            f"no Ray cluster answers at {address}: {reason.rstrip('.')}. Start it, or give --ray "
            "without an address for a Ray on this machine."
        )


def _start(ray: Any, address: str, how: Mapping[str, Any]) -> None:
    """Start or join Ray; `ClusterError` if that fails."""
    for tries_left in range(_MOST_STARTS - 1, -1, -1):
        try:
            ray.init(address, **how)
        except Exception as error:
            ray.shutdown()
            if address == LOCAL and tries_left:
                continue
            reason = readable(str(error) or type(error).__name__).rstrip(".")
            place = "on this machine" if address == LOCAL else f"at {address}"
            raise ClusterError(f"Ray does not start {place}: {reason}.") from error
        return


@contextlib.contextmanager
def reported_as_cluster_error(ray: Any) -> Iterator[None]:
    """Turn what Ray raises of a cluster that breaks down into a `ClusterError`."""
    try:
        yield
    # a client's lost connection is an error of Python's own
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise ClusterError(
            f"the work on Ray broke off: {reason_of(error)}. What is written is kept: run the same "
            "command again to go on."
        ) from error


def reason_of(error: Exception) -> str:
    """What Ray says, often in many lines, in a short one."""
    lines = str(error).strip().splitlines()
    return readable(lines[-1] if lines else repr(error)).rstrip(".")


def refuse_other_version(found: str) -> None:
    """Raise `ClusterError` if this is not the version of nstc here."""
    if found != VERSION:
        raise ClusterError(
            f"the cluster has nstc {found}, this machine {VERSION}: install one version."
        )


def machine_processors(ray: Any) -> list[int]:
    """Processors of each machine that the cluster has now."""
    return [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]


def refuse_too_many_threads(ray: Any, threads: int) -> None:
    """Raise `OptionError` for a worker that no machine has processors for now."""
    most = max(machine_processors(ray), default=0)
    if threads > most:
        raise OptionError(
            f"threads is {threads}: no machine of the cluster has more than {most} "
            "processors. Give fewer, or --workers for a cluster that grows."
        )


def refuse_count(name: str, value: int | None) -> None:
    """Raise `OptionError` for a number of workers or threads that is out of range."""
    if value is not None and not 1 <= value <= MAX_WORKERS:
        raise OptionError(f"{name} is {value}: expected 1 to {MAX_WORKERS}.")


def worker_processors(threads: int) -> float:
    """Processors that a worker of so many threads asks for; not all of one, see `_SHARE`."""
    return _SHARE if threads == 1 else float(threads)


def most_at_once(machines: Sequence[int], threads: int) -> int:
    """Jobs of so many threads that fit on machines of so many processors; none is divided."""
    return sum(own // threads for own in machines)


def most_workers(machines: Sequence[int], threads: int) -> int:
    """Workers of so many threads that run at once beside Ray's own tasks, at least 1."""
    most = most_at_once(machines, threads)
    is_full = threads > 1 and most * threads == sum(machines)
    return max(1, most - is_full)


def granted_threads(ray: Any) -> int:
    """Threads for this worker: the processors that Ray granted, of a share the whole."""
    granted: float = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
    return max(1, math.ceil(granted))
