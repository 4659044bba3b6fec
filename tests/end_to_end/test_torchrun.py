"""`torchrun -m nstc train` beside `nstc train`, stopped once and resumed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from nstc.compress.learning.logs import LOSSES_FILE
from nstc.compress.learning.loop import CHECKPOINT_FILE
from nstc.core.bundle import WEIGHTS_FILE, new_bundle
from nstc.core.images import Picture, write_picture
from nstc.core.manifest import Manifest
from nstc.models.architectures import describe
from nstc.models.tensors import save_tensors
from nstc.models.transformer import TransformerNet

pytestmark = pytest.mark.slow

PATIENCE_S = 600


def losses(folder: Path) -> list[dict[str, float]]:
    path = folder / LOSSES_FILE
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def arguments(folder: Path, output: Path, steps: int) -> list[str]:
    """Of a training of a tiny network on the sample photographs."""
    torch.manual_seed(3)
    network = TransformerNet((8, 8, 8), (), (8, 8))
    network.prepare_for_training()
    architecture, contract = describe(network)
    manifest = Manifest(name="tiny", stage="trained", architecture=architecture, contract=contract)
    with new_bundle(folder / "start", manifest) as draft:
        save_tensors(network.state_dict(), draft / WEIGHTS_FILE)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (32, 256, 3), dtype=np.uint8)
    write_picture(folder / "noise.png", Picture(rgb=noise))
    text = (
        f"train --style {folder / 'noise.png'} --init {folder / 'start'} -o {output} "
        f"--steps {steps} --size 64 --batch 2 --style-size 128 --balance 4 --ema 0.9"
    )
    return text.split()


def two(given: Sequence[str]) -> subprocess.Popen[str]:
    run = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "nstc"]
    return subprocess.Popen(
        [sys.executable, "-m", *run, *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
    )


def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    alone = [sys.executable, "-m", "nstc", *arguments(tmp_path, tmp_path / "alone", 6)]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(alone, check=True, capture_output=True, timeout=PATIENCE_S, env=hidden)
    process = two(arguments(tmp_path, tmp_path / "both", 6))
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert out.count("wrote ") == 1
    expected, found = losses(tmp_path / "alone.training"), losses(tmp_path / "both.training")
    assert len(found) == 6
    for name in ("style", "content", "tv", "balance"):
        # bf16 rounds a batch of one and a batch of two differently.
        assert found[0][name] == pytest.approx(expected[0][name], rel=2e-3)
        assert found[-1][name] == pytest.approx(expected[-1][name], rel=5e-2)


def test_ctrl_c_stops_both_with_a_checkpoint_and_they_resume(tmp_path: Path) -> None:
    given = arguments(tmp_path, tmp_path / "net", 60)
    folder = tmp_path / "net.training"
    process = two(given)
    started = time.monotonic()
    while len(losses(folder)) < 3:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() - started < PATIENCE_S
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert (folder / CHECKPOINT_FILE).is_file()
    done = len(losses(folder))
    assert done < 60

    resumed = two([*given, "--resume"])
    _, err = resumed.communicate(timeout=PATIENCE_S)
    assert resumed.returncode == 0, err
    assert f"{done} done before" in err
    assert [line["step"] for line in losses(folder)] == list(range(60))
