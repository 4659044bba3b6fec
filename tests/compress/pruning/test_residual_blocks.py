"""Networks without some of their blocks."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from nstc.compress.pruning.block_dropping import block_count, without_block
from nstc.models.student import Student
from nstc.models.transformer import TransformerNet


def student() -> nn.Module:
    torch.manual_seed(4)
    return Student(8, [8, 16, 24]).eval()


def teacher() -> nn.Module:
    torch.manual_seed(4)
    return TransformerNet((8, 8, 8), (8, 16, 24), (8, 8)).eval()


@pytest.mark.parametrize("make", [student, teacher])
@pytest.mark.parametrize("block", [0, 1, 2])
def test_a_block_that_adds_nothing_is_not_missed(make: Callable[[], nn.Module], block: int) -> None:
    network = make()
    prefix = f"blocks.{block}.project.1" if isinstance(network, Student) else f"res{block + 1}.in2"
    for parameter in network.get_submodule(prefix).parameters():
        parameter.data.zero_()
    fewer = without_block(network, block)
    pictures = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(fewer(pictures), network(pictures))
    inner = [8, 16, 24]
    del inner[block]
    assert fewer.arguments()["inner"] == inner
    assert (block_count(network), block_count(fewer)) == (3, 2)


def test_the_first_network_is_left_alone() -> None:
    network = student()
    without_block(network, 0)
    assert block_count(network) == 3
