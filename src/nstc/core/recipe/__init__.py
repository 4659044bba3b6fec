"""Recipes: every setting of every step, from TOML and flags, checked before any work begins.

What has settings declares them here, and nothing else may enter: no step is done.
"""

from nstc.core.recipe.optimization import OptimizeRecipe as OptimizeRecipe
from nstc.core.recipe.predicting import AnyRecipe as AnyRecipe
from nstc.core.recipe.recipe_files import Recipe as Recipe
from nstc.core.recipe.recipe_files import load_recipe as load_recipe
from nstc.core.recipe.recipe_files import override as override
from nstc.core.recipe.recipe_files import recipe_from as recipe_from
from nstc.core.recipe.recipe_files import with_seed as with_seed
from nstc.core.recipe.recipes import BenchRecipe as BenchRecipe
from nstc.core.recipe.recipes import DistillRecipe as DistillRecipe
from nstc.core.recipe.recipes import PruneRecipe as PruneRecipe
from nstc.core.recipe.recipes import QuantizeRecipe as QuantizeRecipe
from nstc.core.recipe.recipes import TrainRecipe as TrainRecipe
from nstc.core.recipe.restyling import RestyleRecipe as RestyleRecipe
from nstc.core.recipe.sharing import ShareRecipe as ShareRecipe
from nstc.core.recipe.space import SearchRecipe as SearchRecipe
from nstc.core.recipe.space import Space as Space
from nstc.core.recipe.space import load_space as load_space
from nstc.core.recipe.students import BLOCKS as BLOCKS
from nstc.core.recipe.students import SHAPE as SHAPE
from nstc.core.recipe.students import SIZES as SIZES
from nstc.core.recipe.students import STUDENTS as STUDENTS
