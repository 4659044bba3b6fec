"""The training loop that every verb shares: schedule, precision, checkpoints, resume."""

import contextlib
import json
import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nstc.compress.checkpoint import (
    CHECKPOINT_FILE,
    PLAN_FILE,
    Remembers,
    Weights,
    restore_checkpoint,
    save_checkpoint,
)
from nstc.compress.loss_curves import read_line
from nstc.compress.optimisers import GradientClipper, Method, Optimiser
from nstc.compress.processes import Processes, alone
from nstc.core.bundle import refuse_unwritable_bundle
from nstc.core.decoding import DecodingError, as_readable
from nstc.core.errors import DivergedError, Interrupted, OutputError
from nstc.core.files import atomic_file, reported_as_output_error
from nstc.core.progress import Progress, Silent

LOSSES_FILE = "losses.jsonl"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast to learn.

    Attributes:
        steps: Number of optimiser steps.
        learning_rate: Peak of the cosine.
        warmup: Steps of linear rise before it.
        checkpoint_every: Steps between checkpoints.
        method: See `nstc.compress.optimisers.Optimiser`.
    """

    steps: int
    learning_rate: float
    warmup: int = 50
    checkpoint_every: int = 100
    method: Method = "adam"

    def saves_at(self, finished: int) -> bool:
        """Whether a checkpoint is due after so many steps."""
        return finished % self.checkpoint_every == 0 or finished == self.steps

    def rate(self, step: int) -> float:
        """The learning rate at a step: linear warm-up, then half a cosine down to zero."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


Objective = Callable[[int], Mapping[str, Tensor]]
"""From a step's number to weighted loss terms, each a scalar; their sum is minimised.

All randomness must come from the step's number and a seed, so that a resumed run repeats it.
"""


def optimise(
    network: nn.Module,
    objective: Objective,
    schedule: Schedule,
    *,
    title: str,
    folder: Path,
    resume: bool,
    identity: Mapping[str, Any],
    progress: Progress,
    after_step: Callable[[int], None] | None = None,
    rate_scales: Mapping[str, float] | None = None,
    companions: Mapping[str, Remembers] | None = None,
    figures: Callable[[], Mapping[str, float]] | None = None,
    processes: Processes | None = None,
) -> None:
    """Minimise an objective with clipped gradients, in place.

    Args:
        network: Trained in place; its parameters with `requires_grad` are learned.
        objective: See `Objective`.
        schedule: Steps and learning rate.
        title: What the progress bar says.
        folder: Where the checkpoint and the losses go while training.
        resume: Go on from the checkpoint in `folder`, if there is one.
        identity: What makes this run this run; a checkpoint of another one is refused.
        progress: Told of every step.
        after_step: Called with the number of finished steps, for previews.
        rate_scales: Parameter name prefixes to a factor on the learning rate.
        companions: What else learns, by names of its own: checkpoints hold it too.
        figures: Asked after each step for numbers to report beside the losses.
        processes: Those that share the work, each with its own part of every batch.

    Raises:
        DivergedError: the loss or a weight is infinite or not a number.
        Interrupted: the user pressed Ctrl-C; a checkpoint holds everything up to the last step,
            or up to the last checkpoint if Ctrl-C was pressed twice.
        OptionError: the checkpoint belongs to other settings.
        CorruptBundleError: the checkpoint is damaged.
        OutputError: `folder` can't be written.
    """
    processes = processes or alone()
    optimiser = Optimiser(_parameter_groups(network, rate_scales or {}), schedule.method)
    clipper = GradientClipper()
    parts: dict[str, Remembers] = {
        "network": Weights(network),
        "optimiser": optimiser,
        "clipper": clipper,
        **(companions or {}),
    }
    checkpoint = folder / CHECKPOINT_FILE
    done = 0
    if resume and checkpoint.exists():
        done = restore_checkpoint(checkpoint, parts, identity=identity)
    elif processes.leads:
        _start_afresh(folder)
    reporter = progress if processes.leads else Silent()
    reporter.begin(title, schedule.steps, done)
    saved = done
    try:
        with _interruptible() as stop_requested, _loss_log(folder, done, processes) as log:
            for step in range(done, schedule.steps):
                values = _learn(optimiser, clipper, objective, schedule, step, title, processes)
                values |= figures() if figures is not None else {}
                log(step, values)
                finished = step + 1
                reporter.advance(finished, values)
                if after_step is not None:
                    after_step(finished)
                stopping = processes.any(stop_requested())
                if stopping or schedule.saves_at(finished):
                    _refuse_infinite_weights(network, title, finished)
                    if processes.leads:
                        save_checkpoint(checkpoint, parts, step=finished, identity=identity)
                    saved = finished
                if stopping:
                    raise _interrupted(title, finished, schedule.steps, resumed=resume)
    except KeyboardInterrupt as second:
        raise _interrupted(title, saved, schedule.steps, resumed=resume) from second


