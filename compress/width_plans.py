"""How many channels each group keeps, for a share of all channels that goes."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch

from nstc.compress.channel_groups import ChannelGroup
from nstc.compress.importance import Scores

Widths = Mapping[str, int]
"""Channels left, by name of the group."""

Ladder = Callable[[float], Widths]
"""From the share of the channels that goes, 0 to 1, to the widths left."""

LARGEST_SHARE: Final = 0.95
"""No group loses more than that, however little it seems to matter."""

_SEARCH_STEPS: Final = 40
_HALF_A_CHANNEL: Final = 0.5


def full_widths(groups: Sequence[ChannelGroup]) -> Widths:
    """All channels of all groups."""
    return {group.name: group.width for group in groups}


def uniform(groups: Sequence[ChannelGroup], round_to: int) -> Ladder:
    """The same share of every group."""

    def widths(share: float) -> Widths:
        kept = {group.name: group.width * (1 - share) for group in groups}
        return {g.name: _at_most(kept[g.name], g.width, round_to) for g in groups}

    return widths


def by_score(groups: Sequence[ChannelGroup], scores: Scores, round_to: int) -> Ladder:
    """Those channels that score least in the whole network, each beside the mean of its group."""
    beside = {
        group.name: scores[group.name] / scores[group.name].mean().clamp_min(1e-20)
        for group in groups
    }
    ranked = torch.cat([beside[group.name] for group in groups]).sort().values

    def widths(share: float) -> Widths:
        gone = min(len(ranked) - 1, int(len(ranked) * share))
        threshold = ranked[gone]
        kept = {group.name: float((beside[group.name] >= threshold).sum()) for group in groups}
        return {g.name: _nearest(kept[g.name], g.width, round_to) for g in groups}

    return widths


def by_sensitivity(
    groups: Sequence[ChannelGroup],
    damage: Mapping[str, float],
    costs: Mapping[str, float],
    round_to: int,
) -> Ladder:
    """Most of those groups that cost much and are missed little.

    If a group that loses a share r does damage s·r², the shares that save the most work for the
    least damage in all are in proportion to work over s.

    Args:
        groups: All of them.
        damage: Done by removing half of a group alone, at least 0.
        costs: Work that a group takes part in, such as multiply-accumulates.
        round_to: Widths are multiples of it.
    """
    floor = max(damage.values(), default=0.0) * 1e-3 or 1.0
    pull = {g.name: costs[g.name] / max(damage[g.name], floor) for g in groups}
    total = sum(group.width for group in groups)

    def share_of(name: str, strength: float) -> float:
        return min(LARGEST_SHARE, strength * pull[name])

    def widths(share: float) -> Widths:
        low, high = 0.0, LARGEST_SHARE / min(pull.values())
        for _ in range(_SEARCH_STEPS):
            middle = (low + high) / 2
            gone = sum(group.width * share_of(group.name, middle) for group in groups)
            low, high = (middle, high) if gone < share * total else (low, middle)
        kept = {group.name: group.width * (1 - share_of(group.name, high)) for group in groups}
        return {g.name: _nearest(kept[g.name], g.width, round_to) for g in groups}

    return widths


def between(first: Widths, last: Widths, part: float, round_to: int) -> Widths:
    """Widths on the way from some to fewer: each shrinks by the same factor in every part.

    Args:
        first: At 0.
        last: At 1.
        part: From 0 to 1.
        round_to: Those between are multiples of it.
    """
    if part >= 1:
        return last
    found = {}
    for name, width in first.items():
        ideal = width * (last[name] / width) ** part
        found[name] = max(last[name], _nearest(ideal, width, round_to))
    return found


def least_scored(scores: Scores, widths: Widths) -> dict[str, torch.Tensor]:
    """The channels to remove, by group, so that `widths` are left: those that score least."""
    return {
        name: scores[name].argsort(stable=True)[: len(scores[name]) - width]
        for name, width in widths.items()
    }


def _at_most(kept: float, width: int, round_to: int) -> int:
    """The largest multiple that is no more than `kept`; at least one multiple is kept."""
    if kept >= width - 1e-6:
        return width
    return min(width, max(round_to, math.floor(kept / round_to + 1e-6) * round_to))


def _nearest(kept: float, width: int, round_to: int) -> int:
    """The multiple nearest to `kept`; at least one multiple is kept."""
    if kept >= width - _HALF_A_CHANNEL:
        return width
    return min(width, max(round_to, round(kept / round_to) * round_to))
