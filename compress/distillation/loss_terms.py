"""What the second stage's loss is made of: a term is a row, of what is found and its weight.

Packages add terms, whose weights stand in a recipe's `terms`.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from nstc.compress.distillation.teacher_outputs import TeacherLosses, TeacherOutputs
from nstc.core import extensions
from nstc.core.errors import OptionError
from nstc.core.recipe import DistillRecipe
from nstc.models.losses import checkerboard_energy


@dataclass(frozen=True, kw_only=True)
class StepView:
    """What a term sees of a step. Most need no more than the first four."""

    outputs: Tensor  # (N, 3, h, w), what the student painted, about [0, 1] and not clamped
    targets: Tensor  # the teacher's pictures, alike, in [0, 1]
    photographs: Tensor  # what both are of, alike, in [0, 1]
    features: Mapping[str, Tensor]  # VGG features (N, C, h', w') of the outputs, by `STYLE_LAYERS`
    step: int  # its number: with the recipe's seed all that chance may come from
    recipe: DistillRecipe
    names: tuple[str, ...]  # what the pictures are known by
    pairs: TeacherOutputs  # what was drawn from
    teacher: TeacherLosses  # what the teacher itself reaches
    grid_period: int  # pixels a side that one position of the student stands for
    unsteadiness: Callable[[], Tensor]  # (N, 3, H, W), of whole crops; runs the student once more

    @functools.cached_property
    def ratios(self) -> tuple[Tensor, Tensor]:
        """Style and content loss (N,), each over what the teacher reaches on the same pictures."""
        return self.teacher.ratios(self.names, self.features, self.targets, self.photographs)


@dataclass(frozen=True)
class LossTerm:
    """A row of the table."""

    compute: Callable[[StepView], Tensor]  # to a scalar
    # By the recipe; None for what a recipe's `terms` say, as of terms of other packages.
    weight: Callable[[DistillRecipe], float] | None = None


def pixel(view: StepView) -> Tensor:
    """Mean absolute difference to the teacher's picture."""
    return (view.outputs.float() - view.targets).abs().mean()


def grid(view: StepView) -> Tensor:
    """The energy of a grid with the student's period, over that of the teacher's pictures."""
    teachers = view.teacher.grid(view.pairs, view.grid_period)
    return checkerboard_energy(view.outputs, view.grid_period).mean() / teachers


def beyond_range(view: StepView) -> Tensor:
    """Mean square of what leaves [0, 1]."""
    return (view.outputs - view.outputs.clamp(0, 1)).float().square().mean()


def flicker(view: StepView) -> Tensor:
    """How unsteady the pictures are, over how unsteady the teacher's are."""
    return view.unsteadiness().mean() / view.teacher.change(view.pairs)


TERMS: Final[Mapping[str, LossTerm]] = {
    "pixel": LossTerm(pixel, lambda recipe: recipe.pixel_weight),
    "grid": LossTerm(grid, lambda recipe: recipe.checkerboard_weight),
    "range": LossTerm(beyond_range, lambda _: 10.0),
    "style": LossTerm(lambda view: view.ratios[0].mean(), lambda recipe: recipe.style_weight),
    "content": LossTerm(lambda view: view.ratios[1].mean(), lambda recipe: recipe.content_weight),
    "flicker": LossTerm(flicker, lambda recipe: recipe.steadiness_weight),
}
"""By the names that losses are logged by. One without a weight of its own in the recipe takes part
where a recipe's `terms` name it."""

ADDED: Final = extensions.Extensions(extensions.LOSSES, LossTerm, TERMS)
"""Those of other packages."""


def weighted_terms(recipe: DistillRecipe) -> Mapping[str, tuple[LossTerm, float]]:
    """The terms that have a weight in a recipe, and the weights.

    Raises:
        OptionError: the recipe's `terms` name one that there is not, or that has its own setting.
        ExtensionError: another package adds it, and it can't be used.
    """
    terms = dict(TERMS)
    for name in recipe.added_terms:
        term = TERMS.get(name) or ADDED.get(name)
        if term is None or term.weight is not None:
            free = [own for own, term in TERMS.items() if term.weight is None]
            known = ", ".join((*free, *ADDED.names())) or "a package's, and none is installed"
            raise OptionError(
                f"terms names {name}: expected {known}. Terms of nstc have weights of their own, "
                "such as style-weight."
            )
        terms[name] = term
    weights = {
        name: term.weight(recipe) if term.weight else recipe.added_terms.get(name, 0.0)
        for name, term in terms.items()
    }
    return {name: (term, weights[name]) for name, term in terms.items() if weights[name] > 0}
