"""How far a network's pictures have moved from what they were before it was changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from nstc.compress.processes import best_device
from nstc.compress.style_sources import StyleSource
from nstc.core.photos import PhotoSet
from nstc.models.functional import feature_distance, gram_distance, gram_matrix
from nstc.models.perceptual import CONTENT_LAYERS, STYLE_LAYERS, ContentLoss, StyleLoss
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures

DAMAGE_PHOTOS: Final = 4
DAMAGE_SIZE: Final = 256
"""Side in pixels of the photographs' centre squares; a multiple of 8, as all networks take them."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What a change did, as means over photographs.

    Attributes:
        style: Style loss after over before, minus 1: what `style_ratio` grows by, whoever the
            teacher is. Below 0 if the pictures came nearer to the painting.
        content: Likewise of the content loss.
        distance: Between the pictures before and after, as VGG sees them: Gram distances of the
            style's layers and feature distances of the content's, summed. Never below 0.
    """

    style: float
    content: float
    distance: float


@dataclass(frozen=True)
class _Seen:
    """A picture through VGG."""

    grams: Mapping[str, Tensor]
    features: Mapping[str, Tensor]
    style: float
    content: float


class DamageMeter:
    """Remembers a network's pictures of some photographs, and compares others' with them.

    Args:
        network: As it was, in evaluation mode. Only its pictures are kept.
        photos: At least one; the first `DAMAGE_PHOTOS`, evenly spread, are looked at.
        source: The style.
        vgg: The feature network.
        size: Side of the squares in pixels.
    """

    def __init__(
        self,
        network: nn.Module,
        photos: PhotoSet,
        source: StyleSource,
        vgg: VggFeatures,
        size: int = DAMAGE_SIZE,
    ) -> None:
        self._vgg = vgg
        self._device = best_device()
        self._style = StyleLoss(source.statistics.at(size)).to(self._device)
        self._content = ContentLoss()
        squares = photos.take(DAMAGE_PHOTOS).squares(size)
        self.photographs = [images_to_tensor([square]).to(self._device) for square in squares]
        with torch.inference_mode():
            self._contents = [vgg(photo, CONTENT_LAYERS) for photo in self.photographs]
        self._before = self._look(network)

    def __call__(self, network: nn.Module) -> Damage:
        """What was done to a network that painted like the first one."""
        found = [
            _compared(before, after)
            for before, after in zip(self._before, self._look(network), strict=True)
        ]
        style, content, distance = (sum(column) / len(found) for column in zip(*found, strict=True))
        return Damage(style=style, content=content, distance=distance)

    def _look(self, network: nn.Module) -> Sequence[_Seen]:
        """What VGG sees of a network's pictures, whose 8 bits saturate."""
        network.to(self._device)
        with torch.inference_mode():
            seen = [
                self._seen(network(photo).float().clamp(0, 1), content)
                for photo, content in zip(self.photographs, self._contents, strict=True)
            ]
        network.cpu()
        return seen

    def _seen(self, picture: Tensor, content: Mapping[str, Tensor]) -> _Seen:
        features = self._vgg(picture, tuple(dict.fromkeys((*STYLE_LAYERS, *CONTENT_LAYERS))))
        return _Seen(
            {name: gram_matrix(features[name]) for name in STYLE_LAYERS},
            {name: features[name] for name in CONTENT_LAYERS},
            float(self._style(features)),
            float(self._content(features, content)),
        )


def _compared(before: _Seen, after: _Seen) -> tuple[float, float, float]:
    grams = sum(float(gram_distance(after.grams[n], before.grams[n])) for n in STYLE_LAYERS)
    features = sum(
        float(feature_distance(after.features[n], before.features[n])) for n in CONTENT_LAYERS
    )
    return (
        after.style / before.style - 1,
        after.content / before.content - 1,
        grams + features,
    )
