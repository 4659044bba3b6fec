"""What a strength changes."""

import pytest

from nstc.core.recipe import DistillRecipe, OptimizeRecipe, TrainRecipe


@pytest.mark.parametrize("kind", [TrainRecipe, DistillRecipe, OptimizeRecipe])
@pytest.mark.parametrize(
    ("strength", "by", "level", "statistics"),
    [
        (0.5, "loss", 0.5, None),
        (0.5, "statistics", 1.0, 0.5),
        (0.0, "statistics", 1.0, 0.0),
        (1.0, "statistics", 1.0, None),  # the painting's own
    ],
)
def test_it_is_of_the_level_or_of_the_statistics(kind, strength, by, level, statistics) -> None:
    recipe = kind(style_strength=strength, strength_by=by)
    assert recipe.strength_of_level == level
    assert recipe.strength_of_statistics == statistics


@pytest.mark.parametrize("kind", [TrainRecipe, DistillRecipe])
def test_without_a_strength_the_style_is_the_paintings(kind) -> None:
    assert kind().strength_of_level == 1
    assert kind().strength_of_statistics is None
