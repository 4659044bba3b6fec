"""The recipe of a whole compression: from TOML files, users' and shipped, with flags over them."""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar, get_type_hints

from nstc.core.errors import OptionError, RecipeError
from nstc.core.recipe.recipes import (
    BenchRecipe,
    DistillRecipe,
    PruneRecipe,
    QuantizeRecipe,
    TrainRecipe,
)

R = TypeVar("R")

MAX_RECIPE_BYTES: Final = 1024 * 1024
TRAIN_PRESETS: Final = ("draft", "good", "best")

_MOST_UNKNOWN: Final = 20

_TYPES: Final[dict[Any, tuple[tuple[type, ...], str]]] = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    float | None: ((int, float), "a number"),
    int | None: ((int,), "a whole number"),
    str: ((str,), "text"),
    str | None: ((str,), "text"),
    tuple[str, ...]: ((list,), "a list of texts"),
    bool: ((bool,), "true or false"),
    int | str: ((int, str), "a whole number or text"),
}
"""What may be written for a setting's type. In TOML true is no number, as it is in Python."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a whole compression, a table for each step."""

    train: TrainRecipe = field(default_factory=TrainRecipe)
    distill: DistillRecipe = field(default_factory=DistillRecipe)
    prune: PruneRecipe = field(default_factory=PruneRecipe)
    quantize: QuantizeRecipe = field(default_factory=QuantizeRecipe)
    bench: BenchRecipe = field(default_factory=BenchRecipe)

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

    Raises:
        RecipeError: the file can't be read or names unknown keys; all of them are listed.
        OptionError: a value is out of range.
    """
    from nstc.core.decoding import DecodingError, parse_toml, read_file  # too heavy for --help

    if path is None:
        return Recipe()
    try:
        content = parse_toml(read_file(path, MAX_RECIPE_BYTES))
    except OSError as error:
        raise RecipeError(
            f"can't read the recipe {path}: {error.strerror}. Give a TOML file."
        ) from error
    except DecodingError as error:
        raise RecipeError(f"can't read the recipe {path}: {error}. Give a TOML file.") from error
    return recipe_from(content, str(path))


def recipe_from(content: Mapping[str, Any], where: str) -> Recipe:
    """A recipe from nested tables; see `load_recipe`."""
    kinds: dict[str, type] = get_type_hints(Recipe)
    problems = _unknown_keys(content, tuple(kinds), "")
    for step, kind in kinds.items():
        table = content.get(step, {})
        if not isinstance(table, dict):
            problems.append(f"{step} must be a table")
            continue
        problems += _unknown_keys(table, [f.name for f in dataclasses.fields(kind)], f"{step}.")
        problems += _wrong_types(table, kind, f"{step}.")
    if problems:
        raise RecipeError(f"{where}: {'; '.join(problems)}.")
    steps: dict[str, Any] = {}
    for step, table in content.items():
        try:
            settings = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
            steps[step] = kinds[step](**settings)
        except OptionError as error:  # what is out of range in any of them is told at once
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


def _wrong_types(table: Mapping[str, Any], kind: type, prefix: str) -> list[str]:
    problems = []
    for name, hint in get_type_hints(kind).items():
        if name not in table:
            continue
        value = table[name]
        wanted, expected = _TYPES[hint]
        if isinstance(value, bool) != (hint is bool) or not isinstance(value, wanted):
            problems.append(f"{prefix}{name} is {value!r:.80}, expected {expected}")
    return problems


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with one seed for all its steps."""
    seeded = ("train", "distill", "prune", "bench")
    return dataclasses.replace(
        recipe, **{step: override(getattr(recipe, step), seed=seed) for step in seeded}
    )


def train_preset(name: str) -> Recipe:
    """One of the presets of `nstc train`; `OptionError` if there is no such preset."""
    return shipped_recipe(name, TRAIN_PRESETS, prefix="train-")


def shipped_recipe(name: str, known: Sequence[str], *, prefix: str = "") -> Recipe:
    """The recipe that ships as the prefix and a name; `OptionError` if the name is not known."""
    from importlib import resources  # too heavy for --help

    if name not in known:
        raise OptionError(f"no preset {name}: there is {', '.join(known)}.")
    return load_recipe(Path(str(resources.files("nstc.core") / "presets" / f"{prefix}{name}.toml")))
