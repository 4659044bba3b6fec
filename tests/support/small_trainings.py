"""A training that takes no time, and what it leaves."""

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nstc.compress.learning.logs import LOSSES_FILE
from nstc.compress.learning.loop import CHECKPOINT_FILE, Optimisation
from nstc.compress.learning.optimisers import Schedule
from nstc.core import Silent
from nstc.core.errors import Interrupted
from nstc.core.recipe import DistillRecipe

SCHEDULE = Schedule(steps=8, learning_rate=0.05, warmup=2, checkpoint_every=3)
IDENTITY = {"seed": 0, "photos": "abc"}

TINY = DistillRecipe(
    width=16,
    blocks=1,
    pixel_steps=3,
    steps=3,
    size=64,
    perceptual_size=32,
    batch=1,
    perceptual_batch=1,
    balance=False,
)


def fresh_network() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)).train()


def objective_of(network: nn.Module, fail_at: Mapping[int, Any] | None = None):
    """Brings outputs to 1 on noise drawn by the step's number; `fail_at` acts at some steps."""

    def objective(step: int) -> Mapping[str, Tensor]:
        if fail_at and step in fail_at:
            fail_at[step]()
        noise = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(step))
        distance = (network(noise) - 1).square().mean()
        return {"near": 2 * distance, "far": 0.5 * distance}

    return objective


def run(network: nn.Module, folder: Path, **options: Any) -> None:
    given = {
        "title": "learn",
        "folder": folder,
        "resume": False,
        "identity": IDENTITY,
        "progress": Silent(),
        **options,
    }
    fail_at = given.pop("fail_at", None)
    schedule = given.pop("schedule", SCHEDULE)
    objective = given.pop("objective", None) or objective_of(network, fail_at)
    Optimisation(network=network, objective=objective, schedule=schedule, **given).run()


def stopped_run(folder: Path, step: int = 4, **options: Any) -> Path:
    """The checkpoint of a run that Ctrl-C stopped in a step."""
    ctrl_c = {step: lambda: signal.raise_signal(signal.SIGINT)}
    with pytest.raises(Interrupted):
        run(fresh_network(), folder, fail_at=ctrl_c, **options)
    return folder / CHECKPOINT_FILE


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(k1 == k2 and torch.equal(v1, v2) for (k1, v1), (k2, v2) in pairs)


def steps_logged(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / LOSSES_FILE).read_text().splitlines()]


def losses_of(output: Path, stage: str) -> list[dict[str, float]]:
    """The lines of a stage's loss file, of a run that writes a bundle."""
    log = output.with_name(f"{output.name}.training") / stage / LOSSES_FILE
    return [json.loads(line) for line in log.read_text().splitlines()]


def checkpoints_of(output: Path) -> list[str]:
    """The stages of such a run that have a checkpoint."""
    folder = output.with_name(f"{output.name}.training")
    return sorted(path.parent.name for path in folder.rglob(CHECKPOINT_FILE))
