"""Fixtures of the networks' tests: the VGG features, and small networks with lively weights."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from small_networks import painting
from torch import Tensor, nn

from nstc.models.student import Student
from nstc.models.transformer import TransformerNet
from nstc.models.vgg import VggFeatures, load_vgg

__all__ = ["painting"]  # a fixture

Extent = Callable[[Callable[[Tensor], Tensor], int, int, int], tuple[int, int]]


@pytest.fixture(autouse=True)
def _same_randomness() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield


@pytest.fixture(scope="session")
def vgg() -> VggFeatures:
    return load_vgg()


@pytest.fixture
def small_transformer() -> TransformerNet:
    return TransformerNet(down=(8, 6, 4), inner=(3, 5), up=(7, 2)).eval()


@pytest.fixture
def small_student() -> Callable[..., Student]:
    """Makes a student whose 48 outputs differ, as they do after training."""

    def make(
        *, inner: tuple[int, ...] = (8, 16), block: Any = "separable", **options: Any
    ) -> Student:
        student = Student(8, inner, block, **options)
        nn.init.normal_(student.head.weight, std=0.1)
        return student.eval()

    return make


@pytest.fixture
def extent() -> Extent:
    """Measures how far from an output pixel, in rows, the input pixels lie that it depends on."""

    def measure(
        network: Callable[[Tensor], Tensor], side: int, row: int, column: int
    ) -> tuple[int, int]:
        images = torch.full((1, 3, side, side), 0.5, dtype=torch.float64, requires_grad=True)
        network(images)[0, :, row, column].sum().backward()
        assert images.grad is not None
        rows = images.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
        assert rows.min() > 0, "the picture is too small to see the whole field"
        assert rows.max() < side - 1
        return row - int(rows.min()), int(rows.max()) - row

    return measure
