"""The recipe of a whole compression: from TOML files, users' and nstc's, overridden by flags."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from nstc.core.errors import OptionError, RecipeError
from nstc.core.recipe import recipes
from nstc.core.recipe.optimization import OptimizeRecipe
from nstc.core.recipe.predicting import AnyRecipe
from nstc.core.recipe.restyling import RestyleRecipe
from nstc.core.recipe.settings import TYPES
from nstc.core.recipe.sharing import ShareRecipe

R = TypeVar("R")

MAX_RECIPE_BYTES: Final = 1024 * 1024
TRAIN_PRESETS: Final = ("draft", "good", "best")

_MOST_UNKNOWN: Final = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a whole compression, a table for each step."""

    train: recipes.TrainRecipe = dataclasses.field(default_factory=recipes.TrainRecipe)
    distill: recipes.DistillRecipe = dataclasses.field(default_factory=recipes.DistillRecipe)
    prune: recipes.PruneRecipe = dataclasses.field(default_factory=recipes.PruneRecipe)
    quantize: recipes.QuantizeRecipe = dataclasses.field(default_factory=recipes.QuantizeRecipe)
    bench: recipes.BenchRecipe = dataclasses.field(default_factory=recipes.BenchRecipe)
    optimize: OptimizeRecipe = dataclasses.field(default_factory=OptimizeRecipe)
    restyle: RestyleRecipe = dataclasses.field(default_factory=RestyleRecipe)
    share: ShareRecipe = dataclasses.field(default_factory=ShareRecipe)
    train_any: AnyRecipe = dataclasses.field(default_factory=AnyRecipe)

    def __post_init__(self) -> None:
        """Refuse steps that would undo each other."""
        if self.distill.quantize_aware and self.quantize.against_learned_ranges:
            raise OptionError(
                "distill.quantize_aware learns what these settings of quantize would undo: "
                f"{', '.join(self.quantize.against_learned_ranges)}. Leave out one or the other, "
                "or set quantize.recalibrate."
            )


def load_recipe(path: Path | None) -> Recipe:
    """Read a TOML file with a table a step: [distill] steps = 500. None gives the defaults.

    `RecipeError` if the file can't be read or has unknown keys or types; `OptionError` if values
    are out of range. All of them are listed.
    """
    from nstc.core.decoding import DecodingError, parse_toml, read_file  # too heavy for --help

    if path is None:
        return Recipe()
    try:
        content = parse_toml(read_file(path, MAX_RECIPE_BYTES))
    except (OSError, DecodingError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RecipeError(f"can't read the recipe {path}: {reason}. Give a TOML file.") from error
    return recipe_from(content, str(path))


def recipe_from(content: Mapping[str, Any], where: str) -> Recipe:
    """A recipe from nested tables; see `load_recipe`."""
    kinds: dict[str, Any] = {f.name: f.type for f in dataclasses.fields(Recipe)}
    problems = _unknown_keys(content, tuple(kinds), "")
    for step, kind in kinds.items():
        table = content.get(step, {})
        if not isinstance(table, dict):
            problems.append(f"{step} must be a table")
            continue
        types = {f.name: f.type for f in dataclasses.fields(kind)}
        problems += _unknown_keys(table, tuple(types), f"{step}.")
        for name in filter(table.__contains__, types):
            value, (accepted, expected) = table[name], TYPES[types[name]]
            if isinstance(value, bool) != (bool in accepted) or not isinstance(value, accepted):
                problems.append(f"{step}.{name} is {value!r:.80}, expected {expected}")
    if problems:
        raise RecipeError(f"{where}: {'; '.join(problems)}.")
    steps: dict[str, Any] = {}
    for step, table in content.items():
        try:
            settings = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
            steps[step] = kinds[step](**settings)
        except OptionError as error:  # what is out of range in any of them is reported at once
            problems.append(f"[{step}] {error}")
    if problems:
        raise OptionError(f"{where}: {' '.join(problems)}")
    return Recipe(**steps)


def override(recipe: R, **flags: Any) -> R:
    """The recipe with those flags that are not None; `OptionError` if a value is out of range."""
    given = {name: value for name, value in flags.items() if value is not None}
    return dataclasses.replace(recipe, **given)  # type: ignore[type-var]


def _unknown_keys(table: Mapping[str, Any], known: Sequence[str], prefix: str) -> list[str]:
    problems = []
    unknown = [key for key in table if key not in known]
    for key in unknown[:_MOST_UNKNOWN]:
        key = key[:60]
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
        problems.append(f"unknown key {prefix}{key}, the nearest is {prefix}{near[0]}")
    if len(unknown) > _MOST_UNKNOWN:
        problems.append(f"and {len(unknown) - _MOST_UNKNOWN} unknown keys more")
    return problems


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with one random seed for all its steps."""
    seeded = ("train", "distill", "prune", "bench", "optimize", "restyle", "share", "train_any")
    return dataclasses.replace(
        recipe, **{step: override(getattr(recipe, step), seed=seed) for step in seeded}
    )


def train_preset(name: str) -> Recipe:
    """One of the presets of `nstc train`; `OptionError` if there is no such preset."""
    return shipped_recipe(name, TRAIN_PRESETS, prefix="train-")


def shipped_recipe(name: str, known: Sequence[str], *, prefix: str = "") -> Recipe:
    """The included recipe of the prefix and a name; `OptionError` if the name is not known."""
    if name not in known:
        raise OptionError(f"no preset {name}: there is {', '.join(known)}.")
    return load_recipe(shipped_file(f"{prefix}{name}"))


def shipped_file(name: str) -> Path:
    """The path of an included file of settings."""
    from importlib import resources  # too heavy for --help

    return Path(str(resources.files("nstc.core") / "presets" / f"{name}.toml"))
