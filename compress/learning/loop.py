"""The training loop that every verb shares: steps, checkpoints, how runs resume, and processes.

`torchrun` starts the processes that share a training; otherwise this one is alone. Every process
holds the same weights and computes its own part of each batch; torch's DistributedDataParallel
averages the gradients.
"""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from nstc.compress.learning import logs, optimisers
from nstc.core import Progress, Silent, bundle, errors, files
from nstc.models.tensors import best_device, refuse_unsafe_header, save_state

CHECKPOINT_FILE: Final = "checkpoint.safetensors"
PLAN_FILE: Final = "plan.json"  # what was decided beforehand: what to prune, steps in a time


class Stateful(Protocol):
    """A part of a training that checkpoints hold, with the methods of `nn.Module`."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """What a checkpoint must hold of it."""

    def load_state_dict(self, state: Mapping[str, Tensor], /) -> object:
        """Continue from `state`; a KeyError, ValueError or RuntimeError means it is another's."""


class Balance(Stateful, Protocol):
    """What weighs the terms of a loss by measurements."""

    def figures(self) -> Mapping[str, float]:
        """For the log of each step."""


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
        """Indices in a batch that this process computes; `OptionError` if they can't be shared."""
        if batch % self.count:
            raise errors.OptionError(
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

    If it fails there, `NstcError` is raised in the others.
    """
    done = False
    try:
        yield
        done = True
    finally:
        failed = processes.any(not done)
    if failed:
        raise errors.NstcError("the process that leads could not go on; its own message says why.")


# From a step's number to weighted loss terms, each a scalar; their sum is minimised. All randomness
# must come from the step's number and a seed, so that a resumed run repeats it.
Objective = Callable[[int], Mapping[str, Tensor]]


@dataclass(kw_only=True)
class Optimisation:
    """Minimises an objective with clipped gradients, in place."""

    network: nn.Module  # its parameters with `requires_grad` are learned
    objective: Objective  # see `Objective`
    schedule: optimisers.Schedule  # steps and learning rate
    title: str  # what the progress bar says
    folder: Path  # for the checkpoint and the losses
    resume: bool  # continue from the checkpoint in `folder`, if there is one
    identity: Mapping[str, Any]  # settings of this run; a checkpoint of others is refused
    progress: Progress
    # Called with the number of finished steps, for previews.
    after_step: Callable[[int], None] | None = None
    average: optimisers.AveragedWeights | None = None  # of the network; updated after every step
    # Parameter name prefixes to a factor on the learning rate.
    rate_scales: Mapping[str, float] = field(default_factory=dict)
    balance: Balance | None = None  # of the losses
    # Those that share the work, each with its own part of every batch.
    processes: Processes = field(default_factory=Processes)

    def __post_init__(self) -> None:
        """Set up the optimiser, and collect what a checkpoint holds."""
        scaled = []
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                scales = (s for prefix, s in self.rate_scales.items() if name.startswith(prefix))
                scaled.append((parameter, next(scales, 1.0)))
        self.optimiser = optimisers.Optimiser(scaled, self.schedule.method)
        self.clipper = optimisers.GradientClipper()
        self.parts: dict[str, Stateful] = {
            "network": self.network,
            "optimiser": self.optimiser,
            "clipper": self.clipper,
        }
        if self.balance is not None:
            self.parts["balance"] = self.balance
        if self.average is not None:
            self.parts["average"] = self.average

    def run(self) -> None:
        """Make all steps that are left.

        Raises:
            DivergedError: the loss or a weight is infinite or not a number.
            Interrupted: the user pressed Ctrl-C; a checkpoint holds everything up to the last step,
                or up to the last checkpoint if Ctrl-C was pressed twice.
            OptionError: the checkpoint belongs to other settings.
            CorruptBundleError: the checkpoint is damaged.
            OutputError: `folder` can't be written.
        """
        checkpoint, leads = self.folder / CHECKPOINT_FILE, self.processes.leads
        done = 0
        if self.resume and checkpoint.exists():
            done = restore_checkpoint(checkpoint, self.parts, identity=self.identity)
        elif leads:
            # Resuming must not find the checkpoint of an earlier run.
            with files.reported_as_output_error(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                forget(self.folder)
        reporter = self.progress if leads else Silent()
        reporter.begin(self.title, self.schedule.steps, done)
        saved = done
        try:
            with _interruptible() as stop_requested, logs.loss_log(self.folder, done, leads) as log:
                for step in range(done, self.schedule.steps):
                    values = self.learn(step)
                    log(step, values)
                    finished = step + 1
                    reporter.advance(finished, values)
                    if self.after_step is not None:
                        self.after_step(finished)
                    stopping = self.processes.any(stop_requested())
                    if stopping or self.schedule.saves_at(finished):
                        self.refuse_infinite_weights(finished)
                        if leads:
                            save_checkpoint(
                                checkpoint, self.parts, step=finished, identity=self.identity
                            )
                        saved = finished
                    if stopping:
                        raise self._interrupted(finished)
        except KeyboardInterrupt as second:
            raise self._interrupted(saved) from second

    def learn(self, step: int) -> dict[str, float]:
        """Make one step and give the values of the loss terms before it, and the figures."""
        self.optimiser.set_rate(self.schedule.rate(step))
        terms = self.objective(step)
        stacked = torch.stack(list(terms.values()))
        values = self.processes.mean(stacked)
        if not torch.isfinite(values.sum()):
            raise self._diverged(f"the loss became {values.sum().item()}", step)
        self.optimiser.zero_grad()
        stacked.sum().backward()  # type: ignore[no-untyped-call]
        if self.schedule.method != "lbfgs":  # whose steps come from how gradients change
            self.clipper.clip(self.optimiser.parameters)
        self.optimiser.step(float(values.sum()))
        if self.average is not None:
            self.average.update()
        figures = {} if self.balance is None else self.balance.figures()
        return {**dict(zip(terms, values.tolist(), strict=True)), **figures}

    def refuse_infinite_weights(self, finished: int) -> None:
        """Raise `DivergedError` for weights that are: a finite loss can have a NaN gradient."""
        for name, parameter in self.network.named_parameters():
            if not torch.isfinite(parameter).all():
                raise self._diverged(f"{name} became infinite or not a number", finished)

    def _diverged(self, what: str, step: int) -> errors.DivergedError:
        return errors.DivergedError(
            f"{self.title}: {what} at step {step}. Lower the learning rate and start again, "
            "without --resume."
        )

    def _interrupted(self, saved: int) -> errors.Interrupted:
        if saved == 0:
            return errors.Interrupted(
                f"{self.title} stopped before its first checkpoint: nothing is kept of it."
            )
        again = "again" if self.resume else "with --resume"
        return errors.Interrupted(
            f"{self.title} stopped, step {saved} of {self.schedule.steps} is kept. "
            f"Run the same command {again} to go on."
        )


def training_folder(output: Path) -> Path:
    """Where a run that will write a bundle keeps its checkpoints: `OUTPUT.training` beside it.

    `OutputError` if one of the two can't be written; neither was touched.
    """
    bundle.refuse_unwritable_bundle(output)
    return checkpoint_folder(output)


def checkpoint_folder(output: Path) -> Path:
    """As `training_folder`, of an output that may be more than one bundle and is not looked at."""
    folder = output.with_name(f"{output.name}.training")
    if folder.exists() and not folder.is_dir():
        raise errors.OutputError(
            f"cannot write checkpoints to {folder}: it is a file. Move it, or name another output."
        )
    return folder


def note_what_is_resumed(
    output: Path, progress: Progress, kept: Sequence[str] = (CHECKPOINT_FILE,)
) -> None:
    """Report it if an interrupted run that was to write this output left no file of these names."""
    folder = checkpoint_folder(output)
    if not any(any(folder.rglob(name)) for name in kept):
        progress.note(f"nothing to resume at {folder}: starting from the beginning")


def forget(folder: Path) -> None:
    """Delete a folder's checkpoint; the losses stay."""
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)


