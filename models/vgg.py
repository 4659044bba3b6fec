"""VGG-16, the feature extractor of the perceptual losses.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014.
"""

import hashlib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from nstc.core import decoding, errors
from nstc.core.files import sha256_of
from nstc.models.tensors import read_safetensors, refuse_unusable

LAYERS: Final[dict[str, int]] = {"relu1_2": 3, "relu2_2": 8, "relu3_3": 15, "relu4_3": 22}
"""Names of the layers that losses use, and their positions in torchvision's `features`."""

SHIPPED_FILE: Final = "vgg16_features_relu4_3_fp16.safetensors"
SHIPPED_SHA256: Final = "622a834ba48f137fd7023b5b2cb49a5244b7f6c6c269bdcb742658daf217f1dc"

_WIDTHS: Final = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512)
_OXFORD_NORMALISATION: Final = ((0.48502, 0.45795, 0.40760), (1 / 255,) * 3)
_TORCHVISION_NORMALISATION: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class VggFeatures(nn.Module):
    """The convolutions of VGG-16 up to relu4_3, frozen.

    R, G and B of an image in [0, 1] are normalised by `mean` and `std`.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in _WIDTHS:
            if isinstance(width, int):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def forward(self, images: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Features of images (N, 3, H, W) in [0, 1], H and W at least 8, by names out of `LAYERS`.

        Returns:
            A tensor (N, C, H/s, W/s) for each name, s being 1, 2, 4, 8 from first to last layer.
        """
        wanted = {LAYERS[name]: name for name in layers}
        found: dict[str, Tensor] = {}
        x = (images - self.get_buffer("mean")) / self.get_buffer("std")
        # Three times as fast in half precision on a processor as channel after channel.
        x = x.contiguous(memory_format=torch.channels_last)
        for position, layer in enumerate(self.features):
            x = layer(x)
            if position in wanted:
                found[wanted[position]] = x
            if len(found) == len(wanted):
                break
        return found


def load_vgg(source: str = "shipped") -> VggFeatures:
    """The feature network.

    Args:
        source: "shipped" for the file inside this package, "torchvision" for torchvision's
            ImageNet weights (downloads 528 MB the first time), or the path of a safetensors file
            with torchvision's keys (`features.N.weight`) and torchvision's input normalisation.

    Raises:
        CorruptBundleError: the shipped file is not the one this version was made with.
        CheckpointError: the weights are not those of VGG-16.
        OptionError: `source` names nothing that exists.
    """
    if source == "shipped":
        content = (resources.files("nstc.models") / "data" / SHIPPED_FILE).read_bytes()
        if hashlib.sha256(content).hexdigest() != SHIPPED_SHA256:
            raise errors.CorruptBundleError(
                f"{SHIPPED_FILE} differs from the file nstc was released with: install nstc again."
            )
        return _with_weights(load(content), _OXFORD_NORMALISATION)
    if source == "torchvision":
        from torchvision.models import VGG16_Weights

        state = VGG16_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
        return _with_weights(state, _TORCHVISION_NORMALISATION)
    path = Path(source)
    if not path.is_file():
        raise errors.OptionError(
            f"no VGG weights at {source}: give shipped, torchvision or a safetensors file."
        )
    try:
        weights = read_safetensors(path)
    except (SafetensorError, decoding.DecodingError) as error:
        raise errors.CheckpointError(
            f"{path} is not a safetensors file: {decoding.printable(str(error))[:300]}"
        ) from error
    return _with_weights(weights, _TORCHVISION_NORMALISATION)


def vgg_identity(source: str) -> str:
    """A key that is equal for the same weights: the file's hash, or torchvision's name."""
    if source == "shipped":
        return SHIPPED_SHA256
    return source if source == "torchvision" else sha256_of(Path(source))


def _with_weights(
    weights: dict[str, Tensor], normalisation: tuple[tuple[float, ...], tuple[float, ...]]
) -> VggFeatures:
    network = VggFeatures(*normalisation)
    own = network.state_dict()
    for key, expected in own.items():
        if key not in weights:
            raise errors.CheckpointError(
                f"not the weights of VGG-16: {key} is missing. "
                "Keys must be torchvision's, features.0.weight and so on."
            )
        if weights[key].shape != expected.shape:
            raise errors.CheckpointError(
                f"not the weights of VGG-16: {key} is {tuple(weights[key].shape)}, "
                f"expected {tuple(expected.shape)}. Configuration D without batch norm is needed."
            )
    refuse_unusable({key: weights[key] for key in own}, "the VGG-16 file")
    network.load_state_dict({key: weights[key].float() for key in own})
    return network
