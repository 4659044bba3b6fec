import pytest

from nstc.core.errors import OptionError
from nstc.core.recipe import Recipe
from nstc.core.recipe.recipe_files import TRAIN_PRESETS, train_preset


def test_each_preset_asks_for_more_than_the_one_before() -> None:
    work = [r.steps * r.batch * r.size**2 for r in (train_preset(n).train for n in TRAIN_PRESETS)]
    assert work[0] * 3 < work[1]
    assert work[1] * 3 < work[2]


@pytest.mark.parametrize("name", TRAIN_PRESETS)
def test_they_set_training_alone_and_average_over_a_small_part_of_it(name: str) -> None:
    recipe = train_preset(name)
    assert recipe == Recipe(train=recipe.train)
    assert recipe.train.ema
    assert 1 / (1 - recipe.train.ema) <= recipe.train.steps / 6


def test_another_name_is_refused() -> None:
    with pytest.raises(OptionError, match="no preset quick: there is draft, good, best"):
        train_preset("quick")
