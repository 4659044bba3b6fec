"""A convolution more that changes no picture yet."""

import pytest
import torch
from lab.deeper_student import deepened
from torch import nn

from nstc.models.student import TwoScaleStudent


def trained(**options: object) -> TwoScaleStudent:
    torch.manual_seed(0)
    student = TwoScaleStudent(16, [8], 8, **options)  # type: ignore[arg-type]
    for parameter in student.parameters():
        nn.init.normal_(parameter, std=0.2)
    return student.eval()


@pytest.mark.parametrize("options", [{}, {"details": [10]}])
@pytest.mark.parametrize("channels", [10, 16])
def test_pictures_stay_and_the_new_layer_can_learn(options, channels):
    student = trained(**options)
    images = torch.rand(1, 3, 32, 32)
    deeper = deepened(student, channels, seed=0)

    assert deeper.arguments()["details"] == [*options.get("details", []), channels]
    torch.testing.assert_close(deeper(images), student(images), atol=1e-5, rtol=1e-4)

    deeper(images).square().sum().backward()
    assert deeper.details[-1][0].weight.grad.abs().sum() > 0
    before = student.to_pixels.in_channels
    beyond = deeper.to_pixels.weight.grad[:, before:]
    assert channels == before or beyond.abs().sum() > 0


def test_fewer_channels_than_come_in_are_refused():
    with pytest.raises(ValueError, match="channels is 7: expected at least the 8 that come in"):
        deepened(trained(), 7, seed=0)
