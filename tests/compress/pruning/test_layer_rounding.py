"""Steps of integers, worked out by hand."""

import pytest
import torch
from torch import nn

from nstc.compress.pruning.layer_rounding import (
    input_ranges,
    rounded,
    rounded_input,
    rounded_weight,
)


def test_weights_have_64_steps_to_each_side_of_each_channel() -> None:
    weight = torch.tensor([[64.0, 0.4, -0.6], [0.64, 0.004, -0.5]])[:, :, None, None]
    expected = torch.tensor([[64.0, 0.0, -1.0], [0.64, 0.0, -0.5]])[:, :, None, None]
    torch.testing.assert_close(rounded_weight(weight), expected)
    assert rounded_weight(torch.zeros(2, 1, 1, 1)).abs().max() == 0


def test_an_input_has_255_steps_zero_among_them_and_saturates() -> None:
    values = torch.tensor([-200.0, -51.0, 0.0, 0.4, 0.6, 204.0, 999.0])
    found = rounded_input(values, (-51.0, 204.0))
    assert found.tolist() == pytest.approx([-51, -51, 0, 0, 1, 204, 204])
    assert rounded_input(torch.zeros(3), (0.0, 0.0)).tolist() == [0, 0, 0]


def test_ranges_are_of_all_photographs_and_hold_zero() -> None:
    layer = nn.Conv2d(1, 1, 1)
    network = nn.Sequential(layer)
    pictures = [torch.full((1, 1, 2, 2), value) for value in (3.0, 7.0)]
    assert input_ranges(network, [layer], pictures) == {layer: (0.0, 7.0)}


def test_the_layer_is_itself_again_afterwards() -> None:
    layer = nn.Conv2d(1, 1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    picture = torch.tensor([[[[0.4, 1.6]]]])
    with rounded(layer, (0.0, 255.0)):
        assert layer(picture).flatten().tolist() == [0.0, 2.0]
    assert layer(picture).flatten().tolist() == pytest.approx([0.4, 1.6])
