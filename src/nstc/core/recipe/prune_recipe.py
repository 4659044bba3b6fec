"""The settings of `nstc prune`."""

from dataclasses import dataclass
from typing import Final

from nstc.core.amounts import parse_latency, parse_macs
from nstc.core.errors import OptionError
from nstc.core.recipe.settings import (
    ANY,
    SEED,
    Allowed,
    Checked,
    above,
    at_least,
    number_or,
    one_of,
    setting,
    within,
)

IMPORTANCES: Final = ("magnitude", "group-norm", "taylor", "activation")
"""Measures of how much a channel matters."""

DISTRIBUTIONS: Final = ("uniform", "global", "sensitivity")
"""Ways to share out over layers what is removed."""

AUTO: Final = "auto"
"""What is found out by measuring."""


@dataclass(frozen=True, kw_only=True)
class PruneRecipe(Checked):
    """Settings of `nstc prune`. Of the first four at most one is given."""

    # 0 leaves a compression's pruning out.
    ratio: float | None = setting(
        None,
        Allowed(lambda share: 0 <= share < 1, "from 0 to below 1"),
        "Share of the channels to remove.",
        shown="0.25",
    )
    # The ratio is then found by search.
    speedup: float | None = setting(None, above(1), "Instead: times fewer multiply-accumulates.")
    target_macs: str | None = setting(
        None, ANY, "Instead: multiply-accumulates at 512x512, 400M or 10G."
    )
    target_latency: str | None = setting(
        None, ANY, "Instead: time of the float graph at 512x512, 8ms@cpu:1, measured."
    )
    # See `nstc.compress.pruning.channels`.
    importance: str = setting(
        "group-norm",
        one_of(*IMPORTANCES),
        "What goes first: magnitude, group-norm, taylor or activation.",
    )
    # All the same share, those channels that score least in the whole network, or most where that
    # does least damage.
    distribution: str = setting(
        "uniform", one_of(*DISTRIBUTIONS), "What each layer loses: uniform, global or sensitivity."
    )
    # Those that cost least; "auto" for those that cost less than channels of as much work.
    drop_blocks: int | str = setting(
        0,
        number_or(AUTO, 0, 31),
        "Whole residual blocks to drop first, or auto: those cheaper than channels.",
    )
    iterations: int = setting(1, within(1, 100), "Turns, with fine-tuning after each.")
    # What multiply-accumulates are fastest with.
    round_to: int | str = setting(
        8, number_or(AUTO, 1, 64), "Widths are multiples of it; auto measures which are fastest."
    )
    # With the distillation's loss.
    steps: int = setting(500, at_least(0), "Of fine-tuning, in all; 0 for none.")
    # Peak while fine-tuning, of Muon; half of it where it rounds.
    learning_rate: float = setting(2e-3, above(0))
    seed: int = setting(0, SEED, "Of all randomness.")

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
