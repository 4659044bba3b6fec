import argparse
import io
import pickle
import re
import sys
import warnings
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.serialization import MAGIC_NUMBER

from nstc.compress.distillation.teachers import TeacherOptions, open_teacher
from nstc.compress.importing import checkpoint_files
from nstc.compress.importing.import_model import import_checkpoint, network_of_checkpoint
from nstc.core.bundle import STYLE_FILE, open_bundle
from nstc.core.errors import (
    CheckpointError,
    ImageError,
    OptionError,
    OutputError,
    UnsafeFileError,
)
from nstc.core.files import sha256_of
from nstc.core.images import read_picture
from nstc.core.progress import Silent
from nstc.models import tensors
from nstc.models.architectures import load
from nstc.models.style import statistics_of_painting, style_of
from nstc.models.vgg import load_vgg

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])

NORMS = {"in1": 32, "in2": 64, "in3": 128, "in4": 64, "in5": 32} | {
    f"res{i}.in{j}": 128 for i in range(1, 6) for j in (1, 2)
}
CONVOLUTIONS = {
    "conv1": (32, 3, 9),
    "conv2": (64, 32, 3),
    "conv3": (128, 64, 3),
    **{f"res{i}.conv{j}": (128, 128, 3) for i in range(1, 6) for j in (1, 2)},
    "deconv1": (64, 128, 3),
    "deconv2": (32, 64, 3),
    "deconv3": (3, 32, 9),
}


def examples_state(seed: int = 0) -> "OrderedDict[str, Tensor]":
    """Weights under the keys of pytorch/examples' fast_neural_style, in no special order."""
    generator = torch.Generator().manual_seed(seed)
    state: OrderedDict[str, Tensor] = OrderedDict()
    for name, (out, into, kernel) in CONVOLUTIONS.items():
        spread = (2 / (into * kernel * kernel)) ** 0.5
        shape = (out, into, kernel, kernel)
        state[f"{name}.conv2d.weight"] = torch.randn(shape, generator=generator) * spread
        state[f"{name}.conv2d.bias"] = torch.randn(out, generator=generator) * 0.1
    for name, channels in NORMS.items():
        state[f"{name}.weight"] = 1 + 0.2 * torch.randn(channels, generator=generator)
        state[f"{name}.bias"] = 0.2 * torch.randn(channels, generator=generator)
    state["deconv3.conv2d.weight"] *= 40
    state["deconv3.conv2d.bias"] += 127.5
    return state


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


@pytest.fixture(scope="module")
def state() -> "OrderedDict[str, Tensor]":
    return examples_state()


@pytest.fixture
def checkpoint(state: dict[str, Tensor], tmp_path: Path) -> Path:
    path = tmp_path / "candy.pth"
    torch.save(state, path)
    return path


