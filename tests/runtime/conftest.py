"""The shipped student with the file that runs tiles, which is made if it does not ship."""

import pytest
import torch
from export_memory import exported_once
from whole_copies import whole_copy

from nstc.compress.export.export_model import export
from nstc.compress.quantization.quantize_model import quantize
from nstc.core.bundle import TILES_ARTIFACT, Bundle, open_bundle
from nstc.core.manifest import Step
from nstc.core.photos import sample_photos
from nstc.core.recipe import QuantizeRecipe
from nstc.models.architectures import network_bundle
from nstc.models.student import TwoScaleStudent

__all__ = ["exported_once"]


@pytest.fixture(scope="session")
def tiles_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    shipped = open_bundle("zoo:starry-night")
    if TILES_ARTIFACT in shipped.artifacts:
        return shipped
    path = whole_copy(shipped.path, tmp_path_factory.mktemp("tiles") / "student")
    export(path, formats=["tiles"])
    return open_bundle(path)


@pytest.fixture(scope="session")
def two_scale_tiles_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Of a student with random weights whose statistics are of every fourth row."""
    folder = tmp_path_factory.mktemp("two scales")
    torch.manual_seed(6)
    network = TwoScaleStudent(16, [16], 8).eval()
    torch.nn.init.normal_(network.to_pixels.weight, std=0.1)
    named = {"name": "n", "stage": "distilled", "step": Step(verb="distill", recipe={})}
    with network_bundle(folder / "float", network, None, **named):
        pass
    few = QuantizeRecipe(calibration_photos=2, calibration_size=96, size=64)
    quantize(folder / "float", folder / "int8", photos=sample_photos(), recipe=few)
    export(folder / "int8", formats=["tiles"])
    return open_bundle(folder / "int8")
