"""LPIPS, which needs a package and weights that nstc neither ships nor downloads."""

import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from nstc.core.images import Pixels
from nstc.models.tensors import images_to_tensor

_PACKAGE: Final = "lpips"
_BACKBONE: Final = "alexnet-owt-7be5be79.pth"
"""The AlexNet of torchvision that LPIPS is calibrated for, as torch.hub names it in its cache."""


def lpips_missing() -> str | None:
    """Why LPIPS can't be computed here and what to do about it; None if it can."""
    if importlib.util.find_spec(_PACKAGE) is None:
        return "the package lpips is not installed: pip install lpips."
    weights = Path(torch.hub.get_dir()) / "checkpoints" / _BACKBONE
    if not weights.is_file():
        return (
            f"there are no AlexNet weights at {weights}: "
            f"fetch https://download.pytorch.org/models/{_BACKBONE} to there."
        )
    return None


def load_lpips() -> Callable[[Pixels, Pixels], float]:
    """The distance of two pictures (H, W, 3) uint8: 0 for equal ones, farther apart is more.

    Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR
    2018: version 0.1 with AlexNet, as its authors recommend for comparisons. Ask `lpips_missing`
    first: without weights the package would download them.
    """
    package: Any = importlib.import_module(_PACKAGE)
    with warnings.catch_warnings():
        # it asks torchvision for the weights by a deprecated argument
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torchvision\.")
        network = package.LPIPS(net="alex", version="0.1", verbose=False)

    def distance(pixels: Pixels, reference: Pixels) -> float:
        own, other = images_to_tensor([pixels]), images_to_tensor([reference])
        with torch.inference_mode():
            return float(network(own, other, normalize=True))

    return distance
