"""Checkpoints of pytorch/examples' fast_neural_style as bundles."""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from example_checkpoints import NORMS
from safetensors.torch import save_file
from torch import Tensor

from nstc.compress.distillation.teachers import TeacherOptions, open_teacher
from nstc.compress.importing.import_model import import_checkpoint, network_of_checkpoint
from nstc.core import Silent
from nstc.core.bundle import STYLE_FILE, open_bundle
from nstc.core.errors import (
    CheckpointError,
    ImageError,
    OptionError,
)
from nstc.core.files import sha256_of
from nstc.core.images import read_picture
from nstc.models.architectures import load
from nstc.models.style import statistics_of_painting, style_of
from nstc.models.vgg import load_vgg

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def examples_forward(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """What the network of pytorch/examples computes, written as plain functions.

    Args:
        state: Its weights.
        images: (N, 3, H, W) from 0 to 255; the result likewise.
    """

    def conv(x: Tensor, name: str, stride: int = 1, upsample: int = 1) -> Tensor:
        weight = state[f"{name}.conv2d.weight"]
        if upsample > 1:
            x = F.interpolate(x, mode="nearest", scale_factor=float(upsample))
        border = weight.shape[-1] // 2
        x = F.pad(x, (border, border, border, border), mode="reflect")
        return F.conv2d(x, weight, state[f"{name}.conv2d.bias"], stride=stride)

    def norm(x: Tensor, name: str) -> Tensor:
        mean = x.mean(dim=(2, 3), keepdim=True)
        variance = x.var(dim=(2, 3), keepdim=True, unbiased=False)
        weight = state[f"{name}.weight"][None, :, None, None]
        bias = state[f"{name}.bias"][None, :, None, None]
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    x = F.relu(norm(conv(images, "conv1"), "in1"))
    x = F.relu(norm(conv(x, "conv2", stride=2), "in2"))
    x = F.relu(norm(conv(x, "conv3", stride=2), "in3"))
    for i in range(1, 6):
        y = F.relu(norm(conv(x, f"res{i}.conv1"), f"res{i}.in1"))
        x = norm(conv(y, f"res{i}.conv2"), f"res{i}.in2") + x
    x = F.relu(norm(conv(x, "deconv1", upsample=2), "in4"))
    x = F.relu(norm(conv(x, "deconv2", upsample=2), "in5"))
    return conv(x, "deconv3")


def with_running_statistics(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As checkpoints from before torch 0.4 carry them: never used, and not the pictures' own."""
    old = dict(state)
    for name, channels in NORMS.items():
        old[f"{name}.running_mean"] = torch.full((channels,), 3.0)
        old[f"{name}.running_var"] = torch.full((channels,), 7.0)
        old[f"{name}.num_batches_tracked"] = torch.tensor(5)
    return old


def listing(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    "variant",
    [
        lambda state: state,
        with_running_statistics,
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"epoch": 2, "state_dict": dict(state)},
        lambda state: {key: value.double() for key, value in state.items()},
    ],
    ids=["as it is", "old", "data parallel", "nested", "double"],
)
@FORMATS
def test_the_bundle_computes_what_the_checkpoint_did(
    state: dict[str, Tensor], tmp_path: Path, variant: Callable[..., Any], zipped: bool
) -> None:
    path = tmp_path / "candy.model"
    torch.save(variant(state), path, _use_new_zipfile_serialization=zipped)
    import_checkpoint(path, tmp_path / "candy")
    images = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wanted = examples_forward(state, images * 255) / 255
        given = load(tmp_path / "candy")(images)
    assert wanted.std() > 0.05, "a flat picture would compare nothing"
    assert (given - wanted).abs().max() < 1e-3


def test_the_manifest_says_where_it_came_from(checkpoint: Path, tmp_path: Path) -> None:
    bundle = import_checkpoint(checkpoint, tmp_path / "candy", name="Candy")
    manifest = open_bundle(tmp_path / "candy").manifest
    assert (bundle.name, manifest.stage, manifest.style) == ("Candy", "imported", None)
    assert manifest.parent is not None
    assert manifest.parent.name == "candy.pth"
    assert manifest.parent.sha256 == sha256_of(checkpoint)
    assert manifest.parent.path == str(checkpoint)
    assert [step.verb for step in manifest.history] == ["import"]
    assert manifest.contract.locality == "global"
    assert import_checkpoint(checkpoint, tmp_path / "other").name == "other"


def test_a_painting_brings_its_statistics(checkpoint: Path, painting: Path, tmp_path: Path) -> None:
    bundle = import_checkpoint(checkpoint, tmp_path / "c", style=painting, credit="Anon, 1900")
    style = bundle.manifest.style
    assert style is not None
    assert (style.name, style.source, style.credit) == ("stripes", "painting", "Anon, 1900")
    kept = style_of(bundle)
    assert kept is not None
    wanted = statistics_of_painting(read_picture(painting).rgb, load_vgg(), [512]).grams[512]
    for layer, gram in wanted.items():
        error = (kept.grams[512][layer] - gram).norm() / gram.norm()
        assert error < 1e-2, layer


def test_without_a_painting_there_are_none(checkpoint: Path, tmp_path: Path) -> None:
    assert STYLE_FILE not in import_checkpoint(checkpoint, tmp_path / "c").manifest.files


def test_a_painting_that_cannot_be_read_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"missing\.png"):
        import_checkpoint(checkpoint, tmp_path / "c", style=tmp_path / "missing.png")
    assert listing(tmp_path) == {"candy.pth"}


