"""VGG-16 and VGG-19, whose features the perceptual losses compare.

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
from torch.nn.utils import skip_init
from torch.utils.checkpoint import checkpoint

from nstc.core import decoding, distributions, errors
from nstc.core.files import sha256_of
from nstc.models.tensors import read_safetensors, refuse_unusable

SHIPPED_FILE: Final = "vgg16_features_relu4_3_fp16.safetensors"
SHIPPED_SHA256: Final = "622a834ba48f137fd7023b5b2cb49a5244b7f6c6c269bdcb742658daf217f1dc"

# Convolutions of 3x3 in each of five blocks, which a pooling ends; and the channels they give.
_VGG16: Final = (2, 2, 3, 3, 3)
_VGG19: Final = (2, 2, 4, 4, 4)
_WIDTHS: Final = (64, 128, 256, 512, 512)
_OXFORD_NORMALISATION: Final = ((0.48502, 0.45795, 0.40760), (1 / 255,) * 3)
_TORCHVISION: Final = {
    "torchvision": "VGG16_Weights.IMAGENET1K_V1",
    "torchvision-vgg19": "VGG19_Weights.IMAGENET1K_V1",
}
_TORCHVISION_NORMALISATION: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _layers(convolutions: tuple[int, ...]) -> dict[str, int]:
    """Positions in torchvision's `features` of all ReLUs, relu1_1 and so on."""
    positions, position = {}, 0
    for block, count in enumerate(convolutions, start=1):
        for number in range(1, count + 1):
            positions[f"relu{block}_{number}"] = position + 1
            position += 2
        position += 1
    return positions


class VggFeatures(nn.Module):
    """The convolutions of VGG-16 or VGG-19, frozen.

    `convolutions` says how many each block has, and the network ends with the convolution at
    position `last`. R, G and B of an image in [0, 1] are normalised by `mean` and `std`.
    """

    def __init__(
        self,
        convolutions: tuple[int, ...],
        last: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, count in zip(_WIDTHS, convolutions, strict=True):
            for _ in range(count):
                # its values are loaded: to draw random ones before takes as long as all the rest
                convolution: nn.Module = skip_init(  # type: ignore[no-untyped-call]
                    nn.Conv2d, channels, width, 3, padding=1
                )
                layers += [convolution, nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers[: last + 2])
        # By name, those that there are.
        self.layers = {n: p for n, p in _layers(convolutions).items() if p <= last + 1}
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def forward(
        self, images: Tensor, layers: Iterable[str], *, sparing: bool = False
    ) -> dict[str, Tensor]:
        """Features of images (N, 3, H, W) in [0, 1], H and W at least 8, by names out of `layers`.

        `sparing` keeps a third less for the gradient: what is cheap is computed again for it. The
        results are the same.

        Returns:
            A tensor (N, C, H/s, W/s) for each name, s being 1, 2, 4, 8, 16 in blocks 1 to 5.

        Raises:
            OptionError: a layer that these weights do not reach.
        """
        wanted = {self.position(name): name for name in layers}
        found: dict[str, Tensor] = {}
        x = (images - self.get_buffer("mean")) / self.get_buffer("std")
        # Three times as fast in half precision on a processor as channel after channel.
        x = x.contiguous(memory_format=torch.channels_last)
        first = 0
        if sparing and self.layers["relu1_1"] not in wanted:
            # relu1_1 is as large as any layer and made of three channels. The convolution after it
            # is in this part because it would keep relu1_1; it is not computed again.
            first = 3
            x = checkpoint(self.features[:first], x, use_reentrant=False)
        for position, layer in enumerate(self.features[first:], start=first):
            # Indices of maxima have eight bytes, twice the features' in float32.
            again = sparing and isinstance(layer, nn.MaxPool2d)
            x = checkpoint(layer, x, use_reentrant=False) if again else layer(x)
            if position in wanted:
                found[wanted[position]] = x
            if len(found) == len(wanted):
                break
        return found

    def position(self, layer: str) -> int:
        """Of a layer in `features`; `OptionError` if these weights do not have it."""
        if layer not in self.layers:
            raise errors.OptionError(
                f"these VGG weights have no layer {decoding.printable(layer):.40}: expected one of "
                f"{', '.join(self.layers)}."
            )
        return self.layers[layer]


def load_vgg(source: str = "shipped") -> VggFeatures:
    """The feature network.

    Args:
        source: "shipped" for the file of nstc-models, "torchvision" for torchvision's
            ImageNet weights (downloads 528 MB the first time), "torchvision-vgg19" for those of
            VGG-19 (548 MB), or the path of a safetensors file of either with torchvision's keys
            (`features.N.weight`, up to relu4_3 at least) and input normalisation.

    Raises:
        CorruptBundleError: the shipped file is missing, or not the one this version has.
        CheckpointError: the weights are not those of VGG-16 or VGG-19.
        OptionError: `source` names nothing that exists.
        MissingExtraError: the shipped file comes with nstc-models, which is not installed in
            this version.
    """
    if source == "shipped":
        if not distributions.has_models():
            raise distributions.missing_models("the VGG-16 that judges pictures")
        try:
            content = (resources.files("nstc.models") / "data" / SHIPPED_FILE).read_bytes()
        except FileNotFoundError as error:
            raise errors.CorruptBundleError(
                f"{SHIPPED_FILE} is missing: {distributions.repair(SHIPPED_FILE)}"
            ) from error
        if hashlib.sha256(content).hexdigest() != SHIPPED_SHA256:
            raise errors.CorruptBundleError(
                f"{SHIPPED_FILE} differs from the file nstc was released with: "
                f"{distributions.repair(SHIPPED_FILE)}"
            )
        return _with_weights(load(content), _OXFORD_NORMALISATION)
    if source in _TORCHVISION:
        from torchvision.models import get_weight

        state = get_weight(_TORCHVISION[source]).get_state_dict(progress=True, check_hash=True)
        return _with_weights(state, _TORCHVISION_NORMALISATION)
    path = Path(source)
    if not path.is_file():
        raise errors.OptionError(
            f"no VGG weights at {source}: give shipped, {', '.join(_TORCHVISION)} or a "
            "safetensors file."
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
    return source if source in _TORCHVISION else sha256_of(Path(source))


def _with_weights(
    weights: dict[str, Tensor], normalisation: tuple[tuple[float, ...], tuple[float, ...]]
) -> VggFeatures:
    # In VGG-19 a fourth convolution of the third block stands where VGG-16 has a ReLU.
    convolutions = _VGG19 if "features.16.weight" in weights else _VGG16
    positions = [position - 1 for position in _layers(convolutions).values()]
    present = [p for p in positions if f"features.{p}.weight" in weights]
    least = _layers(convolutions)["relu4_3"] - 1
    network = VggFeatures(convolutions, max([least, *present]), *normalisation)
    own = network.state_dict()
    for key, expected in own.items():
        if key not in weights:
            raise errors.CheckpointError(
                f"not the weights of VGG-16 or VGG-19: {key} is missing. "
                "Keys must be torchvision's, features.0.weight and so on."
            )
        if weights[key].shape != expected.shape:
            raise errors.CheckpointError(
                f"not the weights of VGG-16 or VGG-19: {key} is {tuple(weights[key].shape)}, "
                f"expected {tuple(expected.shape)}. Configurations D and E without batch norm fit."
            )
    refuse_unusable({key: weights[key] for key in own}, "the VGG file")
    network.load_state_dict({key: weights[key].float() for key in own})
    return network
