"""How far pictures moved, and how fast a network of other widths is: one export for all widths."""

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from nstc.compress.export.checking import eager_reference, sample_picture
from nstc.compress.pruning.channels import channel_groups, remove_channels
from nstc.compress.pruning.probe import (
    PruningProbe,
    graph_of_any_widths,
    timing_target,
    with_weights,
)
from nstc.core import Silent
from nstc.core.errors import OptionError
from nstc.core.manifest import Style
from nstc.core.photos import PhotoSet
from nstc.models.architectures import describe
from nstc.models.losses import STYLE_LAYERS, gram_distance, gram_matrix
from nstc.models.student import Student
from nstc.models.style import StyleSource, StyleStatistics
from nstc.models.transformer import TransformerNet
from nstc.models.vgg import VggFeatures
from nstc.runtime.onnx_session import OnnxSession

SIZE = 64


@pytest.fixture
def probe(
    student: Student, photos: PhotoSet, style_statistics: StyleStatistics, vgg: VggFeatures
) -> PruningProbe:
    return PruningProbe(
        network=student,
        importance="group-norm",
        photos=photos,
        source=StyleSource(Style(name="noise", source="painting"), style_statistics),
        vgg=vgg,
        objective=lambda _: lambda _: {},
        progress=Silent(),
        size=SIZE,
    )


def test_nothing_is_lost_by_the_network_itself(probe: PruningProbe, student: Student) -> None:
    found = probe.sensitivity(copy.deepcopy(student))
    assert (found.style, found.content, found.distance) == pytest.approx((0, 0, 0), abs=1e-6)


def test_it_is_the_growth_of_the_losses_that_ratios_are_made_of(
    probe: PruningProbe, student: Student, style_statistics: StyleStatistics, vgg: VggFeatures
) -> None:
    other = copy.deepcopy(student)
    other.head.weight.data *= 1.5
    found = probe.sensitivity(other)

    def style_loss(network: Student, photo: torch.Tensor) -> float:
        seen = vgg(network(photo).clamp(0, 1), STYLE_LAYERS)
        grams = style_statistics.at(SIZE)
        return sum(float(gram_distance(gram_matrix(seen[n]), grams[n][None])) for n in STYLE_LAYERS)

    with torch.inference_mode():
        growths = [
            style_loss(other, photo) / style_loss(student, photo) - 1 for photo in probe.photographs
        ]
    assert found.style == pytest.approx(sum(growths) / len(growths), rel=1e-4)
    assert found.distance > 0


def test_more_change_is_more_damage(probe: PruningProbe, student: Student) -> None:
    distances = []
    for factor in (1.1, 1.5, 3.0):
        other = copy.deepcopy(student)
        other.head.weight.data *= factor
        distances.append(probe.sensitivity(other).distance)
    assert distances == sorted(distances)
    assert distances[0] < distances[-1]


def narrow(network: nn.Module) -> nn.Module:
    remove_channels(network, {g.name: torch.arange(5) for g in channel_groups(network)})
    return network


@pytest.mark.parametrize(
    "make",
    [
        lambda: Student(16, [8, 16], "plain", scale=8),
        lambda: TransformerNet((8, 8, 16), (16,), (8, 8)),
    ],
)
def test_the_graph_of_the_whole_paints_what_the_narrow_network_paints(make, tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = make().eval()
    graph = graph_of_any_widths(network)
    slim = narrow(network)
    file = tmp_path / "model.onnx"
    onnx.save(with_weights(graph, slim), file)
    picture = sample_picture(64, 72)
    expected = eager_reference(slim, describe(slim)[1])(picture)
    found = OnnxSession(file, "onnx", 1).run(picture)
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_a_network_of_other_layers_is_no_narrower_one() -> None:
    graph = graph_of_any_widths(Student(8, [8]).eval())
    with pytest.raises(ValueError, match=r"the graph has no core\.network\.blocks\.1"):
        with_weights(graph, Student(8, [8, 8]))


@pytest.mark.slow
def test_a_narrower_network_is_faster_and_times_agree(probe: PruningProbe) -> None:
    torch.manual_seed(5)
    network = Student(64, [64, 64], "plain").eval()
    with probe.timing(network, "cpu:1") as watch:
        remove_channels(network, {g.name: torch.arange(56) for g in channel_groups(network)})
        faster = watch.speedup(network)
        assert faster > 1.5
        assert 0 < watch.ms(network) < watch.whole_ms


@pytest.mark.parametrize("name", ["torchscript", "executorch"])
def test_only_this_machines_cores_are_timed_on(name: str) -> None:
    with pytest.raises(OptionError, match=r"can't measure on .* cpu:N or mobile"):
        timing_target(name)


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(OptionError, match=r"no target 'abacus'"):
        timing_target("abacus")