@contextlib.contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Let the current step finish on the first Ctrl-C; a second one interrupts at once."""
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return

    def on_interrupt(number: int, _frame: object) -> None:
        if requested.is_set():
            raise KeyboardInterrupt(number)
        requested.set()

    previous = {
        number: signal.signal(number, on_interrupt)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN  # as whoever started this run wants it
    }
    try:
        yield requested.is_set
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def save_checkpoint(
    path: Path, parts: Mapping[str, Stateful], *, step: int, identity: Mapping[str, Any]
) -> None:
    """Write the state of a training after `step` steps, or leave what was there: `OutputError`."""
    tensors = {
        f"{name}.{key}": value  # the name has no dot
        for name, part in parts.items()
        for key, value in part.state_dict().items()
    }
    tensors["step"] = torch.tensor(step)
    written_by = bytearray(json.dumps(identity, sort_keys=True).encode())
    tensors["identity"] = torch.frombuffer(written_by, dtype=torch.uint8)
    with files.atomic_file(path) as draft:
        save_state(tensors, draft)


def restore_checkpoint(
    path: Path, parts: Mapping[str, Stateful], *, identity: Mapping[str, Any]
) -> int:
    """Load the states of the parts, and give the number of finished steps.

    `CorruptBundleError` if the file is damaged, or not a checkpoint of such parts; `OptionError` if
    it belongs to a run of another identity.
    """
    try:
        refuse_unsafe_header(path)
        with files.as_utf8(path) as file, safe_open(file, framework="pt") as stored:
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        written_by = bytes(tensors.pop("identity").numpy())
        step = int(tensors.pop("step"))
        if written_by != json.dumps(identity, sort_keys=True).encode():
            raise errors.OptionError(
                f"{path} belongs to a run with other settings: repeat those, delete the file to "
                "begin this stage anew, or run without --resume to start afresh."
            )
        for name, part in parts.items():
            own = {k: v for k, v in tensors.items() if k.startswith(f"{name}.")}
            part.load_state_dict({k.partition(".")[2]: v for k, v in own.items()})
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise errors.CorruptBundleError(
            f"{path} is damaged or not a checkpoint: run again without --resume to start afresh "
            f"({str(error).partition(chr(10))[0]})."
        ) from error
    return step
