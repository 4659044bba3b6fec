"""What is asked about a network before it is pruned: scores of channels, damage, time."""

import contextlib
import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from nstc.compress.learning.loop import Objective
from nstc.compress.learning.processes import best_device
from nstc.compress.learning.style_sources import StyleSource
from nstc.compress.pruning.channel_groups import channel_groups, remove_channels
from nstc.compress.pruning.importance import BATCHES, Evidence, Scores, importance_named
from nstc.compress.pruning.stopwatch import Stopwatch, stopwatch
from nstc.compress.pruning.width_plans import Widths, least_scored
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress
from nstc.models.functional import feature_distance, gram_distance, gram_matrix
from nstc.models.perceptual import CONTENT_LAYERS, STYLE_LAYERS, ContentLoss, StyleLoss
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures

HALF: Final = 0.5
"""Of a group's channels: how much is removed to see how much it is missed."""


DAMAGE_PHOTOS: Final = 4
DAMAGE_SIZE: Final = 256
"""Side in pixels of the photographs' centre squares; a multiple of 8, as all networks take them."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What a change did, as means over photographs."""

    # Style loss after over before, minus 1: what `style_ratio` grows by, whoever the teacher is.
    # Below 0 if the pictures came nearer to the painting.
    style: float
    content: float  # likewise of the content loss
    # Between the pictures before and after, as VGG sees them: Gram distances of the style's layers
    # and feature distances of the content's, summed. Never below 0.
    distance: float


@dataclass(frozen=True)
class _ThroughVgg:
    """A picture through VGG."""

    grams: Mapping[str, Tensor]
    features: Mapping[str, Tensor]
    style: float
    content: float


class DamageMeter:
    """Remembers a network's pictures of some photographs, and compares others' with them.

    Of a set of at least one, `DAMAGE_PHOTOS` evenly spread are looked at, as squares of `size`
    pixels. Only the pictures of the network, which is in evaluation mode, are kept.
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
        pairs = list(zip(self._before, self._look(network), strict=True))
        distance = 0.0
        for old, new in pairs:
            for name in STYLE_LAYERS:
                distance += float(gram_distance(new.grams[name], old.grams[name]))
            for name in CONTENT_LAYERS:
                distance += float(feature_distance(new.features[name], old.features[name]))
        return Damage(
            style=sum(new.style / old.style - 1 for old, new in pairs) / len(pairs),
            content=sum(new.content / old.content - 1 for old, new in pairs) / len(pairs),
            distance=distance / len(pairs),
        )

    def _look(self, network: nn.Module) -> Sequence[_ThroughVgg]:
        """What VGG sees of a network's pictures, whose 8 bits saturate."""
        network.to(self._device)
        seen = []
        layers = tuple(dict.fromkeys((*STYLE_LAYERS, *CONTENT_LAYERS)))
        with torch.inference_mode():
            for photo, content in zip(self.photographs, self._contents, strict=True):
                features = self._vgg(network(photo).float().clamp(0, 1), layers)
                seen.append(
                    _ThroughVgg(
                        {name: gram_matrix(features[name]) for name in STYLE_LAYERS},
                        {name: features[name] for name in CONTENT_LAYERS},
                        float(self._style(features)),
                        float(self._content(features, content)),
                    )
                )
        network.cpu()
        return seen


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Answers questions about networks that come from one."""

    network: nn.Module  # the one, in evaluation mode; damage is what changes its pictures
    importance: str  # name of the measure of channels
    photos: PhotoSet  # looked at
    source: StyleSource  # the style
    vgg: VggFeatures  # the feature network, on the device where the work is done
    # Gives the distillation's loss of a network, which it may move to that device.
    objective: Callable[[nn.Module], Objective]
    seed: int  # of the orders in which networks are timed
    progress: Progress  # told of what takes long
    size: int = DAMAGE_SIZE  # side in pixels of the photographs' centre squares that are looked at

    @functools.cached_property
    def meter(self) -> DamageMeter:
        """Compares with the pictures of the network as it is."""
        return DamageMeter(self.network, self.photos, self.source, self.vgg, self.size)

    def scores(self, network: nn.Module) -> Scores:
        """How much each of its channels matters."""
        squares = self.photos.take(BATCHES).squares(self.size)
        evidence = Evidence(
            network=network,
            groups=channel_groups(network),
            photographs=lambda: (images_to_tensor([square]) for square in squares),
            objective=lambda: self.objective(network),
        )
        found = importance_named(self.importance)(evidence)
        network.cpu()
        return found

    def damage_of_halves(self, network: nn.Module, scores: Scores) -> dict[str, Damage]:
        """What it does to halve each group alone, by the group's name."""
        groups = channel_groups(network)
        self.progress.begin("halve each layer alone", len(groups), 0)
        found = {}
        for done, group in enumerate(groups, start=1):
            half = {group.name: max(1, int(group.width * HALF))}
            found[group.name] = self.meter(narrowed(network, scores, half))
            self.progress.advance(done, {})
        return found

    def timing(
        self, network: nn.Module, target: str
    ) -> contextlib.AbstractContextManager[Stopwatch]:
        """A stopwatch for narrower copies of a network."""
        self.progress.note(f"exporting the network, to time narrower ones beside it on {target}")
        return stopwatch(network, target, seed=self.seed)


def narrowed(network: nn.Module, scores: Scores, widths: Widths) -> nn.Module:
    """A copy of a network that keeps so many channels of the named groups, the best ones."""
    narrow = copy.deepcopy(network)
    remove_channels(narrow, least_scored(scores, widths))
    return narrow
