"""A tiny distillation."""

from collections.abc import Callable

import pytest
from small_trainings import TINY

from nstc.core.bundle import Bundle
from nstc.core.recipe import DistillRecipe

Distill = Callable[..., Bundle]


@pytest.fixture(scope="module")
def distill_tiny(distill_by: Callable[[DistillRecipe], Distill]) -> Distill:
    """Distills; settings of the recipe and arguments of `distill` can be given."""
    return distill_by(TINY)


@pytest.fixture(scope="module")
def distilled(distill_tiny: Distill, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An uninterrupted run. Not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSTC_CACHE", str(tmp_path_factory.mktemp("distilled-cache")))
        return distill_tiny(tmp_path_factory.mktemp("distilled") / "small")
