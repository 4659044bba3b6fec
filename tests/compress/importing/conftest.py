"""A checkpoint of pytorch/examples' fast_neural_style."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from example_checkpoints import examples_state
from torch import Tensor


@pytest.fixture(scope="module")
def state() -> "OrderedDict[str, Tensor]":
    return examples_state()


@pytest.fixture
def checkpoint(state: dict[str, Tensor], tmp_path: Path) -> Path:
    path = tmp_path / "candy.pth"
    torch.save(state, path)
    return path
