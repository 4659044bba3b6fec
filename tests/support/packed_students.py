"""Quantized students of one trunk, whose channels alone are scaled and shifted, and their pack."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from nstc.compress.export.checking import sample_picture
from nstc.compress.graphs.deployed import deployed_graph, edges_of, with_other_edges
from nstc.compress.graphs.float_graphs import body_graph
from nstc.compress.quantization import aware_training, calibration
from nstc.compress.quantization.fake_quantization import activations_of
from nstc.compress.quantization.integer_body import integer_form_of
from nstc.core import Silent
from nstc.core.bundle import TILES_ARTIFACT, WEIGHTS_FILE, Bundle, new_bundle, open_bundle
from nstc.core.images import Picture, write_picture
from nstc.core.manifest import Manifest, Step, Style
from nstc.core.photos import photos_in
from nstc.models.architectures import describe, load
from nstc.models.student import Student, StudentNetwork, TwoScaleStudent
from nstc.models.tensors import save_tensors
from nstc.runtime.packs.joining import join_styles
from nstc.runtime.packs.style_pack import Pack


def trunk_of(network: StudentNetwork) -> StudentNetwork:
    """The network with weights that paint something."""
    torch.manual_seed(4)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            layer.bias.data += 0.1 * torch.randn(layer.out_channels)
    network.to_pixels.weight.data += 0.05 * torch.randn(network.to_pixels.weight.shape)
    return network.eval()


def in_style(trunk: StudentNetwork, seed: int) -> StudentNetwork:
    """The trunk with a scale and a shift of its own for each channel of each layer."""
    network, generator = copy.deepcopy(trunk), torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            scales = (0.2 * torch.randn(layer.out_channels, generator=generator)).exp()
            layer.weight.data *= scales[:, None, None, None]
            if layer.bias is not None:
                shifts = 0.05 * torch.randn(layer.out_channels, generator=generator)
                layer.bias.data = layer.bias.data * scales + shifts
    return network


def quantized_student(network: StudentNetwork, path: Path, *, photograph: bool = False) -> Bundle:
    """Its bundle as quantize-aware training and quantizing leave it, without the float file.

    A `photograph` is marked as one whose pictures are the photographs, whatever it gives.
    """
    architecture, contract = describe(network)
    photo = path.parent / "photos" / "photo.png"
    if not photo.exists():
        write_picture(photo, Picture(rgb=sample_picture(120, 100)))
    body, form = body_graph(network), integer_form_of(network, contract, per_channel=True)
    feeds = calibration.photographs(
        network, contract, photos_in([photo.parent]), size=96, progress=Silent()
    )
    percentile = calibration.CALIBRATORS["percentile"](99.9)
    ranges = calibration.calibrate(body, form.operators, feeds.reporting("calibrate"), percentile)
    activations, edges = activations_of(network, body), edges_of(network, contract)
    learned = {each.module: ranges[each.tensors[0]] for each in activations[:-1]}
    integer = aware_training.quantize_with_learned_ranges(body, form, activations, learned)
    whole = deployed_graph(integer, edges)
    style = Style(name=f"The {path.name}", source="painting", credit="Nobody, 1900")
    manifest = Manifest(
        name=path.name,
        stage="quantized",
        architecture=architecture,
        contract=contract,
        style=None if photograph else style,
        history=(
            Step(verb="share", recipe={"photograph": True} if photograph else {}),
            Step(verb="quantize", recipe={}, results={"artifact": "int8.onnx", "islands": []}),
        ),
    )
    with new_bundle(path, manifest) as draft:
        save_tensors(network.state_dict(), draft / WEIGHTS_FILE)
        aware_training.write_ranges(draft, learned)
        onnx.save(whole, draft / "model.int8.onnx")
        tiles = with_other_edges(whole, edges, statistics_input=True)
        onnx.save(tiles, draft / f"model.{TILES_ARTIFACT}")
    return open_bundle(path)


@pytest.fixture(scope="session")
def members(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """Two styles of one trunk of two scales, day and night. Not to be changed."""
    folder = tmp_path_factory.mktemp("members")
    trunk = trunk_of(TwoScaleStudent(16, [16], 8))
    day = quantized_student(trunk, folder / "day")
    return day, quantized_student(in_style(trunk, 1), folder / "night")


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A student of the same shape with weights of its own. Not to be changed."""
    torch.manual_seed(5)
    network = TwoScaleStudent(16, [16], 8)
    return quantized_student(trunk_of(network), tmp_path_factory.mktemp("stranger") / "stranger")


@pytest.fixture(scope="session")
def one_scale_members(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """The same as `members`, of a student of one scale. Not to be changed."""
    folder = tmp_path_factory.mktemp("one scale")
    trunk = trunk_of(Student(16, [16]))
    day = quantized_student(trunk, folder / "day")
    return day, quantized_student(in_style(trunk, 1), folder / "night")


@pytest.fixture(scope="session")
def shared_pack(members: tuple[Bundle, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """The pack of `members`. Not to be changed."""
    styles = [(None, each) for each in members]
    return join_styles(styles, tmp_path_factory.mktemp("pack") / "seasons")


@pytest.fixture(scope="session")
def pack_of_strengths(
    members: tuple[Bundle, Bundle], tmp_path_factory: pytest.TempPathFactory
) -> Pack:
    """The pack of `members` and of one that is marked as the photograph. Not to be changed."""
    folder = tmp_path_factory.mktemp("strengths")
    trunk = load(members[0])
    assert isinstance(trunk, StudentNetwork)
    network = in_style(trunk, 2)
    photograph = quantized_student(network, folder / "photograph", photograph=True)
    return join_styles([(None, own) for own in (*members, photograph)], folder / "pack")


@pytest.fixture
def copy_of_pack(shared_pack: Pack, tmp_path: Path) -> Callable[[], Bundle]:
    """Makes a copy that a test may change."""
    return lambda: open_bundle(shutil.copytree(shared_pack.bundle.path, tmp_path / "copy"))
