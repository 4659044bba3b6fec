"""The perceptual losses: pure functions of tensors, modules that sum them over layers, and VGG-16.

Gatys, Ecker and Bethge, "Image Style Transfer Using Convolutional Neural Networks", CVPR 2016;
Johnson, Alahi and Fei-Fei, "Perceptual Losses for Real-Time Style Transfer", ECCV 2016;
Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014.
Each distance is divided by the size of its target, so that a weight means the same for every
layer, picture and style.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nstc.core import decoding, errors
from nstc.core.files import sha256_of
from nstc.models.tensors import read_safetensors, refuse_unusable

# Names of the layers that losses use, and their positions in torchvision's `features`.
LAYERS: Final[dict[str, int]] = {"relu1_2": 3, "relu2_2": 8, "relu3_3": 15, "relu4_3": 22}
SHIPPED_FILE: Final = "vgg16_features_relu4_3_fp16.safetensors"
SHIPPED_SHA256: Final = "622a834ba48f137fd7023b5b2cb49a5244b7f6c6c269bdcb742658daf217f1dc"

_WIDTHS: Final = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512)
_OXFORD_NORMALISATION: Final = ((0.48502, 0.45795, 0.40760), (1 / 255,) * 3)
_TORCHVISION_NORMALISATION: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

STYLE_LAYERS: Final = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
CONTENT_LAYERS: Final = ("relu2_2", "relu3_3")

_TINY = 1e-12
_WINDOW = 8  # periods a side over which a checkerboard keeps its phase


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


def gram_matrix(features: Tensor) -> Tensor:
    """Inner products of channels over the picture, divided by C·H·W.

    Features (N, C, H, W) to (N, C, C) in float32.
    """
    gram: Tensor = _Gram.apply(features)
    return gram


class _Gram(torch.autograd.Function):
    """`gram_matrix`, differentiated by hand.

    Autograd would multiply twice in float32 and give the result in NCHW, from which half precision
    features in channels_last have to be converted at every layer: more than VGG's backward pass
    costs.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        rows = _rows(features).float()
        # Autocast would round the products to half precision, which sums of thousands can't spare.
        with torch.autocast(features.device.type, enabled=False):
            gram: Tensor = rows.transpose(1, 2) @ rows / features[0].numel()
        return gram

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (features,) = ctx.saved_tensors
        n, c, h, w = features.shape
        both = (gradient + gradient.transpose(1, 2)) / features[0].numel()
        rows: Tensor = _rows(features) @ both.to(features.dtype)
        return rows.reshape(n, h, w, c).permute(0, 3, 1, 2)


def _rows(features: Tensor) -> Tensor:
    """Features (N, C, H, W) as (N, H·W, C): a view where they are in channels_last."""
    return features.permute(0, 2, 3, 1).flatten(1, 2)


def gram_distance(gram: Tensor, target: Tensor) -> Tensor:
    """Style loss of one layer: |G - T|² / |T|², with G (N, C, C) and T the same or (1, C, C).

    (N,) non-negative; 0 where they are equal, 1 where `gram` is zero.
    """
    gram, target = gram.float(), target.float()
    difference = (gram - target).square().sum(dim=(1, 2))
    return difference / target.square().sum(dim=(1, 2)).clamp_min(_TINY)


