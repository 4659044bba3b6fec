"""Settings of a student of any painting, whose style is predicted."""

import dataclasses

from nstc.core.recipe.recipes import DistillRecipe
from nstc.core.recipe.restyling import RestyleRecipe
from nstc.core.recipe.settings import (
    DURATION,
    SEED,
    STRENGTH,
    Checked,
    above,
    at_least,
    multiples,
    parse_duration,
    setting,
    within,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnyRecipe(Checked):
    """Settings of `nstc pack train-any`; what is not among them is as `nstc restyle` has it."""

    steps: int = setting(40_000, at_least(1), "Optimizer steps.")
    time: str | None = setting(
        None, DURATION, "Instead of steps: how long it learns, such as 90min or 12h.", shown=""
    )
    size: int = setting(256, multiples(8, 64, 1024), "Side of the crops in px.")
    batch: int = setting(
        2, within(1, 64), "Crops a step, each in the style of a painting of its own."
    )
    learning_rate: float = setting(2e-3, above(0))  # peak, of Muon
    style_strength: float = setting(
        1.0, STRENGTH, "Strength of the style: from 0, least, to 2; 1 is usual."
    )
    seed: int = setting(0, SEED, "Random seed.")

    @property
    def seconds(self) -> float | None:
        """How long it may learn, or None for `steps`."""
        return None if self.time is None else parse_duration(self.time)

    @property
    def distillation(self) -> DistillRecipe:
        """The same as settings of a distillation without a teacher, in float alone."""
        given = {name: getattr(self, name) for name in ("steps", "size", "batch", "learning_rate")}
        one = RestyleRecipe(**given, style_strength=self.style_strength, seed=self.seed)
        return dataclasses.replace(one.distillation, quantize_aware=False)
