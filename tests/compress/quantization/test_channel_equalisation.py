"""Channels of like size: what is painted stays, and bytes hold it better."""

import copy
import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nstc.compress.export.checking import painting_with, sample_picture
from nstc.compress.graphs.float_forms import body_graph
from nstc.compress.quantization.byte_tensors import byte_tensors
from nstc.compress.quantization.channel_equalisation import equalise_channels
from nstc.models.blocks import KINDS
from nstc.models.student import Student
from nstc.models.tensors import images_to_tensor

SHAPES: Mapping[str, Mapping[str, object]] = {
    **{kind: {"block": kind} for kind in KINDS},
    "eighth": {"scale": 8},
    "separable head": {"head": "separable"},
}
PICTURES = [sample_picture(96, 128), sample_picture(64, 64)]


def uneven(**shape: object) -> Student:
    """A student whose filters are of very different sizes."""
    torch.manual_seed(5)
    network = Student(16, [16, 24], **shape)  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data *= torch.logspace(-1, 1, module.out_channels)[:, None, None, None]
    return network.eval()


def equalised(student: Student) -> Student:
    other = copy.deepcopy(student)
    equalise_channels(other, byte_tensors(other, body_graph(other)), PICTURES)
    return other


def spread(student: Student, module: str) -> float:
    """Largest channel of what a module makes over the smallest, in logarithms."""
    made: list[Tensor] = []
    handle = student.get_submodule(module).register_forward_hook(
        lambda _module, _given, result: made.append(result)
    )
    with torch.no_grad():
        student(images_to_tensor([PICTURES[0]]))
    handle.remove()
    sizes = made[0].abs().amax(dim=(0, 2, 3))
    return math.log(float(sizes.max() / sizes.min()))


@pytest.mark.parametrize("name", SHAPES)
def test_nothing_that_is_painted_changes(name: str) -> None:
    student = uneven(**SHAPES[name])
    other = equalised(student)
    for picture in PICTURES:
        difference = painting_with(student)(picture).astype(int) - painting_with(other)(picture)
        assert np.abs(difference).max() <= 1
    before, after = (dict(each.named_parameters()) for each in (student, other))
    changed = {module.rsplit(".", 1)[0] for module in before if module.endswith("weight")}
    same = {n for n in changed if torch.equal(before[f"{n}.weight"], after[f"{n}.weight"])}
    assert same == set()


@pytest.mark.parametrize("module", ["stem", "blocks.0", "blocks.1", "blocks.1.expand.1"])
def test_channels_come_nearer_to_one_another(module: str) -> None:
    student = uneven()
    assert spread(equalised(student), module) < 0.6 * spread(student, module)


def test_a_channel_that_holds_nothing_is_left_finite() -> None:
    student = uneven()
    with torch.no_grad():
        student.stem.weight[3] = 0
        student.stem.bias[3] = 0
        student.blocks[0].expand[1].bias.fill_(-1e4)  # a ReLU that never opens
    other = equalised(student)
    assert all(parameter.isfinite().all() for parameter in other.parameters())
    difference = painting_with(student)(PICTURES[0]).astype(int) - painting_with(other)(PICTURES[0])
    assert np.abs(difference).max() <= 1