def behind(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{key}": value for key, value in state.items()}


VGG = {"vgg.slice1.0.weight": torch.zeros(64, 3, 3, 3)}

SAVED: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str | None]] = {
    "alone": (lambda s: s, None),
    "training run": (
        lambda s: {"epoch": 3, "model_state_dict": s, "loss": 1.5},
        "is read as the weights behind model_state_dict",
    ),
    "compiled, parallel, wrapped": (
        lambda s: {"net": {"state": behind("module._orig_mod.generator.", s)}},
        "is read as the weights behind net.state.module._orig_mod.generator",
    ),
    "lightning": (
        lambda s: {"state_dict": {**behind("transformer.", s), **VGG}},
        "is read as the weights behind state_dict.transformer; left aside: state_dict.vgg",
    ),
    "beside a vgg": (
        lambda s: {**s, **VGG, "step": torch.tensor(7)},
        "is read as the weights of the file itself; left aside: vgg",
    ),
    "of two networks": (
        lambda s: {"netD": {"conv1.weight": torch.zeros(3)}, "netG": s},
        "is read as the weights behind netG; left aside: netD",
    ),
    "averaged": (
        lambda s: {"params": {k: v + 1 for k, v in s.items()}, "params_ema": s},
        "is read as the weights behind params_ema, which are averaged ones; "
        "--key takes params instead",
    ),
    "twice": (
        lambda s: {"model": s, "checkpoint": dict(s)},
        "is read as the weights behind model, which checkpoint repeats",
    ),
    "by module": (
        lambda s: {
            "conv1": {"conv2d": {k[13:]: v for k, v in s.items() if k.startswith("conv1.")}},
            **{k: v for k, v in s.items() if not k.startswith("conv1.")},
        },
        None,
    ),
    "with harmless objects": (
        lambda s: {
            "model": s,
            "loss": np.float64(0.5),
            "seed": np.arange(3),
            "args": argparse.Namespace(out=Path("runs"), rates=defaultdict(list, a=[1])),
        },
        "is read as the weights behind model",
    ),
}


@pytest.mark.parametrize("case", SAVED)
def test_weights_are_found_where_scripts_put_them(
    state: dict[str, Tensor], tmp_path: Path, case: str
) -> None:
    wrapped, note = SAVED[case]
    torch.save(wrapped(state), tmp_path / "net.pth")
    network, part = network_of_checkpoint(tmp_path / "net.pth")
    assert part.note == note
    taken = network.state_dict()
    assert taken.keys() == state.keys()
    assert all(torch.equal(taken[key], value) for key, value in state.items())


def test_safetensors_are_read(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(behind("net.", state), tmp_path / "net.safetensors")
    network, part = network_of_checkpoint(tmp_path / "net.safetensors")
    assert (part.key, part.note) == ("net", "is read as the weights behind net")
    kept = network.state_dict()
    assert all(torch.equal(kept[key], value) for key, value in state.items())


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8 are Linux's alone")
@pytest.mark.parametrize("name", ["caf\udce9.safetensors", "caf\udce9/net.safetensors"])
def test_safetensors_are_read_whose_name_is_not_utf8(
    state: dict[str, Tensor], tmp_path: Path, name: str
) -> None:
    save_file(state, tmp_path / "net")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / "net").rename(tmp_path / name)
    kept = network_of_checkpoint(tmp_path / name)[0].state_dict()
    assert all(torch.equal(kept[key], value) for key, value in state.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(
    state: dict[str, Tensor], tmp_path: Path, dtype: torch.dtype
) -> None:
    torch.save({key: value.to(dtype) for key, value in state.items()}, tmp_path / "net.pth")
    kept = network_of_checkpoint(tmp_path / "net.pth")[0].state_dict()
    assert all(torch.equal(kept[key], value.to(dtype).float()) for key, value in state.items())


def test_an_ambiguity_asks_for_a_key(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"candy": {k: v + 1 for k, v in state.items()}, "mosaic": {"net": state}}, path)
    with pytest.raises(CheckpointError, match=r"--key, one of candy, mosaic\.net\."):
        network_of_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"behind udnie: --key takes candy, mosaic\.net\."):
        network_of_checkpoint(path, "udnie")
    for key in ("mosaic.net", "mosaic"):
        network, part = network_of_checkpoint(path, key)
        assert part.key == "mosaic.net"
        assert torch.equal(network.state_dict()["in1.bias"], state["in1.bias"])


def test_the_file_itself_has_a_key(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({**state, "ema": {k: v + 1 for k, v in state.items()}}, tmp_path / "net.pth")
    assert network_of_checkpoint(tmp_path / "net.pth")[1].key == "ema"
    kept = network_of_checkpoint(tmp_path / "net.pth", ".")[0].state_dict()
    assert torch.equal(kept["in1.bias"], state["in1.bias"])


def test_the_key_is_told_and_kept_in_the_history(state: dict[str, Tensor], tmp_path: Path) -> None:
    told: list[str] = []

    class Telling(Silent):
        def note(self, text: str) -> None:
            told.append(text)

    torch.save({"params_ema": state}, tmp_path / "net.pth")
    bundle = import_checkpoint(tmp_path / "net.pth", tmp_path / "net", progress=Telling())
    assert told == ["net.pth is read as the weights behind params_ema"]
    assert bundle.manifest.history[0].recipe["key"] == "params_ema"
    assert open_teacher(tmp_path / "net.pth").part == "params_ema"


def test_a_key_is_of_checkpoints_alone() -> None:
    with pytest.raises(OptionError, match="not a checkpoint"):
        open_teacher("zoo:starry-night/teacher", TeacherOptions(key="net"))
