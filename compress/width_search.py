"""The fewest channels to remove for a goal: by counting work, or by the clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from nstc.compress.channel_groups import ChannelGroup
from nstc.compress.width_plans import LARGEST_SHARE, Ladder, Widths, full_widths
from nstc.core.errors import OptionError
from nstc.core.progress import Progress

MEASURABLE: Final = 0.01
"""A difference in time below this part is noise: a width that saves no more helps nobody."""

_COUNTED_STEPS: Final = 14
_FINEST: Final = LARGEST_SHARE / 2**_COUNTED_STEPS
"""What a share by counting is uncertain by."""
_TIMED_STEPS: Final = 7


def share_within(
    ladder: Ladder, fits: Callable[[Widths], bool], steps: int = _COUNTED_STEPS
) -> float | None:
    """The smallest share of the channels, to some thousandths, without which a network fits.

    Args:
        ladder: Gives the widths at a share.
        fits: Whether widths are small enough; asked once for each step, and for the narrowest.
        steps: Each halves what is uncertain.

    Returns:
        None if even the narrowest network does not fit.
    """
    low, high = 0.0, LARGEST_SHARE
    if not fits(ladder(high)):
        return None
    for _ in range(steps):
        middle = (low + high) / 2
        if fits(ladder(middle)):
            high = middle
        else:
            low = middle
    return high


def widest_within(
    ladder: Ladder, share: float, costs: Callable[[Widths], float], goal: float
) -> Widths:
    """The widths at a share, as wide as the goal allows.

    Where widths are multiples, many layers step down at one share, and all of them together go
    past the goal. Of those, as many as fit stay as they were, first the ones of which the step
    would take most.

    Args:
        ladder: Gives the widths at a share.
        share: From `share_within`.
        costs: Of a network of some widths.
        goal: They are to be no more than that.
    """
    widths, before = dict(ladder(share)), ladder(max(0.0, share - _FINEST))
    for name in sorted(widths, key=lambda name: widths[name] / before[name]):
        wider = {**widths, name: before[name]}
        if costs(wider) <= goal:
            widths = wider
    return widths


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Widths, and what a network of them took.

    Attributes:
        widths: Channels by group.
        ms: Milliseconds a picture.
    """

    widths: Widths
    ms: float


class LatencySearch:
    """Finds the widest network that runs within a time, trying each on the clock.

    Args:
        ladder: Gives the widths at a share of the channels that goes.
        groups: All of the network's.
        measure: Milliseconds of a network of some widths.
        round_to: Widths are multiples of it.
        progress: Told of every network that was timed.
    """

    def __init__(
        self,
        ladder: Ladder,
        groups: Sequence[ChannelGroup],
        measure: Callable[[Widths], float],
        round_to: int,
        progress: Progress,
    ) -> None:
        self._ladder = ladder
        self._full = full_widths(groups)
        self._measure = measure
        self._round_to = round_to
        self._progress = progress
        self._known: dict[tuple[int, ...], float] = {}

    def reach(self, goal_ms: float) -> Timed:
        """The widths to take.

        Raises:
            OptionError: even the narrowest network takes longer; the fastest is named.
        """
        if self._ms(self._full) <= goal_ms:
            return self._timed(self._full)
        share = share_within(self._ladder, lambda widths: self._ms(widths) <= goal_ms, _TIMED_STEPS)
        if share is None:
            fastest = min(self._known.values())
            raise OptionError(
                f"{goal_ms:g} ms can't be reached by removing channels with widths in multiples of "
                f"{self._round_to}: the nearest reached is {fastest:.3g} ms. Ask for that, lower "
                "--round-to, or --drop-blocks."
            )
        return self._given_back(self._ladder(share), goal_ms)

    def _given_back(self, widths: Widths, goal_ms: float) -> Timed:
        """Undo what does not help the clock, a multiple at a time."""
        current = self._timed(widths)
        for name, full in self._full.items():
            while (width := current.widths[name]) < full:
                wider = {**current.widths, name: min(full, width + self._round_to)}
                ms = self._ms(wider)
                if ms > goal_ms or ms > current.ms * (1 + MEASURABLE):
                    break
                # the time stays the first one's: many steps of a noise each would add up
                current = Timed(widths=wider, ms=current.ms)
        return self._timed(current.widths)

    def _timed(self, widths: Widths) -> Timed:
        return Timed(widths=widths, ms=self._ms(widths))

    def _ms(self, widths: Widths) -> float:
        key = tuple(widths[name] for name in self._full)
        if key not in self._known:
            self._known[key] = self._measure(widths)
            shown = ", ".join(map(str, key))
            self._progress.note(f"{self._known[key]:.3g} ms at widths {shown}")
        return self._known[key]


def fastest_multiple(
    candidates: Sequence[int], time_per_work: Callable[[int], float | None]
) -> int:
    """The multiple that kernels like best: the least time for each multiply-accumulate.

    Args:
        candidates: In rising order; of several that are equally fast the first is taken.
        time_per_work: Of networks with widths in multiples of it; None if there is none such.
    """
    best, least = candidates[0], float("inf")
    for multiple in candidates:
        cost = time_per_work(multiple)
        if cost is not None and cost < least * (1 - MEASURABLE):
            best, least = multiple, cost
    return best
