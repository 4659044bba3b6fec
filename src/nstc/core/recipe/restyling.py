"""Settings of a student that learns a painting without a teacher."""

from dataclasses import dataclass

from nstc.core.recipe.recipes import DistillRecipe
from nstc.core.recipe.settings import (
    DURATION,
    SEED,
    STRENGTH,
    WEIGHTS,
    Checked,
    above,
    at_least,
    choice,
    multiples,
    parse_duration,
    setting,
    within,
)
from nstc.core.recipe.strength import STRENGTH_BY

_FLOAT_SHARE = 0.85  # of the steps, before they are quantization-aware
_COST_OF_ROUNDING = 1.4  # of a quantization-aware step over one in float


@dataclass(frozen=True, kw_only=True)
class RestyleRecipe(Checked):
    """Settings of `nstc restyle`."""

    steps: int = setting(1600, at_least(1), "Optimizer steps.")
    time: str | None = setting(
        None, DURATION, "Instead of steps: how long it learns, such as 10min or 30min.", shown=""
    )
    size: int = setting(256, multiples(8, 64, 1024), "Side of the crops in px.")
    batch: int = setting(1, within(1, 64), "Crops a step.")
    learning_rate: float = setting(3e-3, above(0))  # peak, of Muon; half of it in QAT
    style_strength: float = setting(
        1.0, STRENGTH, "Strength of the style: from 0, least, to 2; 1 is usual."
    )
    strength_by: str = choice(
        "loss", STRENGTH_BY, "What the strength changes, weights or the style's targets"
    )
    # Beside that of artifacts: the strength sets what is style's and what is content's.
    style_weight: float = setting(2.8, above(0), "Weight of style and content together.")
    checkerboard_weight: float = setting(0.05, at_least(0), "Weight of checkerboard artifacts.")
    steadiness_weight: float = setting(
        0.5, at_least(0), "Weight of flicker and edge artifacts.", flag="flicker-weight"
    )
    terms: str | None = setting(
        None, WEIGHTS, "Weights of more losses: moments=0.5,laplacian=0.2.", shown="none"
    )
    # How far the crops' colours are changed: the sample photographs are few.
    color_jitter: float = setting(0.4, within(0, 1))
    seed: int = setting(0, SEED, "Random seed.")

    @property
    def seconds(self) -> float | None:
        """How long it may learn, or None for `steps`."""
        return None if self.time is None else parse_duration(self.time)

    @property
    def shares_of_time(self) -> tuple[float, float]:
        """Of the steps in float, and of the quantization-aware ones, in units of their own."""
        return _FLOAT_SHARE, _COST_OF_ROUNDING * (1 - _FLOAT_SHARE)

    @property
    def distillation(self) -> DistillRecipe:
        """The same as settings of a distillation without what needs a teacher."""
        return DistillRecipe(
            pixel_steps=0,
            steps=self.steps,
            size=self.size,
            crops=100,  # nothing has to be made of them beforehand
            color_jitter=self.color_jitter,
            perceptual_batch=self.batch,
            perceptual_learning_rate=self.learning_rate,
            pixel_weight=0.0,
            style_weight=self.style_weight,
            checkerboard_weight=self.checkerboard_weight,
            steadiness_weight=self.steadiness_weight,
            terms=self.terms,
            style_strength=self.style_strength,
            strength_by=self.strength_by,
            quantize_aware=True,
            float_share=_FLOAT_SHARE,
            seed=self.seed,
        )
