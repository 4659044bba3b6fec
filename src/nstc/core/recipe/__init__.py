"""Recipes: every setting of every step, from TOML and flags, checked before any work begins.

What has settings declares them here, and nothing else may enter: no step is done.
"""

from nstc.core.recipe.recipe_files import load_recipe, override, recipe_from, with_seed
from nstc.core.recipe.recipes import (
    STUDENTS,
    BenchRecipe,
    DistillRecipe,
    PruneRecipe,
    QuantizeRecipe,
    Recipe,
    TrainRecipe,
)

__all__ = [
    "STUDENTS",
    "BenchRecipe",
    "DistillRecipe",
    "PruneRecipe",
    "QuantizeRecipe",
    "Recipe",
    "TrainRecipe",
    "load_recipe",
    "override",
    "recipe_from",
    "with_seed",
]
