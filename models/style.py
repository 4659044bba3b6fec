"""Style statistics: a painting's Gram matrices at three sizes, and the colours of pictures."""

import functools
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nstc.core import decoding, manifest, unusable_models
from nstc.core.bundle import STYLE_FILE, Bundle
from nstc.core.errors import CorruptBundleError
from nstc.core.images import Pixels, resize_longer_side
from nstc.core.images.paintings import SMALLEST_STYLE, refuse_narrow, usable_painting
from nstc.models.losses import STYLE_LAYERS, gram_matrix
from nstc.models.tensors import as_arrays, faults_of_shapes, images_to_tensor, load_tensors
from nstc.models.vgg import VggFeatures, load_vgg

# Long sides, in pixels, at which a painting's statistics are taken.
STYLE_SIZES: Final = (SMALLEST_STYLE, 512, 1024)
_CHANNELS: Final = dict(zip(STYLE_LAYERS, (64, 128, 256, 512), strict=True))
_SIZE: Final = re.compile(r"[1-9][0-9]{0,4}")
_NEGLIGIBLE: Final = 1e-4  # share of the largest variance: colours' directions below are left out


@dataclass(frozen=True)
class StyleStatistics:
    """For each size the Gram matrix (C, C), float32, of each layer in `STYLE_LAYERS`."""

    grams: Mapping[int, Mapping[str, Tensor]]

    @functools.cached_property
    def identity(self) -> str:
        """A hash that is equal for equal matrices, to the half precision that they are kept in."""
        digest = hashlib.sha256()
        for name, values in sorted(self.packed().items()):
            digest.update(name.encode() + values.numpy().tobytes())
        return digest.hexdigest()

    def at(self, size: int) -> Mapping[str, Tensor]:
        """The matrices whose size is nearest to `size` in ratio."""
        nearest = min(self.grams, key=lambda known: max(known / size, size / known))
        return self.grams[nearest]

    def packed(self) -> dict[str, Tensor]:
        """Upper triangles in half precision, divided by their largest value, and that value."""
        tensors: dict[str, Tensor] = {}
        for size, layers in self.grams.items():
            for name, gram in layers.items():
                upper = gram[tuple(torch.triu_indices(*gram.shape))]
                scale = upper.abs().max().clamp_min(1e-12)
                tensors[f"{size}.{name}"] = (upper / scale).half()
                tensors[f"{size}.{name}.scale"] = scale.reshape(1)
        return tensors

    @staticmethod
    def unpacked(tensors: Mapping[str, Tensor]) -> "StyleStatistics":
        """The inverse of `packed`, to half precision."""
        grams: dict[int, dict[str, Tensor]] = {}
        for key, upper in tensors.items():
            size, _, name = key.partition(".")
            if name in STYLE_LAYERS:
                channels = int((2 * upper.numel()) ** 0.5)
                gram = torch.zeros(channels, channels)
                gram[tuple(torch.triu_indices(*gram.shape))] = upper.float()
                gram = gram + gram.triu(1).T
                grams.setdefault(int(size), {})[name] = gram * tensors[f"{key}.scale"]
        return StyleStatistics(grams)


def statistics_of_painting(
    painting: Pixels, vgg: VggFeatures, sizes: Iterable[int] = STYLE_SIZES
) -> StyleStatistics:
    """Gram matrices of a painting (H, W, 3) uint8, its long side scaled to sizes in pixels."""
    grams = {}
    for size in sizes:
        refuse_narrow(painting, size)
        grams[size] = mean_grams([resize_longer_side(painting, size)], vgg)
    return StyleStatistics(grams)


def statistics_of_outputs(
    outputs: Mapping[int, Iterable[Pixels]], vgg: VggFeatures
) -> StyleStatistics:
    """The style of a network without a painting: of its own outputs (H, W, 3) uint8, by size."""
    return StyleStatistics({size: mean_grams(images, vgg) for size, images in outputs.items()})


def mean_grams(images: Iterable[Pixels], vgg: VggFeatures) -> dict[str, Tensor]:
    """The Gram matrix (C, C) of each style layer, averaged over pictures (H, W, 3) uint8."""
    sums: dict[str, Tensor] = {}
    count = 0
    with torch.inference_mode():
        for pixels in images:
            features = vgg(images_to_tensor([pixels]), STYLE_LAYERS)
            for name, feature in features.items():
                sums[name] = sums.get(name, 0) + gram_matrix(feature)[0]
            count += 1
    return {name: total.clone() / count for name, total in sums.items()}


