"""Settings of the optimisation of an image."""

from collections.abc import Mapping
from dataclasses import dataclass

from nstc.core.errors import OptionError
from nstc.core.recipe.settings import (
    DURATION,
    SEED,
    STRENGTH,
    WEIGHTS,
    Checked,
    above,
    at_least,
    choice,
    parse_duration,
    setting,
    switch,
    weights_in,
    within,
)
from nstc.core.recipe.strength import STRENGTH_BY, StrengthOfStyle


@dataclass(frozen=True, kw_only=True)
class OptimizeRecipe(StrengthOfStyle, Checked):
    """Settings of `nstc optimize`."""

    size: int = setting(512, within(32, 4096), "Long side of the picture in px.")
    steps: int = setting(200, within(1, 100_000), "Optimizer steps, over all scales.")
    time: str | None = setting(
        None, DURATION, "Instead of steps: how long it runs, such as 90s or 3min.", shown=""
    )
    # From coarse to fine, each half of the next one's size. What is large in a style is found where
    # an image is small, in a fraction of the time.
    scales: int | None = setting(
        None, within(1, 6), "Sizes from coarse to fine, each half the next.", shown="down to 256 px"
    )
    optimizer: str = choice("lbfgs", ("lbfgs", "adam"), "Method of optimisation")
    learning_rate: float | None = setting(
        None, above(0), "Learning rate.", shown="1 for lbfgs, 0.02 for adam"
    )
    style_weight: float = setting(
        1.0, at_least(0), "Weight of the style losses; with --balance give --style-strength."
    )
    content_weight: float = setting(
        1.0, at_least(0), "Weight of the content losses; with --balance give --style-strength."
    )
    tv_weight: float = setting(0.0, at_least(0), "Weight of total variation.")
    style_losses: str = setting("gram=1", WEIGHTS, "Losses against the painting, and weights.")
    content_losses: str = setting("content=1", WEIGHTS, "Losses against the photograph.")
    style_layers: str | None = setting(
        None,
        WEIGHTS,
        "VGG layers of the style losses: relu1_2=1,relu3_3=2.",
        shown="as usual",
    )
    content_layers: str | None = setting(
        None, WEIGHTS, "VGG layers of the content losses.", shown="as usual"
    )
    balance: bool = switch(
        True,
        "Set the weight of the loss content while it runs, so that a strength means nearly the "
        "same for every painting.",
    )
    style_strength: float = setting(
        1.0, STRENGTH, "Strength of the style: 0 is the photograph, 1 usual, 2 most."
    )
    # With "loss" the strength is of the balance's level, or a factor on the style's weight.
    strength_by: str = choice(
        "loss", STRENGTH_BY, "What the strength changes, weights or the style's targets"
    )
    style_size: int | None = setting(
        None, within(32, 4096), "Long side of the painting in px.", shown="as --size"
    )
    preserve_color: str = choice(
        "none", ("none", "luminance", "histogram"), "Keep the photograph's colours"
    )
    seed: int = setting(0, SEED, "Random seed.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.style_weight == 0 and self.content_weight == 0:
            raise OptionError(
                "style-weight and content-weight are both 0: nothing would be optimised."
            )
        if self.balances and "content" not in self.content_terms:
            raise OptionError(
                "balance holds the loss content at its level, and content-losses has none: "
                "add content=1, or give --no-balance."
            )

    @property
    def balances(self) -> bool:
        """Whether the weight of content is set while it runs: where there are both losses."""
        none = self.strength_of_level == 0  # the photograph itself
        return self.balance and self.style_weight > 0 and self.content_weight > 0 and not none

    @property
    def seconds(self) -> float | None:
        """How long it may run, or None for `steps`."""
        return None if self.time is None else parse_duration(self.time)

    @property
    def style_terms(self) -> Mapping[str, float]:
        """Weights of the losses against the painting, by name."""
        return weights_in(self.style_losses)

    @property
    def content_terms(self) -> Mapping[str, float]:
        """Weights of the losses against the photograph, by name."""
        return weights_in(self.content_losses)

    @property
    def rate(self) -> float:
        """The learning rate that is asked for, or the method's usual one."""
        usual = 1.0 if self.optimizer == "lbfgs" else 0.02
        return usual if self.learning_rate is None else self.learning_rate
