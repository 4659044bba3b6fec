"""The terms that a recipe asks for, those of other packages among them."""

import pytest

from nstc.compress.distillation.loss_terms import TERMS, weighted_terms
from nstc.core.errors import OptionError
from nstc.core.recipe import DistillRecipe

CODE = """
from nstc.compress.distillation.loss_terms import LossTerm
HAZE = LossTerm(lambda view: view.outputs.mean())
"""


def test_nstcs_own_have_the_recipes_weights_and_none_is_left_without() -> None:
    recipe = DistillRecipe(style_weight=3.5, content_weight=0.0)
    weights = {name: weight for name, (_, weight) in weighted_terms(recipe).items()}
    assert set(TERMS) - set(weights) == {"content"}
    assert weights["style"] == 3.5
    assert weights["flicker"] == recipe.steadiness_weight


def test_one_of_another_package_takes_part_where_the_recipe_names_it(install_extension) -> None:
    install_extension("nstc-haze", {"nstc.losses": {"haze": "HAZE"}}, CODE)
    assert "haze" not in weighted_terms(DistillRecipe())
    term, weight = weighted_terms(DistillRecipe(terms=" haze = 0.5 "))["haze"]
    assert weight == 0.5
    assert term.weight is None


@pytest.mark.parametrize("name", ["style", "fog"])
def test_what_is_none_of_them_is_refused_with_those_there_are(install_extension, name) -> None:
    recipe = DistillRecipe(terms=f"{name}=1")
    with pytest.raises(OptionError, match=f"terms names {name}: expected a package's, and none is"):
        weighted_terms(recipe)
    install_extension("nstc-haze", {"nstc.losses": {"haze": "HAZE"}}, CODE)
    with pytest.raises(OptionError, match=f"terms names {name}: expected haze. Terms of nstc have"):
        weighted_terms(recipe)