def training_folder(output: Path) -> Path:
    """Where a run that will write a bundle keeps its checkpoints: `OUTPUT.training` beside it.

    Raises:
        OutputError: either of the two can't be written; nothing was.
    """
    refuse_unwritable_bundle(output)
    folder = output.with_name(f"{output.name}.training")
    if folder.exists() and not folder.is_dir():
        raise OutputError(
            f"cannot write checkpoints to {folder}: it is a file. Move it, or name another output."
        )
    return folder


def note_what_is_resumed(output: Path, progress: Progress) -> None:
    """Say so if no interrupted run that was to write this bundle left anything to go on from.

    Raises:
        OutputError: see `training_folder`.
    """
    folder = training_folder(output)
    if not any(any(folder.rglob(name)) for name in (CHECKPOINT_FILE, PLAN_FILE)):
        progress.note(f"nothing to resume at {folder}: starting from the beginning")


def forget(folder: Path) -> None:
    """Delete the checkpoint that `optimise` keeps in a folder; the losses stay."""
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)


def mixed_precision(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bf16 autocast where the hardware multiplies bf16, full precision elsewhere."""
    if device.type == "cuda":
        return torch.autocast("cuda", dtype=torch.bfloat16)
    fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=bool(fast))


def _learn(
    optimiser: Optimiser,
    clipper: GradientClipper,
    objective: Objective,
    schedule: Schedule,
    step: int,
    title: str,
    processes: Processes,
) -> dict[str, float]:
    """Make one step and give the values of the loss terms before it."""
    optimiser.set_rate(schedule.rate(step))
    terms = objective(step)
    stacked = torch.stack(list(terms.values()))
    values = processes.mean(stacked)
    if not torch.isfinite(values.sum()):
        raise _diverged(title, f"the loss became {values.sum().item()}", step)
    optimiser.zero_grad()
    stacked.sum().backward()  # type: ignore[no-untyped-call]
    clipper.clip(optimiser.parameters)
    optimiser.step()
    return dict(zip(terms, values.tolist(), strict=True))


def _refuse_infinite_weights(network: nn.Module, title: str, finished: int) -> None:
    """A finite loss can have an infinite gradient: no such step is kept, the last one neither."""
    for name, parameter in network.named_parameters():
        if not torch.isfinite(parameter).all():
            raise _diverged(title, f"{name} became infinite or not a number", finished)


def _diverged(title: str, what: str, step: int) -> DivergedError:
    return DivergedError(
        f"{title}: {what} at step {step}. Lower the learning rate and start again, "
        "without --resume."
    )


def _interrupted(title: str, saved: int, steps: int, *, resumed: bool) -> Interrupted:
    if saved == 0:
        return Interrupted(f"{title} stopped before its first checkpoint: nothing is kept of it.")
    again = "again" if resumed else "with --resume"
    return Interrupted(
        f"{title} stopped, step {saved} of {steps} is kept. Run the same command {again} to go on."
    )


def _start_afresh(folder: Path) -> None:
    """Make the folder; a checkpoint of an earlier run in it must not be taken for this one's."""
    with reported_as_output_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
        forget(folder)


def _parameter_groups(network: nn.Module, scales: Mapping[str, float]) -> list[dict[str, Any]]:
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            scale = next((s for prefix, s in scales.items() if name.startswith(prefix)), 1.0)
            groups.setdefault(scale, []).append(parameter)
    return [{"params": members, "scale": scale} for scale, members in groups.items()]


@contextlib.contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Let the step in hand finish on the first Ctrl-C; a second one interrupts at once."""
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
        for number in _STOP_SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN  # as whoever started this run wants it
    }
    try:
        yield requested.is_set
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def _loss_log(
    folder: Path, done: int, processes: Processes
) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """A file of a line a step, continued after the steps that a checkpoint holds."""
    if not processes.leads:
        yield lambda _step, _losses: None
        return
    path = folder / LOSSES_FILE
    with atomic_file(path) as draft:
        draft.write_bytes(b"".join(_lines_of_steps_before(done, path)))

    def write(step: int, losses: Mapping[str, float]) -> None:
        rounded = {name: round(value, 5) for name, value in losses.items()}
        with reported_as_output_error(path):
            stream.write((json.dumps(as_readable({"step": step, **rounded})) + "\n").encode())

    # Unbuffered: on a full disk what a buffer still holds would fail again as the file is closed.
    with path.open("ab", buffering=0) as stream:
        yield write


def _lines_of_steps_before(done: int, path: Path) -> list[bytes]:
    """Lines of the steps that are not made again; a killed run logs more than it checkpoints."""
    if not path.is_file():
        return []
    with reported_as_output_error(path):
        lines = path.read_bytes().splitlines(keepends=True)
    numbered = ((_step_of(line), line) for line in lines)
    return [line for step, line in numbered if step is not None and step < done]


def _step_of(line: bytes) -> int | None:
    try:
        return int(read_line(line)["step"])
    except DecodingError:
        return None  # the line that was being written when the run was killed
