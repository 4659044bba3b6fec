"""How steps and time are divided among sizes."""

import pytest

from nstc.compress.optimization.planning import scales, shared_steps, shares_of_time
from nstc.core.errors import OptionError
from nstc.core.recipe import OptimizeRecipe


@pytest.mark.parametrize(
    ("size", "count", "expected"),
    [
        (512, None, (256, 512)),
        (511, None, (511,)),
        (1024, None, (256, 512, 1024)),
        (64, None, (64,)),
        (512, 1, (512,)),
        (512, 3, (128, 256, 512)),
        (100, 2, (50, 100)),
    ],
)
def test_sizes_from_coarse_to_fine(size: int, count: int | None, expected: tuple[int, ...]) -> None:
    assert scales(OptimizeRecipe(size=size, scales=count), (300, 400)) == expected


def test_a_photograph_too_narrow_for_them() -> None:
    with pytest.raises(OptionError, match="at 128 px on its long side 26 px are left"):
        scales(OptimizeRecipe(size=512, scales=3), (200, 1000))


@pytest.mark.parametrize(("steps", "count"), [(3, 3), (5, 2), (100, 1), (500, 3), (7, 6)])
def test_coarse_scales_get_more_steps_and_each_one_at_least(steps: int, count: int) -> None:
    shares = shared_steps(steps, count)
    assert len(shares) == count
    assert shares == sorted(shares, reverse=True)
    assert min(shares) >= 1
    assert sum(shares) == steps


def test_fewer_steps_than_scales() -> None:
    with pytest.raises(OptionError, match=r"steps is 1, and there are 3 sizes.* --scales 1"):
        shared_steps(1, 3)


def test_fine_scales_get_more_of_a_time() -> None:
    assert shares_of_time(3) == pytest.approx([0.36, 0.6, 1])
