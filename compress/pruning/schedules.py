"""How many channels each group keeps, for a share of all that goes or a goal by count or clock.

The work of a network of other widths is counted without building it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import nn

from nstc.compress.pruning.channels import ChannelGroup, Scores, Widths
from nstc.core import Progress, errors
from nstc.models.architectures import REFERENCE_SIZE, convolution_shapes

# From the share of the channels that goes, 0 to 1, to the widths left.
WidthSchedule = Callable[[float], Widths]
LARGEST_SHARE: Final = 0.95  # no group loses more than that, however little it seems to matter
# A difference in time below this part is noise: a width that saves no more is not worth taking.
MEASURABLE: Final = 0.01
_COUNTED_STEPS: Final = 14
_TIMED_STEPS: Final = 7


def full_widths(groups: Sequence[ChannelGroup]) -> Widths:
    """All channels of all groups."""
    return {group.name: group.width for group in groups}


def width_costs(
    network: nn.Module, groups: Sequence[ChannelGroup], size: int = REFERENCE_SIZE
) -> Callable[[Mapping[str, float]], int]:
    """From widths to a network's multiply-accumulates, for a picture of `size` squared."""
    shapes = convolution_shapes(network, size)
    made: dict[nn.Module, str] = {}
    read: dict[nn.Module, str] = {}
    for group in groups:
        made |= dict.fromkeys((*group.writes, *group.depthwise), group.name)
        read |= dict.fromkeys(group.reads, group.name)
    # Of each convolution the multiply-accumulates for one channel made of one that is read, and
    # the groups of these channels, or how many they are if they are in none.
    layers: list[tuple[int, str | int, str | int]] = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            positions = shapes[name][1][2:].numel()
            reads = 1 if module.groups > 1 else read.get(module, module.in_channels)
            makes = made.get(module, module.out_channels)
            layers.append((positions * math.prod(module.kernel_size), makes, reads))

    def macs(widths: Mapping[str, float]) -> int:
        def count(channels: str | int) -> float:
            return widths[channels] if isinstance(channels, str) else channels

        return sum(round(work * count(makes) * count(reads)) for work, makes, reads in layers)

    return macs


def uniform(groups: Sequence[ChannelGroup], round_to: int) -> WidthSchedule:
    """The same share of every group."""

    def left(width: int, share: float) -> int:
        kept = width * (1 - share)
        if kept >= width - 1e-6:
            return width
        return min(width, max(round_to, math.floor(kept / round_to + 1e-6) * round_to))

    return lambda share: {group.name: left(group.width, share) for group in groups}


def by_score(groups: Sequence[ChannelGroup], scores: Scores, round_to: int) -> WidthSchedule:
    """Those channels that score least in the whole network, each relative to its group's mean."""
    relative = {g.name: scores[g.name] / scores[g.name].mean().clamp_min(1e-20) for g in groups}
    ranked = torch.cat([relative[group.name] for group in groups]).sort().values

    def widths(share: float) -> Widths:
        threshold = ranked[min(len(ranked) - 1, int(len(ranked) * share))]
        kept = {group.name: float((relative[group.name] >= threshold).sum()) for group in groups}
        return {g.name: _nearest(kept[g.name], g.width, round_to) for g in groups}

    return widths


def by_sensitivity(
    groups: Sequence[ChannelGroup],
    sensitivity: Mapping[str, float],
    costs: Mapping[str, float],
    round_to: int,
) -> WidthSchedule:
    """Most of those groups that cost much and change the output little.

    If a group that loses a share r changes the output by s·r², the shares that save the most work
    for the least change in all are in proportion to work over s. `sensitivity`, at least 0, is the
    change when half of a group alone is removed, `costs` the work that the group takes part in.
    """
    floor = max(sensitivity.values(), default=0.0) * 1e-3 or 1.0
    pull = {g.name: costs[g.name] / max(sensitivity[g.name], floor) for g in groups}
    total = sum(group.width for group in groups)

    def shares(strength: float) -> dict[str, float]:
        return {name: min(LARGEST_SHARE, strength * own) for name, own in pull.items()}

    def widths(share: float) -> Widths:
        low, high = 0.0, LARGEST_SHARE / min(pull.values())
        for _ in range(40):
            middle = (low + high) / 2
            lost = shares(middle)
            gone = sum(group.width * lost[group.name] for group in groups)
            low, high = (middle, high) if gone < share * total else (low, middle)
        found = shares(high)
        return {g.name: _nearest(g.width * (1 - found[g.name]), g.width, round_to) for g in groups}

    return widths


