"""A training that was not interrupted."""

from pathlib import Path

import pytest
from small_trainings import fresh_network, run
from torch import nn


@pytest.fixture
def uninterrupted(tmp_path: Path) -> nn.Module:
    network = fresh_network()
    run(network, tmp_path / "uninterrupted")
    return network
