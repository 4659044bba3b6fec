"""Settings of students of several styles that share their weights."""

import dataclasses

from nstc.core.recipe.recipes import DistillRecipe
from nstc.core.recipe.restyling import RestyleRecipe
from nstc.core.recipe.settings import (
    SEED,
    STRENGTH,
    Checked,
    above,
    at_least,
    multiples,
    setting,
    switch,
    within,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShareRecipe(Checked):
    """Settings of `nstc share`; what is not among them is as `nstc distill` has it by default."""

    # The styles take turns: all steps are as many times the number of styles.
    steps: int = setting(1000, at_least(1), "Optimizer steps of each style.")
    size: int = setting(256, multiples(8, 64, 1024), "Side of the crops in px.")
    crops: int = setting(1, within(1, 100), "Crops of each photograph.")
    batch: int = setting(1, within(1, 64), "Crops a step.")
    learning_rate: float = setting(2e-3, above(0))  # peak, of Muon
    pixel_weight: float = setting(0.5, at_least(0), "Weight of the pixel loss.")
    balance: bool = switch(
        True,
        "Correct the weights of style, content and flicker, for each style alone, so that all "
        "three come equally near to their goals.",
    )
    quantize_aware: bool = switch(
        False, "Quantization-aware training in the last part of the steps."
    )
    # Those steps cost half as much.
    float_share: float = setting(
        0.75, within(0, 0.99), "With --quantize-aware, the share of its steps before it quantizes."
    )
    # Their content loss is held at a level, as in `nstc restyle`.
    style_strength: float = setting(
        1.0, STRENGTH, "Strength of a style that is a painting: from 0, least, to 2; 1 is usual."
    )
    # How far the crops' colours are changed, for sets of few photographs.
    color_jitter: float = setting(0.0, within(0, 1))
    seed: int = setting(0, SEED, "Random seed.")

    @property
    def distillation(self) -> DistillRecipe:
        """The same as settings of a style's distillation, in the second stage alone."""
        return DistillRecipe(
            pixel_steps=0,
            steps=self.steps,
            size=self.size,
            crops=self.crops,
            color_jitter=self.color_jitter,
            perceptual_batch=self.batch,
            perceptual_learning_rate=self.learning_rate,
            pixel_weight=self.pixel_weight,
            balance=self.balance,
            quantize_aware=self.quantize_aware,
            float_share=self.float_share,
            seed=self.seed,
        )

    @property
    def without_teacher(self) -> DistillRecipe:
        """The same for a style that is a painting, without what needs a teacher."""
        return dataclasses.replace(
            self.distillation,
            crops=100,  # nothing has to be made of them beforehand
            pixel_weight=0.0,
            steadiness_weight=RestyleRecipe.steadiness_weight,
            style_strength=self.style_strength,
        )

    @property
    def of_photograph(self) -> DistillRecipe:
        """The same for a student that gives the photograph: its pixels are all that is compared."""
        return dataclasses.replace(
            self.distillation,
            crops=100,
            pixel_weight=1.0,
            style_weight=0.0,
            content_weight=0.0,
            checkerboard_weight=0.0,
            steadiness_weight=0.0,
        )
