"""How large networks are, and how much they compute."""

from pathlib import Path

import pytest
import torch
from torch import nn

from nstc.core.bundle import WEIGHTS_FILE, new_bundle, open_bundle
from nstc.core.manifest import Manifest
from nstc.models.architectures import complexity, count_macs, count_parameters, describe
from nstc.models.student import Student, fold
from nstc.models.tensors import save_tensors
from nstc.models.transformer import TransformerNet


def test_one_convolution_by_hand():
    convolution = nn.Conv2d(3, 8, 3, padding=1)

    assert count_parameters(convolution) == 8 * 3 * 9 + 8
    assert count_macs(convolution, 16) == 16 * 16 * 8 * 3 * 9  # a multiply-add for each weight


def test_a_strided_depthwise_convolution_by_hand():
    convolution = nn.Conv2d(3, 3, 4, stride=2, groups=3, bias=False)

    # (20 - 4) / 2 + 1 = 9 positions a side; each channel sees only itself
    assert count_macs(convolution, 20) == 9 * 9 * 3 * 16


def test_the_teacher_is_the_published_size():
    network = TransformerNet()

    assert count_parameters(network) == 1_679_235
    assert count_macs(network) / 1e9 == pytest.approx(40.3, abs=0.05)


def test_the_macs_of_a_student_by_hand():
    student = Student(16, [24], "separable")
    at_quarter = 8 * 8

    separable = 9 * 16 + 16 * 24 + 9 * 24 + 24 * 16
    assert count_macs(student, 32) == at_quarter * (3 * 64 * 16 + separable + 16 * 48 * 9)


def test_counting_leaves_the_network_as_it_was():
    network = Student(8, [8], batch_norm=True)
    before = {key: value.clone() for key, value in network.state_dict().items()}

    macs = count_macs(network, 64)

    assert macs == count_macs(fold(network), 64)
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_macs_grow_with_the_area():
    student = Student(8, [8])

    assert count_macs(student, 128) == 4 * count_macs(student, 64)


@pytest.fixture
def bundle_of(tmp_path: Path):
    def make(network):
        architecture, contract = describe(network)
        manifest = Manifest(
            name="net", stage="trained", architecture=architecture, contract=contract
        )
        with new_bundle(tmp_path / "net", manifest) as draft:
            save_tensors(network.state_dict(), draft / WEIGHTS_FILE)
        return open_bundle(tmp_path / "net")

    return make


def test_the_full_size_network_by_hand(bundle_of):
    # output positions x kernel area x channels in x channels out, layer by layer
    full, half, quarter = 512 * 512, 256 * 256, 128 * 128
    macs = (
        full * 81 * 3 * 32
        + half * 9 * 32 * 64
        + quarter * 9 * 64 * 128
        + 10 * quarter * 9 * 128 * 128
        + half * 9 * 128 * 64
        + full * 9 * 64 * 32
        + full * 81 * 32 * 3
    )
    found = complexity(bundle_of(TransformerNet()), 512)
    assert found.macs == macs
    assert round(macs / 1e9, 1) == 40.3
    assert found.params == 1_679_235


def test_a_student_by_hand_and_a_pruned_one_is_smaller(bundle_of):
    # at 32x32 the body has 8x8 positions: stem, two 3x3 convolutions of a block, head
    convolutions = [(64, 3, 16), (9, 16, 8), (9, 8, 16), (9, 16, 48)]
    found = complexity(bundle_of(Student(16, [8], "plain")), 32)
    assert found.macs == sum(8 * 8 * k * c_in * c_out for k, c_in, c_out in convolutions)
    weights = sum(k * c_in * c_out for k, c_in, c_out in convolutions)
    assert found.params == weights + 16 + 8 + 16 + 48


def test_odd_sizes_are_counted_as_they_are_padded(bundle_of):
    bundle = bundle_of(Student(8, [8], "plain"))
    assert complexity(bundle, 30) == complexity(bundle, 32)
    assert complexity(bundle, 33).macs > complexity(bundle, 32).macs
