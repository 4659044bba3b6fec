"""Time on an NVIDIA GPU, by its own events, and a GPU that does not doze off between turns."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import torch

from nstc.benchmarks.latency import Clock, Run

EVENT_TICK_NS: Final = 1000
"""CUDA's events resolve about half a microsecond."""

_SIDE: Final = 1024


class Cuda(Protocol):
    """What is used of `torch.cuda`."""

    def Event(self, *, enable_timing: bool) -> Any:  # noqa: N802  (torch's name)
        """A point in the GPU's own time."""

    def synchronize(self) -> None:
        """Wait until the GPU has nothing left to do."""


def keep_warm(seconds: float) -> None:
    """Multiply matrices for so long: an idle GPU lowers its frequency within milliseconds."""
    matrix = torch.ones((_SIDE, _SIDE), device="cuda", dtype=torch.float16)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        torch.mm(matrix, matrix)
        torch.cuda.synchronize()


@dataclass(frozen=True)
class CudaClock(Clock):
    """Times runs by CUDA events, which do not count what Python takes to start them.

    Attributes:
        sleep: Keeps the GPU busy for some seconds.
        tick_ns: Of the events.
        cuda: `torch.cuda`.
    """

    sleep: Callable[[float], None] = keep_warm
    tick_ns: int = EVENT_TICK_NS
    cuda: Cuda = field(default_factory=lambda: torch.cuda)

    def timed_ms(self, run: Run, runs: int = 1) -> float:
        """Milliseconds of one run on the GPU, the mean of as many in a row.

        A session that waits for the GPU itself, as ONNX Runtime's does, is timed by the same two
        events: the second is not recorded before it comes back.
        """
        start, end = (self.cuda.Event(enable_timing=True) for _ in range(2))
        self.cuda.synchronize()
        start.record()
        for _ in range(runs):
            run()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / runs