def feature_distance(features: Tensor, target: Tensor) -> Tensor:
    """Content loss of one layer: |F - T|² / |T|², both (N, C, H, W).

    (N,) non-negative; 0 where they are equal, 1 where `features` is zero.
    """
    features, target = features.float(), target.float()
    difference = (features - target).square().sum(dim=(1, 2, 3))
    return difference / target.square().sum(dim=(1, 2, 3)).clamp_min(_TINY)


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference between neighbouring pixels, across plus down.

    (N, 3, H, W), H and W at least 2, to (N,) non-negative, in units of the image.
    """
    images = images.float()
    down = (images[:, :, 1:] - images[:, :, :-1]).abs().mean(dim=(1, 2, 3))
    across = (images[:, :, :, 1:] - images[:, :, :, :-1]).abs().mean(dim=(1, 2, 3))
    return down + across


def checkerboard_energy(images: Tensor, period: int) -> Tensor:
    """Power of what repeats in a picture with a fixed period, as blocks written side by side do.

    From the picture is taken its weighted mean over one period and both its ends, so that slopes do
    not count; of what is left, each phase's mean over windows of 8 by 8 periods, or all there are,
    is squared. Brush strokes and edges keep no phase over such a window and cancel; a checkerboard
    does not.

    Images are (N, 3, H, W), H and W at least 2 periods of an even number of pixels.

    Returns:
        (N,) non-negative, in units of the image squared.
    """
    images = images.float()
    n, c, height, width = images.shape
    ends = torch.ones(period + 1, device=images.device)
    ends[0] = ends[-1] = 0.5
    kernel = ends / period
    single = images.reshape(n * c, 1, height, width)
    smooth = F.conv2d(F.conv2d(single, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    half = period // 2
    detail = images[:, :, half:-half, half:-half] - smooth.reshape(n, c, height - period, -1)
    rows, columns = (side // period * period for side in detail.shape[2:])
    phases = F.pixel_unshuffle(detail[:, :, :rows, :columns], period)
    window = min(_WINDOW, *phases.shape[2:])
    means = F.avg_pool2d(phases, window, stride=max(1, window // 2))
    return means.square().mean(dim=(1, 2, 3))


NOISE = 2 / 255  # standard deviation of a sensor's, which is added to every shifted photograph
Axes = tuple[int, int]  # which of rows and columns are shifted by half a pixel: those that are 1
SHIFTS: Final[tuple[Axes, ...]] = ((0, 0), (0, 1), (1, 0), (1, 1))  # a camera's, equally likely


def flicker_map(
    network: Callable[[Tensor], Tensor],
    photographs: Tensor,
    outputs: Tensor,
    axes: Axes,
    rng: np.random.Generator,
) -> Tensor:
    """Flicker (temporal inconsistency) of each value: its change beyond the photograph's.

    The photographs are shifted by half a pixel along some axes, and get another noise; their
    pictures should be shifted alike and be the same otherwise. Costs a second run of the network
    and none of VGG.

    Compare Gao et al., "ReCoNet: real-time coherent video style transfer network", ACCV 2018,
    who use the optical flow of videos in the place of a known shift.

    Photographs are (N, 3, H, W) in [0, 1], outputs the network's pictures of them, and the axes
    one of `SHIFTS`.

    Returns:
        The absolute difference, (N, 3, H, W).
    """
    noise = torch.from_numpy(rng.normal(0, NOISE, tuple(photographs.shape)).astype(np.float32))
    changed = (shifted(photographs, axes) + noise.to(photographs.device)).clamp(0, 1)
    return (network(changed).float() - shifted(outputs.float(), axes)).abs()


def shifted(images: Tensor, axes: Axes) -> Tensor:
    """(N, C, H, W) shifted by half a pixel along each axis that is 1; the last line stays."""
    for axis, moves in zip((2, 3), axes, strict=True):
        if moves:
            length = images.shape[axis]
            last = images.narrow(axis, length - 1, 1)
            following = torch.cat([images.narrow(axis, 1, length - 1), last], dim=axis)
            images = (images + following) / 2
    return images


class StyleLoss(nn.Module):
    """Distance of a picture's Gram matrices from a style's (C, C), summed over layers."""

    def __init__(self, grams: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.layers: tuple[str, ...] = tuple(grams)
        for name, gram in grams.items():
            self.register_buffer(name, gram.float().unsqueeze(0), persistent=False)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Features (N, C, H, W) by layer name to losses (N,)."""
        terms = [
            gram_distance(gram_matrix(features[name]), self.get_buffer(name))
            for name in self.layers
        ]
        return torch.stack(terms).sum(dim=0)


class ContentLoss(nn.Module):
    """Feature reconstruction loss, summed over `CONTENT_LAYERS`."""

    def forward(self, features: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
        """Features and the photograph's, (N, C, H, W) by layer name, to losses (N,)."""
        terms = [feature_distance(features[name], target[name]) for name in CONTENT_LAYERS]
        return torch.stack(terms).sum(dim=0)
