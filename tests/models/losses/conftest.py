"""Features of the layers of style."""

import pytest
import torch

from nstc.models.losses import STYLE_LAYERS


@pytest.fixture
def features():
    """Features of two pictures; the second picture's are three times the first's."""
    return {
        name: torch.rand(1, 4, 6, 6) * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
        for name in STYLE_LAYERS
    }
