"""Recipes: every setting of every step, from TOML and flags, checked before any work begins."""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, get_type_hints

from nstc.core.errors import OptionError, RecipeError
from nstc.core.recipe.prune_recipe import PruneRecipe as PruneRecipe
from nstc.core.recipe.quantize_recipe import QuantizeRecipe as QuantizeRecipe
from nstc.core.recipe.settings import (
    SEED,
    SWITCH,
    Allowed,
    Checked,
    above,
    are_different_words,
    at_least,
    multiples,
    one_of,
    setting,
    within,
)

R = TypeVar("R")

MAX_RECIPE_BYTES: Final = 1024 * 1024

_MOST_UNKNOWN: Final = 20
_KEY_SHOWN: Final = 60

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


STUDENTS: Final = ("nano", "tiny", "small", "separable", "plain")
"""Names of the students' sizes and of the kinds of their blocks."""


@dataclass(frozen=True, kw_only=True)
class TrainRecipe(Checked):
    """Settings of `nstc train`."""

    steps: int = setting(1600, at_least(1), "Of the optimiser.")
    size: int = setting(192, within(64, 1024), "Side of the crops in px.")
    batch: int = setting(4, within(1, 64), "Crops a step.")
    learning_rate: float = setting(1.5e-3, above(0), "Its peak.")  # of Adam
    style_weight: float = setting(2.0, at_least(0), "On the style loss.")  # of four layers
    content_weight: float = setting(1.0, at_least(0), "On the content loss.")  # of two
    tv_weight: float = setting(0.5, at_least(0), "On total variation.")
    # Times that the style's gradient at the picture is longer than the content's.
    balance: float | None = setting(
        None,
        within(0.01, 1000),
        "Correct the two weights so that the style pulls so many times as hard.",
        shown="off",
    )
    # Larger means coarser brush strokes.
    style_size: int = setting(512, within(128, 2048), "Long side of the painting in px.")
    # The photos' by a linear colour transfer of the painting to them all.
    color_of: str = setting(
        "painting", one_of("painting", "photos"), "Whose colours: painting or photos."
    )
    # The mean is what is kept; 0 keeps the last weights.
    ema: float = setting(0.0, within(0, 0.9999), "Decay of a running mean of the weights.")
    seed: int = setting(0, SEED, "Of all randomness.")

    def __post_init__(self) -> None:
        """Refuse values out of range, or that contradict."""
        super().__post_init__()
        if self.balance is not None and 0 in (self.style_weight, self.content_weight):
            raise OptionError("balance needs a style-weight and a content-weight above 0.")


class Aim(NamedTuple):
    """A ratio that a student is judged by."""

    weight: float  # on it in the loss
    goal: float  # what it is to come down to