def zip_of_zeros(size: int) -> bytes:
    """As torch.save names its pickle, and compressed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(size))
    return stream.getvalue()


@pytest.mark.parametrize("front", [b"", b"\n"])
def test_no_more_of_a_zip_is_unpacked_than_a_pickle_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, front: bytes
) -> None:
    monkeypatch.setattr(checkpoint_files, "LARGEST_PICKLE", 1000)
    (tmp_path / "x.pth").write_bytes(front + zip_of_zeros(1000))
    assert [found.whole for found in checkpoint_files.pickles_of(tmp_path / "x.pth")] == [False]
    (tmp_path / "x.pth").write_bytes(front + zip_of_zeros(1001))
    with pytest.raises(checkpoint_files.OverlongPickleError):
        checkpoint_files.pickles_of(tmp_path / "x.pth")


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
    found = network_of_checkpoint(tmp_path / "net.pth")
    assert found.note == note
    taken = found.network.state_dict()
    assert taken.keys() == state.keys()
    assert all(torch.equal(taken[key], value) for key, value in state.items())


def test_safetensors_are_read(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(behind("net.", state), tmp_path / "net.safetensors")
    found = network_of_checkpoint(tmp_path / "net.safetensors")
    assert (found.key, found.note) == ("net", "is read as the weights behind net")
    kept = found.network.state_dict()
    assert all(torch.equal(kept[key], value) for key, value in state.items())


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8 are Linux's alone")
@pytest.mark.parametrize("name", ["caf\udce9.safetensors", "caf\udce9/net.safetensors"])
def test_safetensors_are_read_whose_name_is_not_utf8(
    state: dict[str, Tensor], tmp_path: Path, name: str
) -> None:
    save_file(state, tmp_path / "net")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / "net").rename(tmp_path / name)
    kept = network_of_checkpoint(tmp_path / name).network.state_dict()
    assert all(torch.equal(kept[key], value) for key, value in state.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(
    state: dict[str, Tensor], tmp_path: Path, dtype: torch.dtype
) -> None:
    torch.save({key: value.to(dtype) for key, value in state.items()}, tmp_path / "net.pth")
    kept = network_of_checkpoint(tmp_path / "net.pth").network.state_dict()
    assert all(torch.equal(kept[key], value.to(dtype).float()) for key, value in state.items())


def test_an_ambiguity_asks_for_a_key(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"candy": {k: v + 1 for k, v in state.items()}, "mosaic": {"net": state}}, path)
    with pytest.raises(CheckpointError, match=r"--key, one of candy, mosaic\.net\."):
        network_of_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"behind udnie: --key takes candy, mosaic\.net\."):
        network_of_checkpoint(path, "udnie")
    for key in ("mosaic.net", "mosaic"):
        found = network_of_checkpoint(path, key)
        assert found.key == "mosaic.net"
        assert torch.equal(found.network.state_dict()["in1.bias"], state["in1.bias"])


def test_the_file_itself_has_a_key(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({**state, "ema": {k: v + 1 for k, v in state.items()}}, tmp_path / "net.pth")
    assert network_of_checkpoint(tmp_path / "net.pth").key == "ema"
    kept = network_of_checkpoint(tmp_path / "net.pth", ".").network.state_dict()
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


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class TestRefusal:
    def refused(self, path: Path, kind: type[CheckpointError] = CheckpointError) -> str:
        before = listing(path.parent)
        with pytest.raises(CheckpointError) as caught:
            import_checkpoint(path, path.parent / "bundle")
        assert type(caught.value) is kind
        message = str(caught.value)
        assert str(path) in message
        assert "\n" not in message
        assert "weights_only" not in message, "torch's advice is to load what must not be loaded"
        assert listing(path.parent) == before
        return message

    def test_first_differing_keys_are_named(self, state: dict[str, Tensor], tmp_path: Path) -> None:
        other = dict(state)
        del other["conv1.conv2d.weight"], other["in1.bias"]
        other["conv9.conv2d.weight"] = torch.zeros(3)
        other["deconv3.conv2d.bias"] = torch.zeros(4)
        torch.save(other, tmp_path / "other.pth")
        message = self.refused(tmp_path / "other.pth")
        assert "conv1.conv2d.weight is missing" in message
        assert "in1.bias is missing" in message
        assert "conv9.conv2d.weight is not expected" in message
        assert "4 differences" in message

    def test_a_differing_shape_is_named(self, state: dict[str, Tensor], tmp_path: Path) -> None:
        torch.save({**state, "deconv3.conv2d.bias": torch.zeros(4)}, tmp_path / "other.pth")
        message = self.refused(tmp_path / "other.pth")
        assert "deconv3.conv2d.bias is (4,) instead of (3,)" in message

    def test_another_network(self, tmp_path: Path) -> None:
        torch.save(nn.Linear(2, 3).state_dict(), tmp_path / "linear.pth")
        assert "another architecture" in self.refused(tmp_path / "linear.pth")

    @pytest.mark.parametrize(
        "content",
        [[torch.zeros(2)], {"a": "text"}, {1: torch.zeros(2)}, torch.zeros(3)],
        ids=["list", "text", "numbered", "tensor"],
    )
    def test_no_state_dict(self, tmp_path: Path, content: Any) -> None:
        torch.save(content, tmp_path / "x.pth")
        assert "not a state dict" in self.refused(tmp_path / "x.pth")

    def test_missing(self, tmp_path: Path) -> None:
        assert "no such file" in self.refused(tmp_path / "missing.pth")
        (tmp_path / "folder").mkdir()
        assert "is a folder" in self.refused(tmp_path / "folder")

    @FORMATS
    @pytest.mark.parametrize("kept", [0, 0.001, 0.3, 0.999])
    def test_truncated(
        self, state: dict[str, Tensor], tmp_path: Path, zipped: bool, kept: float
    ) -> None:
        path = tmp_path / "candy.pth"
        torch.save(state, path, _use_new_zipfile_serialization=zipped)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * kept)])
        assert "damaged" in self.refused(path)

    @FORMATS
    def test_whatever_byte_is_damaged_it_is_a_clear_error_or_none(
        self, tmp_path: Path, zipped: bool
    ) -> None:
        small = {"layer": torch.arange(6.0), "other": torch.zeros(2)}
        path = tmp_path / "small.pth"
        torch.save(small, path, _use_new_zipfile_serialization=zipped)
        content = path.read_bytes()
        rng = np.random.default_rng(0)
        for _ in range(100):
            damaged = bytearray(content)
            damaged[int(rng.integers(len(content)))] = int(rng.integers(256))
            path.write_bytes(damaged)
            with pytest.raises(CheckpointError):  # at best it is of another architecture
                network_of_checkpoint(path)

    @pytest.mark.parametrize(
        "content",
        [b"just a text\nof two lines\n", b"\x89PNG\r\n\x1a\n" + bytes(100), b"PK\x03\x04"],
    )
    def test_no_checkpoint(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "x.pth").write_bytes(content)
        assert "damaged, or not a file that torch.save wrote" in self.refused(tmp_path / "x.pth")

    def test_torchscript(self, tmp_path: Path) -> None:
        class Negative(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return 1 - x

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch wants to be rid of TorchScript
            torch.jit.script(Negative()).save(str(tmp_path / "x.pth"))
        message = self.refused(tmp_path / "x.pth")
        assert "TorchScript" in message
        assert "distill" in message

    @FORMATS
    def test_a_program_is_refused_unread(
        self, state: dict[str, Tensor], tmp_path: Path, zipped: bool
    ) -> None:
        ran = tmp_path / "ran"
        path = tmp_path / "trojan.pth"
        torch.save({**state, "x": Payload(ran)}, path, _use_new_zipfile_serialization=zipped)
        assert "would run code" in self.refused(path, UnsafeFileError)
        assert not ran.exists()
        torch.load(path, weights_only=False)  # so the payload works
        assert ran.exists()

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_a_bare_pickle_is_refused_unread(self, tmp_path: Path, protocol: int) -> None:
        ran = tmp_path / "ran"
        path = tmp_path / "trojan.pkl"
        path.write_bytes(pickle.dumps({"x": Payload(ran)}, protocol))
        assert "would run code" in self.refused(path, UnsafeFileError)
        assert not ran.exists()
        pickle.loads(path.read_bytes())  # noqa: S301
        assert ran.exists()

    @FORMATS
    def test_a_whole_network_is_refused_too(self, tmp_path: Path, zipped: bool) -> None:
        path = tmp_path / "x.pth"
        torch.save(nn.Linear(2, 3), path, _use_new_zipfile_serialization=zipped)
        assert "state_dict()" in self.refused(path, UnsafeFileError)

    def test_layers_that_would_be_left_out_are_refused(
        self, state: dict[str, Tensor], tmp_path: Path
    ) -> None:
        torch.save(
            {"net": {**state, "res6.conv1.conv2d.weight": torch.ones(2)}}, tmp_path / "x.pth"
        )
        message = self.refused(tmp_path / "x.pth")
        assert "the part net of" in message
        assert "res6.conv1.conv2d.weight is not expected (1 difference in all)" in message

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda t: t.to_sparse(), "sparse tensor"),
            (lambda t: t.to("meta"), "meta tensor"),
            (lambda t: t.to(torch.complex64), "complex tensor"),
            (lambda t: t.to(torch.int8), r"tensor of torch\.int8"),
            (lambda t: t.numpy(), "NumPy array"),
            (lambda t: torch.zeros(1).expand(10**12), "1000000000000"),
        ],
        ids=["sparse", "meta", "complex", "integers", "array", "giant"],
    )
    def test_tensors_that_hold_no_weights_are_named(
        self, state: dict[str, Tensor], tmp_path: Path, change: Callable[..., Any], words: str
    ) -> None:
        torch.save({**state, "in1.bias": change(state["in1.bias"])}, tmp_path / "x.pth")
        assert re.search(rf"in1\.bias is .*{words}", self.refused(tmp_path / "x.pth"))

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
            (b"\n<!DOCTYPE html>\n<html>", "web page"),
            (b'{"message": "Not Found"}', "JSON"),
            (b"", "empty"),
            (b"\x1f\x8b\x08", "gzip"),
            (bytes(257) + b"ustar" + bytes(250), "tar archive"),
            (b"\x08\x08\x12\x07pytorch", "ONNX"),
            (pickle.dumps({"a": [1, 2]}), "bare pickle"),
            (b"\x93NUMPY", "NumPy"),
        ],
    )
    def test_what_it_is_instead_is_named(self, tmp_path: Path, content: bytes, words: str) -> None:
        (tmp_path / "x.pth").write_bytes(content)
        assert words in self.refused(tmp_path / "x.pth")

    def test_an_archive_of_several_names_them(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
            archive.writestr("candy.pth", b"")
            archive.writestr("more/mosaic.pth", b"")
        message = self.refused(tmp_path / "x.pth")
        assert "2 checkpoints (candy.pth, more/mosaic.pth)" in message

    def test_what_was_compressed_after_saving(self, tmp_path: Path) -> None:
        torch.save({"a": torch.zeros(10**6)}, tmp_path / "plain")
        with (
            zipfile.ZipFile(tmp_path / "plain") as plain,
            zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as packed,
        ):
            for name in plain.namelist():
                packed.writestr(name, plain.read(name))
        assert "compressed" in self.refused(tmp_path / "x.pth")

    def test_a_later_protocol_is_named(self, tmp_path: Path) -> None:
        torch.save({"a": torch.zeros(2)}, tmp_path / "x.pth", pickle_protocol=4)
        assert "pickle protocol 4" in self.refused(tmp_path / "x.pth")

    def test_the_class_that_would_run_code_is_named(self, tmp_path: Path) -> None:
        torch.save({"a": torch.zeros(2), "x": nn.ReLU()}, tmp_path / "x.pth")
        message = self.refused(tmp_path / "x.pth", UnsafeFileError)
        assert "a whole network" in message
        assert "torch.nn.modules.activation.ReLU" in message

    @pytest.mark.parametrize(
        "body",
        [
            b"}" + b")" + b"\x85" * 300_000 + b"Ns.",  # whose hash would end the process
            b"(" + b"N" * 2_000 + b"t.",
        ],
        ids=["nested", "long"],
    )
    def test_a_pickle_that_must_not_be_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes
    ) -> None:
        monkeypatch.setattr(checkpoint_files, "MOST_INSTRUCTIONS", 1_000)
        start = [pickle.dumps(value, 2) for value in (MAGIC_NUMBER, 1001, {})]
        (tmp_path / "x.pth").write_bytes(b"".join([*start, b"\x80\x02", body]))
        assert "more beside the values" in self.refused(tmp_path / "x.pth")

    @pytest.mark.parametrize("front", [b"", b"\n", b"\x80\x02"])
    def test_a_zip_that_unpacks_to_far_more_is_not_unpacked(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, front: bytes
    ) -> None:
        monkeypatch.setattr(checkpoint_files, "LARGEST_PICKLE", 1000)
        (tmp_path / "x.pth").write_bytes(front + zip_of_zeros(1001))
        assert "more beside the values" in self.refused(tmp_path / "x.pth")

    def test_a_safetensors_header_that_is_longer_than_any(self, tmp_path: Path) -> None:
        header = b"{" + b" " * tensors.MAX_HEADER_BYTES + b"}"
        (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
        assert "does not begin with the header" in self.refused(tmp_path / "x.safetensors")

    def test_a_foreign_folder_is_not_touched(self, checkpoint: Path, tmp_path: Path) -> None:
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter.txt").write_text("mine")
        with pytest.raises(OutputError, match="thesis"):
            import_checkpoint(checkpoint, tmp_path / "thesis")
        assert listing(tmp_path / "thesis") == {"chapter.txt"}

    def test_a_path_under_a_file(self, checkpoint: Path) -> None:
        with pytest.raises(OutputError):
            import_checkpoint(checkpoint, checkpoint / "bundle")