def between(first: Widths, last: Widths, part: float, round_to: int) -> Widths:
    """Widths at a part, 0 to 1, of the way from `first` to fewer, in multiples of `round_to`.

    Each shrinks by the same factor in every part.
    """
    if part >= 1:
        return last
    return {
        name: max(last[name], _nearest(width * (last[name] / width) ** part, width, round_to))
        for name, width in first.items()
    }


def share_within(
    schedule: WidthSchedule,
    cost: Callable[[Widths], float],
    goal: float,
    steps: int = _COUNTED_STEPS,
) -> float | None:
    """The smallest share of the channels, to some thousandths, without which a network costs less.

    The cost is computed once for each step, which halves what is uncertain, and for the narrowest.
    None if even the narrowest network costs more than the goal.
    """
    low, high = 0.0, LARGEST_SHARE
    if cost(schedule(high)) > goal:
        return None
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (low, middle) if cost(schedule(middle)) <= goal else (middle, high)
    return high


def widest_within(
    schedule: WidthSchedule, share: float, cost: Callable[[Widths], float], goal: float
) -> Widths:
    """The widths at a share of `share_within`, as wide as the goal allows.

    Where widths are multiples, many layers step down at one share, and all of them together go
    past the goal. Of those, as many as fit stay as they were, first the ones of which the step
    would take most.
    """
    uncertain = LARGEST_SHARE / 2**_COUNTED_STEPS
    widths, before = dict(schedule(share)), schedule(max(0.0, share - uncertain))
    for name in sorted(widths, key=lambda name: widths[name] / before[name]):
        wider = {**widths, name: before[name]}
        if cost(wider) <= goal:
            widths = wider
    return widths


def widest_in_time(
    schedule: WidthSchedule,
    groups: Sequence[ChannelGroup],
    measure: Callable[[Widths], float],
    goal_ms: float,
    *,
    round_to: int,
    progress: Progress,
) -> tuple[Widths, float]:
    """The widest network that runs within a time, each candidate timed, and its milliseconds.

    `measure` gives the milliseconds of a network of some widths, in multiples of `round_to`.
    `OptionError`, which names the fastest, if even the narrowest takes longer.
    """
    full = full_widths(groups)
    known: dict[tuple[int, ...], float] = {}

    def ms(widths: Widths) -> float:
        key = tuple(widths[name] for name in full)
        if key not in known:
            known[key] = measure(widths)
            progress.note(f"{known[key]:.3g} ms at widths {', '.join(map(str, key))}")
        return known[key]

    if ms(full) <= goal_ms:
        return full, ms(full)
    share = share_within(schedule, ms, goal_ms, _TIMED_STEPS)
    if share is None:
        raise errors.OptionError(
            f"{goal_ms:g} ms can't be reached by removing channels with widths in multiples of "
            f"{round_to}: the nearest reached is {min(known.values()):.3g} ms. Ask for that, lower "
            "--round-to, or --drop-blocks."
        )
    widths = schedule(share)
    # Steps that save no time are undone, a multiple at a time. The limit stays the first time:
    # many steps of a noise each would add up.
    most = min(goal_ms, ms(widths) * (1 + MEASURABLE))
    for name in full:
        while (width := widths[name]) < full[name]:
            wider = {**widths, name: min(full[name], width + round_to)}
            if ms(wider) > most:
                break
            widths = wider
    return widths, ms(widths)


def fastest_multiple(
    candidates: Sequence[int], time_per_work: Callable[[int], float | None]
) -> int:
    """The multiple of channels that takes the least time for each multiply-accumulate.

    Of several, in rising order, that are equally fast the first is taken; None is passed over.
    """
    best, least = candidates[0], float("inf")
    for multiple in candidates:
        cost = time_per_work(multiple)
        if cost is not None and cost < least * (1 - MEASURABLE):
            best, least = multiple, cost
    return best


def _nearest(kept: float, width: int, round_to: int) -> int:
    """The multiple nearest to `kept`; at least one multiple is kept."""
    if kept >= width - 0.5:
        return width
    return min(width, max(round_to, round(kept / round_to) * round_to))
