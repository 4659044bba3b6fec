"""Students that have not learned, quantized: what a shape costs, its weights do not change."""

from pathlib import Path
from typing import Final

import torch
from torch import nn

from nstc.compress.quantization.quantize_model import quantize
from nstc.core.bundle import Bundle
from nstc.core.files import scratch_folder
from nstc.core.manifest import Step
from nstc.core.photos import sample_photos
from nstc.core.recipe import QuantizeRecipe
from nstc.models.architectures import network_bundle

# What weights and ranges are, times do not depend on.
QUICK: Final = QuantizeRecipe(calibration_photos=2, calibration_size=128, size=64)
_SPREAD: Final = 0.05  # of the random weights, so that each layer has a range


def quantized_untrained(network: nn.Module, path: Path) -> Bundle:
    """The bundle of a student with random weights and a static int8 file, the same at each call.

    `network` is changed. `OutputError` if the path can't be written.
    """
    network.eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(_SPREAD * torch.randn(parameter.shape, generator=generator))
    step = Step(verb="distill", recipe={})
    with scratch_folder() as folder:
        unquantized = folder / "float"
        with network_bundle(unquantized, network, None, name="n", stage="distilled", step=step):
            pass
        return quantize(unquantized, path, photos=sample_photos(), recipe=QUICK)[0]
