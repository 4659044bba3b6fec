"""Recipes: every setting of every step, from TOML and flags, checked before any work begins."""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, get_type_hints

from nstc.core.decoding import DecodingError, parse_toml, read_file
from nstc.core.errors import OptionError, RecipeError
from nstc.core.prune_recipe import PruneRecipe as PruneRecipe
from nstc.core.quantize_recipe import QuantizeRecipe as QuantizeRecipe
from nstc.core.settings import (
    Checked,
    are_different_words,
    at_least,
    flag,
    is_crop_size,
    one_of,
    optional,
    optional_of,
    positive,
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
    """Settings of `nstc train`.

    Attributes:
        steps: Optimiser steps.
        size: Side of the training crops in pixels.
        batch: Crops a step.
        learning_rate: Peak, of Adam.
        style_weight: On the style loss summed over four layers.
        content_weight: On the content loss summed over two layers.
        tv_weight: On total variation.
        balance: Times that the style's gradient at the picture is longer than the content's: the
            two weights are corrected to that while training. None leaves them as they are.
        style_size: Long side of the painting in pixels: larger means coarser brush strokes.
        color_of: Whose colours are painted with, the "painting"'s or, by a linear colour transfer
            of the painting to them all, the "photos"'.
        ema: Decay of the running mean of the weights that is kept; 0 keeps the last ones.
        seed: Of all randomness.
    """

    steps: int = at_least(1, 1600)
    size: int = within(64, 1024, 192)
    batch: int = within(1, 64, 4)
    learning_rate: float = positive(1.5e-3)
    style_weight: float = at_least(0, 2.0)
    content_weight: float = at_least(0, 1.0)
    tv_weight: float = at_least(0, 0.5)
    balance: float | None = setting(
        None, lambda v: v is None or 0.01 <= v <= 1000, "from 0.01 to 1000"
    )
    style_size: int = within(128, 2048, 512)
    color_of: str = one_of(("painting", "photos"), "painting")
    ema: float = within(0, 0.9999, 0.0)
    seed: int = within(0, 2**63 - 1, 0)

    def __post_init__(self) -> None:
        """Refuse values out of range, or that contradict."""
        super().__post_init__()
        if self.balance is not None and 0 in (self.style_weight, self.content_weight):
            raise OptionError("balance needs a style-weight and a content-weight above 0.")


class Aim(NamedTuple):
    """A ratio that a student is judged by.

    Attributes:
        weight: On it in the loss.
        goal: What it is to come down to.
    """

    weight: float
    goal: float


@dataclass(frozen=True, kw_only=True)
class DistillRecipe(Checked):
    """Settings of `nstc distill`.

    Attributes:
        student: Name of a size (nano, tiny, small), or of a kind of residual blocks.
        width: Channels of its trunk. None, here and below, for what the name stands for.
        blocks: Residual blocks.
        inner: Channels inside each of them.
        scale: Pixels a side that a position of the trunk stands for, 4 or 8.
        norm: "none", or "instance" for instance normalisation inside.
        head: Of the convolution to pixels, "plain", or "separable" for an eighth of its cost.
        pixel_steps: Steps of the first stage, pixels alone.
        steps: Steps of the second stage: pixels, style, content, steadiness.
        size: Side of the crops the teacher stylises, in pixels.
        perceptual_size: Side of the part of them that VGG looks at; None for all.
        crops: Crops cached of each photograph.
        color_jitter: How far their colours are changed, for sets of few photographs.
        batch: Crops a step of the first stage.
        perceptual_batch: Crops a step of the second, whose cost is VGG's.
        learning_rate: Peak of the first stage, of Adam.
        perceptual_learning_rate: Peak of the second, of Muon; half of it where it rounds.
        pixel_weight: On the mean absolute difference to the teacher's picture.
        style_weight: On the style loss against the painting, over what the teacher reaches on the
            same picture.
        content_weight: On the content loss against the photograph, likewise.
        checkerboard_weight: On the energy of a grid with the period of the student's scale in the
            second stage, over what the teacher's pictures have.
        steadiness_weight: On what the picture changes by beyond half a pixel of camera shake, a
            sensor's noise, and the end of the photograph, over what the teacher's changes by, in
            the second stage.
        balance: Whether these three weights are corrected while learning, so that the three ratios
            come equally near to their goals.
        style_goal: The style ratio that is to be reached.
        content_goal: The content ratio, likewise.
        flicker_goal: The flicker ratio, likewise.
        quantize_aware: Whether the second stage rounds as the integer file will, so that weights
            and the ranges of bytes learn to live with it. A student to start from goes straight to
            it. Fine-tuning after pruning does the same.
        float_share: Of a stage that is quantize-aware, the share of its steps before it rounds,
            which cost half as much.
        seed: Of all randomness.
    """

    student: str = one_of(STUDENTS, "separable")
    width: int | None = optional(8, 256, 8)
    blocks: int | None = optional(1, 32, 1)
    inner: int | None = optional(8, 1024, 8)
    scale: int | None = optional_of((4, 8))
    norm: str | None = optional_of(("none", "instance"))
    head: str | None = optional_of(("plain", "separable"))
    pixel_steps: int = at_least(0, 3000)
    steps: int = at_least(0, 2500)
    size: int = setting(256, is_crop_size, "a multiple of 8 from 64 to 1024")
    perceptual_size: int | None = optional(32, 1024, 8)
    crops: int = within(1, 100, 1)
    color_jitter: float = within(0, 1, 0.0)
    batch: int = within(1, 64, 4)
    perceptual_batch: int = within(1, 64, 1)
    learning_rate: float = positive(3e-3)
    perceptual_learning_rate: float = positive(2e-3)
    pixel_weight: float = at_least(0, 0.5)
    style_weight: float = at_least(0, 2.8)
    content_weight: float = at_least(0, 2.4)
    checkerboard_weight: float = at_least(0, 0.05)
    steadiness_weight: float = at_least(0, 1.5)
    balance: bool = flag(default=True)
    style_goal: float = positive(1.15)
    content_goal: float = positive(1.10)
    flicker_goal: float = positive(1.0)
    quantize_aware: bool = flag(default=False)
    float_share: float = within(0, 0.99, 0.0)
    seed: int = within(0, 2**63 - 1, 0)

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
    """Settings of `nstc bench`.

    Attributes:
        size: Side of the pictures in pixels.
        rounds: Timed rounds, each one run of the reference and of every candidate.
        targets: Where to measure; `nstc targets` lists what there is.
        quality_photos: At most so many photographs judge the quality.
        memory: Whether targets on this machine's cores tell what a fresh process needs.
        roofline: Whether they measure what their cores could do at most.
        seed: Of the order within rounds and of the bootstrap.
    """

    size: int = within(16, 4096, 512)
    rounds: int = within(3, 10_000, 15)
    targets: tuple[str, ...] = setting(
        ("cpu:2",), are_different_words, 'different targets, such as "cpu:2" and "mobile"'
    )
    quality_photos: int = at_least(1, 32)
    memory: bool = flag(default=False)
    roofline: bool = flag(default=False)
    seed: int = within(0, 2**63 - 1, 0)


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
