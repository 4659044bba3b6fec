"""Spaces: recipes in which a list stands for what may be chosen."""

from pathlib import Path
from typing import Any

import pytest

from nstc.core.errors import OptionError, RecipeError
from nstc.core.recipe import DistillRecipe, SearchRecipe, load_space
from nstc.core.recipe.space import MAX_CHOICES, space_from


def test_lists_are_choices_and_the_rest_is_fixed(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(
        '[distill]\nwidth = [32, 16]\nhead = ["separable", "plain"]\nsteps = 5\n'
        '[bench]\ntargets = ["cpu:1"]\n'
    )
    space = load_space(path)
    assert space.choices == {"distill.width": (16, 32), "distill.head": ("separable", "plain")}
    assert space.size == 4
    recipe = space.recipe({"distill.width": 32, "distill.head": "plain"})
    assert recipe.distill == DistillRecipe(width=32, head="plain", steps=5)
    assert recipe.bench.targets == ("cpu:1",)
    assert space.with_steps(7).recipe({"distill.width": 16}).distill.steps == 7


def test_steps_that_are_given_are_chosen_no_more() -> None:
    space = space_from({"distill": {"steps": [5, 6], "width": [16, 32]}}, "here").with_steps(9)
    assert set(space.choices) == {"distill.width"}
    assert space.recipe({"distill.width": 16}).distill.steps == 9


def test_neighbours_differ_in_one_setting() -> None:
    tables = {"distill": {"width": [16, 24, 32], "head": ["plain", "separable"]}}
    tables["distill"]["quantize_aware"] = [True, False]
    space = space_from(tables, "here")
    chosen = {"distill.width": 16, "distill.head": "plain", "distill.quantize_aware": True}
    assert space.near(chosen) == [
        {**chosen, "distill.width": 24},
        {**chosen, "distill.head": "separable"},
        {**chosen, "distill.quantize_aware": False},
    ]


def test_the_included_space_has_recipes_that_can_be() -> None:
    space = load_space(None)
    assert space.size > 100
    assert {name.partition(".")[0] for name in space.choices} == {"distill", "prune", "quantize"}
    for place in (0, -1):
        recipe = space.recipe({name: own[place] for name, own in space.choices.items()})
        assert recipe.distill.steps > 0


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"distil": {"width": [16]}}, "unknown key distil, the nearest is distill"),
        ({"distill": {"widths": [16]}}, "unknown key distill.widths"),
        ({"distill": {"width": [16, "x"]}}, "distill.width is 'x', expected a whole number"),
        ({"distill": {"width": [16, True]}}, "distill.width is True, expected a whole number"),
        ({"distill": {"width": []}}, "distill.width has 0 values"),
        ({"distill": {"width": [16, 16]}}, "distill.width has a value twice"),
        ({"distill": {"seed": [*range(MAX_CHOICES + 1)]}}, "distill.seed has 101 values"),
        ({"train": {"steps": [1, 2]}}, "train.steps is a list, and choices are of distill, prune"),
        ({"bench": {"rounds": [3, 4]}}, "bench.rounds is a list"),
        ({"distill": 3}, "distill must be a table"),
        ({"distill": {"width": [[16]]}}, "expected a whole number"),
    ],
)
def test_what_is_no_space(tables: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        space_from(tables, "space.toml")
    assert told in str(caught.value)
    assert str(caught.value).startswith("space.toml: ")


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"distill": {"width": [16, 17]}}, "distill.width is 17: expected a multiple of 8"),
        ({"distill": {"width": [16], "steps": -1}}, "steps is -1"),
        ({"distill": {"width": 16}}, "there is nothing to choose"),
    ],
)
def test_what_is_out_of_range(tables: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        space_from(tables, "space.toml")


def test_settings_that_contradict_each_other_are_no_recipe() -> None:
    space = space_from({"distill": {"student": ["fast"], "scale": [4, 8]}}, "here")
    with pytest.raises(OptionError, match="two scales"):
        space.recipe({"distill.student": "fast", "distill.scale": 8})


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"can't read the space .*missing\.toml"):
        load_space(tmp_path / "missing.toml")


def test_settings_of_a_search() -> None:
    assert SearchRecipe(time="2h").seconds == 7200
    assert SearchRecipe().seconds is None
    wrong = {"trials": (0, 10_001), "steps": (0,), "time": ("2",), "seed": (-1,)}
    for field, value in ((name, own) for name, values in wrong.items() for own in values):
        with pytest.raises(OptionError, match=f"{field} is {value}"):
            SearchRecipe(**{field: value})
