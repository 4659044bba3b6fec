import pytest
import torch
from torch import nn

from nstc.models.complexity import count_macs, count_parameters
from nstc.models.student import Student, fold
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


def test_a_student_by_hand():
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