@dataclass(frozen=True, kw_only=True)
class DistillRecipe(Checked):
    """Settings of `nstc distill`, in two stages: on pixels alone, and with VGG looking on.

    A student's settings that are None are what its name stands for.
    """

    student: str = setting(
        "separable",
        one_of(*STUDENTS),
        "Size: nano, tiny, small. Or kind of blocks: separable, plain.",
    )
    width: int | None = setting(
        None, multiples(8, 8, 256), "Channels of the trunk.", shown="64, or the size's"
    )
    blocks: int | None = setting(None, within(1, 32), "Residual blocks.", shown="6, or the size's")
    inner: int | None = setting(
        None, multiples(8, 8, 1024), "Channels inside a block.", shown="usual for its kind"
    )
    scale: int | None = setting(None, one_of(4, 8), "Trunk at 1/4 or 1/8 of the size.", shown="4")
    norm: str | None = setting(
        None,
        one_of("none", "instance"),
        "none, or instance: global and slow in int8.",
        shown="none",
    )
    head: str | None = setting(
        None,
        one_of("plain", "separable"),
        "Of the layer to pixels: plain, or separable for 1/8 of its cost.",
        shown="plain, or the size's",
    )
    pixel_steps: int = setting(3000, at_least(0), "On pixels alone.")
    steps: int = setting(2500, at_least(0), "On style, content and steadiness too.")
    # The teacher stylises crops of this side.
    size: int = setting(256, multiples(8, 64, 1024), "Side of the crops in px.")
    perceptual_size: int | None = setting(
        None, multiples(8, 32, 1024), "Side of the part VGG looks at.", shown="--size"
    )
    # They are cached.
    crops: int = setting(1, within(1, 100), "Crops of each photograph.")
    # How far the crops' colours are changed, for sets of few photographs.
    color_jitter: float = setting(0.0, within(0, 1))
    batch: int = setting(4, within(1, 64), "Crops a step.")
    # In the second stage, whose cost is VGG's.
    perceptual_batch: int = setting(1, within(1, 64), "Crops a step that VGG looks at.")
    # Peak of the first stage, of Adam.
    learning_rate: float = setting(3e-3, above(0))
    # Peak of the second, of Muon; half of it where it rounds.
    perceptual_learning_rate: float = setting(2e-3, above(0))
    # On the mean absolute difference.
    pixel_weight: float = setting(
        0.5, at_least(0), "On the pixels' difference to the teacher's picture."
    )
    # Of this loss and the next, over what the teacher reaches on the same picture.
    style_weight: float = setting(2.8, at_least(0), "On the style loss against the painting.")
    content_weight: float = setting(2.4, at_least(0), "On the content loss against the photograph.")
    # On the energy of a grid with the period of the student's scale, over what the teacher's
    # pictures have; in the second stage.
    checkerboard_weight: float = setting(0.05, at_least(0), "Against a grid.")
    # On what the picture changes by beyond half a pixel of camera shake, a sensor's noise, and the
    # end of the photograph, over what the teacher's changes by; in the second stage.
    steadiness_weight: float = setting(1.5, at_least(0), "Against flicker and frames.")
    balance: bool = setting(
        True,
        SWITCH,
        "Correct the weights of style, content and steadiness so that all three come "
        "equally near to their goals.",
    )
    style_goal: float = setting(1.15, above(0), "The style ratio to reach.")
    content_goal: float = setting(1.10, above(0), "The content ratio to reach.")
    flicker_goal: float = setting(1.0, above(0), "The flicker ratio to reach.")
    # Weights and the ranges of bytes learn to live with it. So does fine-tuning after pruning.
    quantize_aware: bool = setting(
        False,
        SWITCH,
        "Round in the second stage as the int8 file will; with --init that stage alone.",
    )
    # Those steps cost half as much.
    float_share: float = setting(
        0.0, within(0, 0.99), "With --quantize-aware, the share of its steps before it rounds."
    )
    seed: int = setting(0, SEED, "Of all randomness.")

    def __post_init__(self) -> None:
        """Refuse values out of range, or that contradict."""
        super().__post_init__()
        if self.perceptual_size is not None and self.perceptual_size > self.size:
            raise OptionError(
                f"perceptual-size is {self.perceptual_size}: expected at most size, {self.size}."
            )
        if self.quantize_aware and self.norm == "instance":
            raise OptionError(
                "quantize-aware needs a graph that is integer from end to end, and instance "
                "normalisation computes in float: leave it out, or take norm none."
            )
        if self.quantize_aware and self.steps == 0:
            raise OptionError("quantize-aware is of the second stage: give steps above 0.")
        if self.pixel_steps + self.steps == 0:
            raise OptionError("steps and pixel-steps are both 0: nothing would be learned.")

    @property
    def aims(self) -> Mapping[str, Aim]:
        """What a student is judged by, by the names of the second stage's terms."""
        return {
            "style": Aim(self.style_weight, self.style_goal),
            "content": Aim(self.content_weight, self.content_goal),
            "flicker": Aim(self.steadiness_weight, self.flicker_goal),
        }

    @property
    def goals_in_balance(self) -> Mapping[str, float]:
        """Of what the second stage balances: two aims or more that have a weight, or none."""
        goals = {name: aim.goal for name, aim in self.aims.items() if aim.weight > 0}
        return goals if self.balance and len(goals) > 1 else {}


@dataclass(frozen=True, kw_only=True)
class BenchRecipe(Checked):
    """Settings of `nstc bench`."""

    size: int = setting(512, within(16, 4096), "Side of the pictures in px.")
    # Each round is one run of the reference and of every candidate.
    rounds: int = setting(15, within(3, 10_000), "Timed rounds.")
    # As `nstc targets` lists them. Their flag is the verb's, which has --threads beside it.
    targets: tuple[str, ...] = setting(
        ("cpu:2",), Allowed(are_different_words, 'different targets, such as "cpu:2" and "mobile"')
    )
    # At most so many photographs judge the quality.
    quality_photos: int = setting(32, at_least(1))
    memory: bool = setting(
        False,
        SWITCH,
        "Look at the peak memory and cold start of a fresh process on cpu targets too.",
        shown="",
    )
    roofline: bool = setting(
        False,
        SWITCH,
        "Measure what the cores could do at most, and how near each file comes.",
        shown="",
    )
    # Of the order within rounds and of the bootstrap.
    seed: int = setting(0, SEED, "Of all randomness.")


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
        problems += _unknown_keys(table, _names(kind), f"{step}.")
        problems += _wrong_types(table, kind, f"{step}.")
    if problems:
        raise RecipeError(f"{where}: {'; '.join(problems)}.")
    return Recipe(**_steps(content, kinds, where))


def override(recipe: R, **flags: Any) -> R:
    """The recipe with those flags that were given, that is, are not None.

    Raises:
        OptionError: a value is out of range.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    return dataclasses.replace(recipe, **given)  # type: ignore[type-var]


def _steps(content: Mapping[str, Any], kinds: Mapping[str, type], where: str) -> dict[str, Any]:
    """Each table as its step's recipe; what is out of range in any of them is told at once."""
    steps: dict[str, Any] = {}
    problems = []
    for step, table in content.items():
        try:
            settings = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
            steps[step] = kinds[step](**settings)
        except OptionError as error:
            problems.append(f"[{step}] {error}")
    if problems:
        raise OptionError(f"{where}: {' '.join(problems)}")
    return steps


def _names(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in dataclasses.fields(kind))


def _unknown_keys(table: Mapping[str, Any], known: tuple[str, ...], prefix: str) -> list[str]:
    problems = []
    unknown = [key for key in table if key not in known]
    for key in unknown[:_MOST_UNKNOWN]:
        key = key[:_KEY_SHOWN]
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
    return dataclasses.replace(
        recipe,
        train=override(recipe.train, seed=seed),
        distill=override(recipe.distill, seed=seed),
        prune=override(recipe.prune, seed=seed),
        bench=override(recipe.bench, seed=seed),
    )
