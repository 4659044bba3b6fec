"""How an optimisation divides its steps, or its time, among sizes from coarse to fine."""

from collections.abc import Sequence
from typing import Final

from nstc.core import errors
from nstc.core.recipe import OptimizeRecipe

_COARSEST: Final = 256  # px of the longer side, unless a recipe says how many scales
_LEAST: Final = 32  # px of either side: VGG halves them three times
_MORE_STEPS: Final = 1.5  # times as many steps at a scale as at the next finer one
_LESS_TIME: Final = 0.6  # of the next finer one's


def scales(recipe: OptimizeRecipe, shape: Sequence[int]) -> tuple[int, ...]:
    """Long sides in px from coarse to fine, for a photograph (H, W).

    `OptionError` if the coarsest leaves too little of the photograph's other side.
    """
    sizes = [recipe.size]
    while len(sizes) < recipe.scales if recipe.scales else sizes[0] // 2 >= _COARSEST:
        sizes.insert(0, sizes[0] // 2)
    shorter = round(sizes[0] * min(shape) / max(shape))
    if shorter < _LEAST:
        raise errors.OptionError(
            f"the photograph is {shape[1]}x{shape[0]}, and at {sizes[0]} px on its long side "
            f"{shorter} px are left of the other: expected {_LEAST} at least. Give a larger "
            "--size, fewer --scales, or crop it."
        )
    return tuple(sizes)


def shared_steps(steps: int, count: int) -> list[int]:
    """So many steps divided among scales, from coarse to fine, at least one each.

    `OptionError` if there are fewer steps than scales.
    """
    if steps < count:
        raise errors.OptionError(
            f"steps is {steps}, and there are {count} sizes from coarse to fine: give at least "
            f"{count} steps, or --scales {steps}."
        )
    shares = [_MORE_STEPS ** (count - 1 - number) for number in range(count)]
    each = [1 + int((steps - count) * share / sum(shares)) for share in shares]
    return [each[0] + steps - sum(each), *each[1:]]


def shares_of_time(count: int) -> list[float]:
    """What scales get of a time, from coarse to fine."""
    return [_LESS_TIME ** (count - 1 - number) for number in range(count)]
