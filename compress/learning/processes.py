"""The processes that share a training, started by `torchrun`, or this one alone.

Every process holds the same weights and computes its own part of each batch; torch's
DistributedDataParallel averages the gradients.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nstc.core.errors import NstcError, OptionError


def best_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class Processes:
    """A training's processes, from the view of one of them; by default it is the only one."""

    device: torch.device = field(default_factory=best_device)  # where this process computes
    rank: int = 0  # its number
    count: int = 1  # how many there are

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.rank == 0

    def share_of(self, batch: int) -> range:
        """The indices in a batch that this process computes, as many as every other.

        Raises:
            OptionError: the batch can't be divided equally.
        """
        if batch % self.count:
            raise OptionError(
                f"batch is {batch}, which {self.count} processes can't share equally: "
                f"give a multiple of {self.count}."
            )
        each = batch // self.count
        return range(self.rank * each, (self.rank + 1) * each)

    def synchronised(self, network: nn.Module) -> nn.Module:
        """The network, with its gradients averaged over all processes."""
        if self.count == 1:
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=devices)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of a small tensor over all processes, on the CPU."""
        if self.count == 1:
            return values.detach().cpu()
        total = values.detach().to(self.device, copy=True)
        dist.all_reduce(total)
        return total.cpu() / self.count

    def any(self, flag: bool) -> bool:
        """Whether the flag is true in any process."""
        return bool(self.mean(torch.tensor(float(flag))) > 0)


def mixed_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bf16 autocast where the hardware multiplies bf16, full precision elsewhere."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=bool(fast))


def leads_here() -> bool:
    """Whether this process leads, by `torchrun`'s variables, before it has joined."""
    return os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def joined() -> Iterator[Processes]:
    """Join the other processes if `torchrun` started this one, and leave them afterwards."""
    given = os.environ
    count = int(given.get("WORLD_SIZE", "1"))
    if count == 1 or "RANK" not in given:
        yield Processes()
        return
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(given.get("LOCAL_RANK", "0"))) if on_gpu else best_device()
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Processes(device, int(given["RANK"]), count)
    finally:
        dist.destroy_process_group()


@contextlib.contextmanager
def led(processes: Processes) -> Iterator[None]:
    """The others wait while the process that leads executes the block, guarded by `leads`.

    Raises:
        NstcError: in the others, where the block failed in the one that leads.
    """
    done = False
    try:
        yield
        done = True
    finally:
        failed = processes.any(not done)
    if failed:
        raise NstcError("the process that leads could not go on; its own message says why.")
