"""A model whose numbers are not finite, or whose pictures are one colour, at every verb's door."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from safetensors.torch import save_file
from torch import nn

from nstc.compress.distillation.distill_model import distill
from nstc.compress.distillation.teachers import open_teacher
from nstc.compress.export.export_model import export
from nstc.compress.importing.import_model import import_checkpoint
from nstc.compress.pruning.analysis import analyze
from nstc.compress.pruning.prune_model import prune
from nstc.compress.quantization.foreign_models import quantize_file
from nstc.compress.quantization.quantize_model import quantize
from nstc.compress.quantization.weight_storage import in_half_precision
from nstc.compress.training.train_model import train
from nstc.core.bundle import WEIGHTS_FILE, Bundle, new_bundle, open_bundle
from nstc.core.errors import UnusableModelError
from nstc.core.manifest import Manifest
from nstc.core.photos import PhotoSet
from nstc.models.architectures import describe
from nstc.models.student import Student
from nstc.models.transformer import TransformerNet
from nstc.runtime.verification import verify

DOORS: dict[str, Callable[[Bundle, Path, PhotoSet], object]] = {
    "export": lambda bundle, out, photos: export(bundle, output=out),
    "quantize": lambda bundle, out, photos: quantize(bundle, out, photos=photos),
    "prune": lambda bundle, out, photos: prune(bundle.path, out, photos=photos),
    "distill": lambda bundle, out, photos: distill(bundle.path, out, photos=photos),
    "analyze": lambda bundle, out, photos: analyze(bundle.path, photos=photos),
}


def written(network: nn.Module, path: Path) -> Bundle:
    """A bundle of weights as they are, which nstc itself would not write."""
    architecture, contract = describe(network)
    manifest = Manifest(name="bad", stage="trained", architecture=architecture, contract=contract)
    with new_bundle(path, manifest) as draft:
        save_file(network.state_dict(), draft / WEIGHTS_FILE)
    return open_bundle(path)


def with_a_nan(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        next(network.parameters()).view(-1)[:2] = float("nan")
    return network


def of_one_colour(network: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    return network


@pytest.mark.parametrize("verb", DOORS)
def test_weights_that_are_not_finite_are_named(verb: str, photos: PhotoSet, tmp_path: Path) -> None:
    bundle = written(with_a_nan(Student(16, [16])), tmp_path / "bad")
    with pytest.raises(UnusableModelError, match=r"weights\.safetensors .* 2 of the \d+ values of"):
        DOORS[verb](bundle, tmp_path / "out", photos)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", DOORS)
def test_a_network_of_one_colour_is_refused(verb: str, photos: PhotoSet, tmp_path: Path) -> None:
    bundle = written(of_one_colour(Student(16, [16])), tmp_path / "bad")
    with pytest.raises(UnusableModelError, match="every pixel is"):
        DOORS[verb](bundle, tmp_path / "out", photos)
    assert not (tmp_path / "out").exists()


def test_a_start_is_held_to_it_too(photos: PhotoSet, painting: Path, tmp_path: Path) -> None:
    bundle = written(of_one_colour(TransformerNet((8, 8, 16), (8,), (8, 8))), tmp_path / "bad")
    with pytest.raises(UnusableModelError, match="every pixel is"):
        train(painting, photos, tmp_path / "out", init=bundle.path)


def test_verify_names_the_tensor(tmp_path: Path) -> None:
    bundle = written(with_a_nan(Student(16, [16])), tmp_path / "bad")
    (error,) = verify(bundle.path).errors
    assert isinstance(error, UnusableModelError)
    assert "2 of the" in str(error)
    assert WEIGHTS_FILE in str(error)


def test_a_checkpoint_is_refused_at_import_and_as_a_teacher(tmp_path: Path) -> None:
    state = TransformerNet().state_dict()
    state["res3.conv1.conv2d.weight"][0, 0, 0, 0] = float("nan")
    torch.save(state, tmp_path / "net.pth")
    for door in (lambda path: import_checkpoint(path, tmp_path / "out"), open_teacher):
        with pytest.raises(UnusableModelError, match=r"1 of the 147456 values of res3\.conv1"):
            door(tmp_path / "net.pth")
    assert not (tmp_path / "out").exists()


def test_weights_of_an_onnx_file_are_named(write_graph, photos: PhotoSet, tmp_path: Path) -> None:
    path = write_graph(
        tmp_path / "net.onnx",
        [helper.make_node("Mul", ["x", "gain"], ["y"])],
        constants={"gain": np.array([1, np.nan, 1], np.float32).reshape(1, 3, 1, 1)},
    )
    with pytest.raises(UnusableModelError, match=r"net\.onnx .* 1 of the 3 values of gain"):
        open_teacher(path)
    with pytest.raises(UnusableModelError, match=r"net\.onnx .* 1 of the 3 values of gain"):
        quantize_file(path, tmp_path / "out.onnx", photos=photos)


def test_infinite_weights_are_named_that_give_nothing_like_a_picture(
    write_graph, photos: PhotoSet, tmp_path: Path
) -> None:
    path = write_graph(
        tmp_path / "net.onnx",
        [
            helper.make_node("Mul", ["x", "gain"], ["m"]),
            helper.make_node("Clip", ["m", "low", "high"], ["y"]),
        ],
        constants={
            "gain": np.full((1, 3, 1, 1), np.inf, np.float32),
            "low": np.float32(0),
            "high": np.float32(1),
        },
    )
    with pytest.raises(UnusableModelError, match=r"net\.onnx .* 3 of the 3 values of gain"):
        open_teacher(path)
    with pytest.raises(UnusableModelError, match=r"net\.onnx .* 3 of the 3 values of gain"):
        quantize_file(path, tmp_path / "out.onnx", photos=photos)


def test_infinite_limits_of_an_onnx_file_are_no_fault(write_graph, tmp_path: Path) -> None:
    path = write_graph(
        tmp_path / "net.onnx",
        [
            helper.make_node("Sub", ["white", "x"], ["n"]),
            helper.make_node("Clip", ["n", "low"], ["y"]),
        ],
        constants={"low": np.float32("-inf"), "white": np.float32(1)},
    )
    picture = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    assert np.abs(open_teacher(path).stylize(picture).astype(int) - (255 - picture)).max() <= 1


def test_output_of_an_onnx_file_that_is_not_finite_is_named(write_graph, tmp_path: Path) -> None:
    path = write_graph(
        tmp_path / "net.onnx",
        [helper.make_node("Sub", ["x", "x"], ["z"]), helper.make_node("Div", ["x", "z"], ["y"])],
    )
    with pytest.raises(UnusableModelError, match=r"net\.onnx gives no picture: \d+ of its \d+"):
        open_teacher(path)


def test_weights_too_large_for_float16_are_named(write_graph, tmp_path: Path) -> None:
    def graph(largest: float) -> onnx.ModelProto:
        weight = np.full((3, 3, 1, 1), 2.0, np.float32)
        weight[0, 0] = largest
        path = write_graph(
            tmp_path / "net.onnx",
            [helper.make_node("Conv", ["x", "kernel"], ["y"], name="conv")],
            constants={"kernel": weight},
        )
        return onnx.load(path)

    with pytest.raises(UnusableModelError, match="1 of the 9 values of kernel are beyond 65504"):
        in_half_precision(graph(1e6))
    (kept,) = in_half_precision(graph(60000)).graph.initializer
    assert onnx.numpy_helper.to_array(kept).max() == pytest.approx(60000, rel=1e-3)
