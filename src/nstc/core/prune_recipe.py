"""The settings of `nstc prune`."""

import math
from dataclasses import dataclass
from typing import Final

from nstc.core.amounts import parse_latency, parse_macs
from nstc.core.errors import OptionError
from nstc.core.settings import Checked, at_least, number_or, one_of, positive, setting, within

IMPORTANCES: Final = ("magnitude", "group-norm", "taylor", "activation")
"""Measures of how much a channel matters."""

DISTRIBUTIONS: Final = ("uniform", "global", "sensitivity")
"""Ways to share out over layers what is removed."""

AUTO: Final = "auto"
"""What is found out by measuring."""


@dataclass(frozen=True, kw_only=True)
class PruneRecipe(Checked):
    """Settings of `nstc prune`.

    Attributes:
        ratio: Share of the channels to remove. At most one of this and the next three is given. 0
            leaves a compression's pruning out.
        speedup: Times fewer multiply-accumulates to reach; the ratio is then found by search.
        target_macs: Multiply-accumulates at 512x512 to reach, such as "400M".
        target_latency: Milliseconds to reach at a place, such as "8ms@cpu:1": measured, on the
            float graph at 512x512.
        importance: Which channels go first; see `nstc.compress.importance`.
        distribution: How much each layer loses: all the same share, those channels that score
            least in the whole network, or most where that does least damage.
        drop_blocks: How many whole residual blocks go before any channels do, those that cost
            least; "auto" for those that cost less than channels of as much work.
        iterations: In how many turns the channels go, with fine-tuning after each.
        round_to: Widths left are multiples of this; "auto" for what multiply-accumulates are
            fastest with, by measuring.
        steps: Of fine-tuning in all, with the distillation's loss.
        learning_rate: Peak while fine-tuning, of Muon; half of it where it rounds.
        seed: Of all randomness.
    """

    ratio: float | None = setting(None, lambda v: v is None or 0 <= v < 1, "from 0 to below 1")
    speedup: float | None = setting(None, lambda v: v is None or 1 < v < math.inf, "above 1")
    target_macs: str | None = setting(None, lambda _: True, "")
    target_latency: str | None = setting(None, lambda _: True, "")
    importance: str = one_of(IMPORTANCES, "group-norm")
    distribution: str = one_of(DISTRIBUTIONS, "uniform")
    drop_blocks: int | str = number_or(AUTO, 0, 31, 0)
    iterations: int = within(1, 100, 1)
    round_to: int | str = number_or(AUTO, 1, 64, 8)
    steps: int = at_least(0, 500)
    learning_rate: float = positive(2e-3)
    seed: int = within(0, 2**63 - 1, 0)

    def __post_init__(self) -> None:
        """Refuse values out of range, or that contradict."""
        super().__post_init__()
        names = ("ratio", "speedup", "target_macs", "target_latency")
        given = [name.replace("_", "-") for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise OptionError(f"{' and '.join(given)} were both given: choose one.")
        if self.target_macs is not None:
            parse_macs(self.target_macs)
        if self.target_latency is not None:
            parse_latency(self.target_latency)
        if self.iterations > max(1, self.steps):
            raise OptionError(
                f"iterations is {self.iterations}, with fine-tuning after each, and steps is "
                f"{self.steps}: give more steps, or fewer iterations."
            )

    @property
    def removes_nothing(self) -> bool:
        """Whether there is nothing to prune."""
        return self.ratio == 0 and self.drop_blocks == 0
