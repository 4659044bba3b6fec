"""Spaces of recipes: as a recipe file, but a list in the place of a value is what may be chosen."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from nstc.core.errors import OptionError, RecipeError
from nstc.core.recipe.recipe_files import (
    MAX_RECIPE_BYTES,
    Recipe,
    recipe_from,
    shipped_file,
    with_seed,
)
from nstc.core.recipe.settings import (
    DURATION,
    SEED,
    TYPES,
    Checked,
    at_least,
    parse_duration,
    setting,
    within,
)

SEARCHED: Final = ("distill", "prune", "quantize")  # tables that may have choices
MAX_CHOICES: Final = 100  # of a setting
Setting = int | float | str | bool  # what TOML has for one


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchRecipe(Checked):
    """Settings of `nstc search` beside its space and its budget."""

    trials: int = setting(20, within(1, 10_000), "Trials to train in all, earlier runs included.")
    time: str | None = setting(
        None, DURATION, "How long new trials are begun, such as 30min or 8h.", shown="no limit"
    )
    steps: int | None = setting(
        None,
        at_least(1),
        "Optimizer steps of each trial on style, content and flicker.",
        shown="the space's",
    )
    seed: int = setting(0, SEED, "Random seed, of what is chosen and of all trainings.")

    @property
    def seconds(self) -> float | None:
        """How long new trials are begun, or None for no limit."""
        return None if self.time is None else parse_duration(self.time)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Space:
    """Settings that are fixed, and those of which each is one of some."""

    fixed: Mapping[str, Mapping[str, Any]]  # by table
    choices: Mapping[str, tuple[Setting, ...]]  # by table and key: distill.width
    seed: int | None = None  # of all steps, in the place of those that are fixed

    @property
    def size(self) -> int:
        """How many recipes there are."""
        return math.prod(map(len, self.choices.values()))

    def recipe(self, chosen: Mapping[str, Setting]) -> Recipe:
        """The recipe of a choice for each; `OptionError` if they contradict each other."""
        tables = {table: dict(settings) for table, settings in self.fixed.items()}
        for name, value in chosen.items():
            table, _, key = name.partition(".")
            tables.setdefault(table, {})[key] = value
        recipe = recipe_from(tables, "the space")
        return recipe if self.seed is None else with_seed(recipe, self.seed)

    def is_ordered(self, name: str) -> bool:
        """Whether a setting's choices are numbers; they are in order then."""
        return not any(isinstance(value, str | bool) for value in self.choices[name])

    def near(self, chosen: Mapping[str, Setting]) -> list[dict[str, Setting]]:
        """All choices that differ in one setting, of numbers by one place."""
        found = []
        for name, values in self.choices.items():
            at = values.index(chosen[name])
            step = 1 if self.is_ordered(name) else len(values)
            others = values[max(0, at - step) : at] + values[at + 1 : at + 1 + step]
            found += [{**chosen, name: value} for value in others]
        return found

    def fixed_recipe(self) -> Recipe:
        """What is fixed, and all else by default."""
        return recipe_from(self.fixed, "the space")

    def with_steps(self, steps: int) -> "Space":
        """The same with this number of steps in the second stage of all distillations."""
        fixed = {**self.fixed, "distill": {**self.fixed.get("distill", {}), "steps": steps}}
        choices = {name: own for name, own in self.choices.items() if name != "distill.steps"}
        return dataclasses.replace(self, fixed=fixed, choices=choices)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "fixed": {table: dict(own) for table, own in self.fixed.items()},
            "choices": {name: list(own) for name, own in self.choices.items()},
            "seed": self.seed,
        }


def load_space(path: Path | None) -> Space:
    """Read a TOML file such as [distill] width = [16, 32]. None gives the included space.

    `RecipeError` if the file can't be read, has unknown keys or types, or lists what can't be
    chosen; `OptionError` if a value is out of range, or nothing is left to choose.
    """
    from nstc.core.decoding import DecodingError, parse_toml, read_file  # too heavy for --help

    path = path or shipped_file("search")
    try:
        content = parse_toml(read_file(path, MAX_RECIPE_BYTES))
    except (OSError, DecodingError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RecipeError(f"can't read the space {path}: {reason}. Give a TOML file.") from error
    return space_from(content, str(path))


def space_from(content: Mapping[str, Any], where: str) -> Space:
    """A space from nested tables; see `load_space`."""
    fixed: dict[str, dict[str, Any]] = {}
    choices: dict[str, tuple[Setting, ...]] = {}
    known = {f.name: f.type for f in dataclasses.fields(Recipe)}
    for table, settings in content.items():
        if not isinstance(settings, dict) or table not in known:
            recipe_from({table: settings}, where)  # which says what is wrong
            continue
        kind: Any = known[table]
        own = {f.name: f for f in dataclasses.fields(kind)}
        fixed[table] = {}
        for key, value in settings.items():
            is_choice = isinstance(value, list) and not (
                key in own and list in TYPES[own[key].type][0]
            )
            if is_choice:
                choices[f"{table}.{key}"] = _choices(table, key, value, own.get(key), where)
            else:
                fixed[table][key] = value
    recipe_from(fixed, where)
    if not choices:
        raise OptionError(
            f"{where}: there is nothing to choose: give a setting of {', '.join(SEARCHED)} a list "
            "of values, as in [distill] width = [16, 32, 48]."
        )
    return Space(fixed=fixed, choices=choices)


def _choices(
    table: str, key: str, values: list[Any], own: "dataclasses.Field[Any] | None", where: str
) -> tuple[Setting, ...]:
    """The values of a list, each of which is of the setting's type and in its range."""
    name = f"{table}.{key}"
    if table not in SEARCHED:
        raise RecipeError(
            f"{where}: {name} is a list, and choices are of {', '.join(SEARCHED)} alone: give one "
            "value."
        )
    if not 1 <= len(values) <= MAX_CHOICES:
        raise RecipeError(
            f"{where}: {name} has {len(values)} values to choose from, expected 1 to {MAX_CHOICES}."
        )
    if any(one == other for number, one in enumerate(values) for other in values[:number]):
        raise RecipeError(f"{where}: {name} has a value twice, expected different ones.")
    for value in values:
        if own is None or not isinstance(value, TYPES[own.type][0]) or isinstance(value, bool):
            recipe_from({table: {key: value}}, where)  # which says what is wrong, or takes a bool
        elif not (allowed := own.metadata["setting"].allowed).holds(value):
            expected = allowed.expected.format(number=TYPES[own.type][1])
            raise OptionError(f"{where}: {name} is {value!s:.80}: expected {expected}.")
    is_number = not any(isinstance(value, str | bool) for value in values)
    return tuple(sorted(values) if is_number else values)
