"""LPIPS and DISTS, which need packages and weights that nstc neither ships nor downloads."""

import contextlib
import functools
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from nstc.core.images import Pixels

_PACKAGE: Final = "lpips"
_BACKBONE: Final = "alexnet-owt-7be5be79.pth"
"""The AlexNet of torchvision that LPIPS is calibrated for, as torch.hub names it in its cache."""

_DISTS_PACKAGE: Final = "DISTS_pytorch"
_DISTS_BACKBONE: Final = "vgg16-397923af.pth"
"""The VGG-16 of torchvision that DISTS is calibrated for."""

_DISTS_WEIGHTS: Final = "weights.pt"
"""What the package installs beside Python: how much each channel counts."""


def lpips_missing() -> str | None:
    """Why LPIPS can't be computed here and what to do about it; None if it can."""
    if importlib.util.find_spec(_PACKAGE) is None:
        return "the package lpips is not installed: pip install lpips."
    return _backbone_missing(_BACKBONE, "AlexNet")


def load_lpips() -> Callable[[Pixels, Pixels], float]:
    """The distance of two pictures (H, W, 3) uint8: 0 for equal ones, farther apart is more.

    Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR
    2018: version 0.1 with AlexNet, as its authors recommend for comparisons. Ask `lpips_missing`
    first: without weights the package would download them.
    """
    package: Any = importlib.import_module(_PACKAGE)
    with _quiet_torchvision():
        network = package.LPIPS(net="alex", version="0.1", verbose=False)
    return functools.partial(_distance, functools.partial(network, normalize=True))


def dists_missing() -> str | None:
    """Why DISTS can't be computed here and what to do about it; None if it can."""
    if importlib.util.find_spec(_DISTS_PACKAGE) is None:
        return "the package DISTS_pytorch is not installed: pip install dists-pytorch."
    own = Path(sys.prefix) / _DISTS_WEIGHTS
    if not own.is_file():
        return f"its own weights are not at {own}: pip install --force-reinstall dists-pytorch."
    return _backbone_missing(_DISTS_BACKBONE, "VGG-16")


def load_dists() -> Callable[[Pixels, Pixels], float]:
    """The distance of two pictures (H, W, 3) uint8: 0 for equal ones, up to about 1.

    Ding, Ma, Wang and Simoncelli, "Image quality assessment: unifying structure and texture
    similarity", TPAMI 2020: it forgives textures that are alike but elsewhere, as strokes are. Ask
    `dists_missing` first: without weights the package would download them.
    """
    package: Any = importlib.import_module(_DISTS_PACKAGE)
    with _quiet_torchvision():
        return functools.partial(_distance, package.DISTS().eval())


def _distance(network: Callable[..., Any], pixels: Pixels, reference: Pixels) -> float:
    import torch

    from nstc.models.tensors import images_to_tensor

    with torch.inference_mode():
        return float(network(images_to_tensor([pixels]), images_to_tensor([reference])))


def _backbone_missing(file: str, name: str) -> str | None:
    import torch

    weights = Path(torch.hub.get_dir()) / "checkpoints" / file
    if weights.is_file():
        return None
    return (
        f"there are no {name} weights at {weights}: "
        f"fetch https://download.pytorch.org/models/{file} to there."
    )


@contextlib.contextmanager
def _quiet_torchvision() -> Iterator[None]:
    """Both packages ask torchvision for weights by a deprecated argument."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torchvision\.")
        yield
