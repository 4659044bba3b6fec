"""The settings of `nstc optimize` that follow from others."""

import pytest

from nstc.core.errors import OptionError
from nstc.core.recipe import OptimizeRecipe, load_recipe, recipe_from, with_seed
from nstc.core.recipe.settings import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("3min", 180), ("1.5h", 5400), (".5s", 0.5), ("168h", 7 * 86_400)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert OptimizeRecipe(time=text).seconds == seconds


@pytest.mark.parametrize("text", ["", "90", "h", "3 min", "-1s", "1e9s", "169h", "9d", "9mins"])
def test_what_is_no_duration(text: str) -> None:
    assert parse_duration(text) == 0


def test_a_time_is_optional() -> None:
    assert OptimizeRecipe().seconds is None


def test_the_rate_is_the_methods_unless_one_is_given() -> None:
    adam, lbfgs = (OptimizeRecipe(optimizer=name).rate for name in ("adam", "lbfgs"))
    assert 0 < adam < lbfgs
    assert OptimizeRecipe(optimizer="adam", learning_rate=0.3).rate == 0.3


def test_content_is_balanced_where_both_losses_are_there() -> None:
    assert OptimizeRecipe().balances
    assert not OptimizeRecipe(balance=False).balances
    assert not OptimizeRecipe(content_weight=0).balances
    assert not OptimizeRecipe(style_weight=0).balances


def test_terms_by_name() -> None:
    recipe = OptimizeRecipe(style_losses="gram=2, moments=0.5", content_losses="content=3")
    assert recipe.style_terms == {"gram": 2, "moments": 0.5}
    assert recipe.content_terms == {"content": 3}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"style_weight": 0, "content_weight": 0}, "nothing would be optimised"),
        ({"content_losses": "laplacian=1"}, "add content=1, or give --no-balance"),
    ],
)
def test_settings_that_contradict(settings: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        OptimizeRecipe(**settings)
    assert OptimizeRecipe(content_losses="laplacian=1", balance=False).content_terms


def test_a_recipe_file_has_a_table_of_them() -> None:
    recipe = recipe_from({"optimize": {"size": 64, "time": "20s", "balance": False}}, "r.toml")
    assert recipe.optimize == OptimizeRecipe(size=64, time="20s", balance=False)
    assert with_seed(recipe, 7).optimize.seed == 7
    assert load_recipe(None).optimize == OptimizeRecipe()