def load_style(path: Path) -> StyleStatistics:
    """Read a bundle's `style.safetensors`, which `StyleStatistics.packed` filled.

    `CorruptBundleError` if it did not; `UnusableModelError` if values are not finite, or a matrix
    is one constant.
    """
    tensors = load_tensors(path)
    sizes = {key.partition(".")[0] for key in tensors}
    shapes = {
        f"{size}.{layer}{kind}": (numbers,)
        for size in sizes
        for layer, channels in _CHANNELS.items()
        for kind, numbers in ((".scale", 1), ("", channels * (channels + 1) // 2))
    }
    faults = [f"{size:.20} is not a size in pixels" for size in sizes if not _SIZE.fullmatch(size)]
    faults += faults_of_shapes({key: value.shape for key, value in tensors.items()}, shapes)
    if faults or not tensors:
        raise CorruptBundleError(
            f"{path} holds no style statistics: expected a Gram matrix of each of "
            f"{', '.join(STYLE_LAYERS)}; {decoding.printable('; '.join(faults)):.400}."
        )
    unusable_models.refuse_constant(as_arrays(tensors), path)
    return StyleStatistics.unpacked(tensors)


@dataclass(frozen=True)
class ColorStatistics:
    """Mean (3,) of red, green and blue, 0 to 255, and their covariance (3, 3)."""

    mean: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]


def color_statistics(images: Iterable[Pixels]) -> ColorStatistics:
    """Mean and covariance over the pixels of some pictures (H, W, 3) uint8, each counted alike."""
    firsts, seconds = [], []
    for image in images:
        colors = image.reshape(-1, 3).astype(np.float64)
        firsts.append(colors.mean(axis=0))
        seconds.append(colors.T @ colors / len(colors))
    mean = np.mean(firsts, axis=0)
    return ColorStatistics(mean, np.mean(seconds, axis=0) - np.outer(mean, mean))


def recolored(painting: Pixels, target: ColorStatistics) -> Pixels:
    """A painting (H, W, 3) uint8 with the colours of photographs, to train brush strokes only.

    Gatys et al., "Preserving color in neural artistic style transfer", 2016, by linear histogram
    matching: an affine map that gives the painting's colours the mean and covariance of the
    photographs'. They match one photograph; a network for any photograph is trained with one
    painting, so here it is matched to a whole set. Of the paper's two maps this is the one by
    eigenvalues, S_t^(1/2) S_p^(-1/2). The inverse leaves out directions in which the painting's
    colours do not vary.
    """
    own = color_statistics([painting])
    linear = _power(target.covariance, 0.5) @ _power(own.covariance, -0.5)
    mapped = (painting.reshape(-1, 3) - own.mean) @ linear.T + target.mean
    return np.clip(np.rint(mapped), 0, 255).astype(np.uint8).reshape(painting.shape)


def _power(covariance: npt.NDArray[np.float64], exponent: float) -> npt.NDArray[np.float64]:
    """A symmetric matrix to a power, in the directions whose variance is not negligible."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > max(_NEGLIGIBLE * values.max(), 1e-9)
    raised = np.where(kept, np.where(kept, values, 1.0) ** exponent, 0.0)
    result: npt.NDArray[np.float64] = (vectors * raised) @ vectors.T
    return result


@dataclass(frozen=True)
class StyleSource:
    """Statistics, and their entry in a manifest."""

    record: manifest.Style
    statistics: StyleStatistics


def style_of(bundle: Bundle) -> StyleStatistics | None:
    """A bundle's style statistics, or None if it has none."""
    return None if bundle.manifest.style is None else load_style(bundle.file(STYLE_FILE))


def style_brought_by(bundle: Bundle) -> StyleSource | None:
    """The style in a bundle, which its teacher may have come without; None if it has none."""
    statistics, record = style_of(bundle), bundle.manifest.style
    return StyleSource(record, statistics) if statistics and record else None


def painting_style(
    painting: Path, *, credit: str | None, vgg: str | VggFeatures, pixels: Pixels | None = None
) -> StyleSource:
    """The style of a painting, by what `load_vgg` takes or gave, on the CPU.

    `pixels` are what `usable_painting` gave of it, where it was asked already. Raises as that.
    """
    if pixels is None:
        pixels = usable_painting(painting)
    features = load_vgg(vgg) if isinstance(vgg, str) else vgg
    statistics = statistics_of_painting(pixels, features)
    record = manifest.Style(name=painting.stem, source="painting", credit=credit)
    return StyleSource(record, statistics)
