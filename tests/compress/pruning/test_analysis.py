"""What an analysis says of each layer, its plot, and steps of integers worked out by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from nstc.compress.pruning.analysis import (
    Analysis,
    analyze,
    fake_quantized,
    input_ranges,
    write_plot,
)
from nstc.compress.quantization.aware_training import write_ranges
from nstc.core.bundle import Bundle, revised_bundle
from nstc.core.errors import ArtifactError, OptionError
from nstc.core.photos import PhotoSet
from nstc.models.architectures import count_macs, count_parameters
from nstc.models.student import Student, TwoScaleStudent

SIZE = 64


def network() -> Student:
    torch.manual_seed(1)
    student = Student(16, [16]).eval()
    nn.init.normal_(student.head.weight, std=0.05)
    return student


@pytest.fixture(scope="module")
def bundle(
    make_styled_bundle: Callable[..., Bundle], tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    return make_styled_bundle(network(), tmp_path_factory.mktemp("analysed") / "small")


@pytest.fixture(scope="module")
def found(bundle: Bundle, photos: PhotoSet) -> Analysis:
    return analyze(bundle.path, photos=photos.take(1), size=SIZE)


def test_costs_add_up_to_the_networks(found: Analysis) -> None:
    facts = found.layers
    assert sum(own.params for own in facts) == count_parameters(network())
    assert sum(own.macs for own in facts) == count_macs(network(), SIZE)
    stem = facts[0]
    assert (stem.name, stem.kind) == ("stem", "8x8 stride 4")
    assert stem.activation_bytes == 16 * 16 * 16 * 4
    assert facts[1].kind == "3x3 depthwise"


def test_times_are_shares_of_the_whole(found: Analysis) -> None:
    assert found.artifact == "onnx"
    assert all(layer.ms > 0 for layer in found.layers)
    shares = sum(layer.share for layer in found.layers) + found.other_ms / found.total_ms
    assert shares == pytest.approx(1)


def test_a_trunk_is_halved_as_one_and_the_colours_never(found: Analysis) -> None:
    layers = {layer.name: layer for layer in found.layers}
    assert layers["stem"].halved == layers["blocks.0.project.1"].halved
    assert layers["stem"].makers == ("stem", "blocks.0.project.1")
    assert layers["stem"].made_together
    assert not layers["blocks.0.expand.1"].made_together
    assert layers["blocks.0.project.0"].halved == layers["blocks.0.expand.1"].halved
    assert layers["head"].halved is None


def test_quality_is_lost_by_both(found: Analysis) -> None:
    halved = {layer.name: layer.halved for layer in found.layers if layer.halved}
    assert all(damage.distance > 0 for damage in halved.values())
    assert all(0 < layer.rounded.distance < 0.5 for layer in found.layers)
    assert halved["stem"].distance > found.layers[0].rounded.distance


@pytest.mark.slow
def test_layers_hold_what_a_student_has_learned_that_their_bytes_hold(
    bundle: Bundle, photos: PhotoSet, tmp_path: Path
) -> None:
    with revised_bundle(bundle, tmp_path / "learned", bundle.manifest) as draft:
        write_ranges(draft, {"stem": (0.0, 0.0)})
    learned = analyze(tmp_path / "learned", photos=photos.take(1), size=SIZE)
    assert learned.layers[0].name == "stem"
    assert learned.layers[0].rounded.distance == 0  # of what it makes, nothing is left


def test_it_is_plain_json(found: Analysis) -> None:
    content = json.loads(json.dumps(found.to_dict()))
    assert content["layers"][0]["name"] == "stem"
    assert content["layers"][0]["halved"]["distance"] > 0
    assert content["layers"][-1]["halved"] is None


@pytest.mark.parametrize(
    ("ending", "begins"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".SVG", b"<?xml")]
)
def test_it_is_drawn(found: Analysis, tmp_path: Path, ending: str, begins: bytes) -> None:
    path = tmp_path / f"plot{ending}"
    write_plot(found, path)
    assert path.read_bytes().startswith(begins)


def test_the_plot_names_every_layer_in_plain_text(found: Analysis, tmp_path: Path) -> None:
    write_plot(found, tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    assert all(layer.name in text for layer in found.layers)
    assert "mathdefault" not in text


def test_another_ending_is_refused(found: Analysis, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"ends in \.gif: use \.svg or \.png"):
        write_plot(found, tmp_path / "plot.gif")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"size": 0}, "size is 0: expected a multiple of 8"),
        ({"size": 100}, "size is 100: expected a multiple of 8"),
        ({"threads": 0}, "threads is 0: expected from 1"),
        ({"importance": "taylor"}, "taylor, which needs the loss"),
        ({"importance": "luck"}, "luck: expected one of"),
    ],
)
def test_bad_options(bundle: Bundle, photos: PhotoSet, given, told: str) -> None:
    with pytest.raises(OptionError, match=told):
        analyze(bundle.path, photos=photos.take(1), **{"size": SIZE, **given})


def test_only_onnx_files_have_a_profile(bundle: Bundle, photos: PhotoSet) -> None:
    with pytest.raises(ArtifactError, match="ts has no profile"):
        analyze(bundle.path, photos=photos, artifact="ts")
    with pytest.raises(ArtifactError, match=r"no artifact int8\.onnx"):
        analyze(bundle.path, photos=photos, artifact="int8")


def test_weights_have_64_steps_to_each_side_of_each_channel() -> None:
    layer = nn.Conv2d(3, 3, 1)
    weight = torch.tensor([[64.0, 0.4, -0.6], [0.64, 0.004, -0.5], [0, 0, 0]])[:, :, None, None]
    layer.weight.data = weight
    expected = torch.tensor([[64.0, 0.0, -1.0], [0.64, 0.0, -0.5], [0, 0, 0]])[:, :, None, None]
    with fake_quantized(layer, (0.0, 1.0)):
        torch.testing.assert_close(layer.weight.data, expected)


def test_an_input_has_255_steps_zero_among_them_and_saturates() -> None:
    layer = nn.Conv2d(1, 1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    values = torch.tensor([-200.0, -51.0, 0.0, 0.4, 0.6, 204.0, 999.0])[None, None, None]
    with fake_quantized(layer, (-51.0, 204.0)):
        found = layer(values).flatten().tolist()
    assert found == pytest.approx([-51, -51, 0, 0, 1, 204, 204])
    with fake_quantized(layer, (0.0, 0.0)):
        assert layer(torch.zeros(1, 1, 1, 3)).flatten().tolist() == [0, 0, 0]


def test_a_layer_that_takes_statistics_keeps_them() -> None:
    torch.manual_seed(3)
    student = TwoScaleStudent(8, [8], 8).eval()
    picture = 0.5 + 0.1 * torch.rand(1, 3, 16, 16)
    statistics = student.statistics(picture)
    exact = student.enter(picture, statistics)
    with fake_quantized(student.stem, (0.0, 1.0)):
        rounded = student.enter(picture, statistics)
    assert (rounded - exact).abs().mean() < 0.1 * exact.mean()


def test_ranges_are_of_all_photographs_and_hold_zero() -> None:
    layer = nn.Conv2d(1, 1, 1)
    network = nn.Sequential(layer)
    pictures = [torch.full((1, 1, 2, 2), value) for value in (3.0, 7.0)]
    assert input_ranges(network, [layer], pictures) == {layer: (0.0, 7.0)}


def test_the_layer_is_itself_again_afterwards() -> None:
    layer = nn.Conv2d(1, 1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    picture = torch.tensor([[[[0.4, 1.6]]]])
    with fake_quantized(layer, (0.0, 255.0)):
        assert layer(picture).flatten().tolist() == [0.0, 2.0]
    assert layer(picture).flatten().tolist() == pytest.approx([0.4, 1.6])
