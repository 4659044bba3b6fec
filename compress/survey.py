"""What is asked about a network before it is pruned: scores, damage, time."""

import contextlib
import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from torch import nn

from nstc.compress.channel_groups import ChannelGroup, channel_groups, remove_channels
from nstc.compress.damage import DAMAGE_SIZE, Damage, DamageMeter
from nstc.compress.importance import BATCHES, Evidence, Scores, importance_named
from nstc.compress.optimisation import Objective
from nstc.compress.stopwatch import Stopwatch, stopwatch
from nstc.compress.style_sources import StyleSource
from nstc.compress.width_plans import (
    Widths,
    least_scored,
)
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures

HALF: Final = 0.5
"""Of a group's channels: how much is removed to see how much it is missed."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Answers questions about networks that come from one.

    Attributes:
        network: The one, in evaluation mode; damage is what changes its pictures.
        importance: Name of the measure of channels.
        photos: Looked at.
        source: The style.
        vgg: The feature network, on the device where the work is done.
        objective: Gives the distillation's loss of a network, which it may move to that device.
        seed: Of the orders in which networks are timed.
        progress: Told of what takes long.
        size: Side in pixels of the photographs' centre squares that are looked at.
    """

    network: nn.Module
    importance: str
    photos: PhotoSet
    source: StyleSource
    vgg: VggFeatures
    objective: Callable[[nn.Module], Objective]
    seed: int
    progress: Progress
    size: int = DAMAGE_SIZE

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
            found[group.name] = self.meter(narrowed(network, scores, half_of(group)))
            self.progress.advance(done, {})
        return found

    def timing(
        self, network: nn.Module, target: str
    ) -> contextlib.AbstractContextManager[Stopwatch]:
        """A stopwatch for narrower copies of a network."""
        self.progress.note(f"exporting the network, to time narrower ones beside it on {target}")
        return stopwatch(network, target, seed=self.seed)


def half_of(group: ChannelGroup) -> Widths:
    """A group's width without half of its channels; one at least stays."""
    return {group.name: max(1, int(group.width * HALF))}


def narrowed(network: nn.Module, scores: Scores, widths: Widths) -> nn.Module:
    """A copy of a network that keeps so many channels of the named groups, the best ones."""
    narrow = copy.deepcopy(network)
    remove_channels(narrow, least_scored(scores, widths))
    return narrow
