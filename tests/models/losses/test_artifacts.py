"""Checkerboards, and how much a picture flickers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nstc.benchmarks.quality.picture_metrics import shifted as judges_shift
from nstc.models.losses import (
    NOISE,
    SHIFTS,
    Axes,
    checkerboard_energy,
    displacement_map,
    flicker_map,
    shifted,
)


def _grid(period: int) -> torch.Tensor:
    grid = torch.zeros(1, 3, 64, 64)
    grid[:, :, ::period, ::period] = 0.5
    return grid


def test_a_grid_of_the_period_has_energy_and_one_of_another_has_little():
    assert checkerboard_energy(_grid(4), 4) > 50 * checkerboard_energy(_grid(5), 4)


def test_flat_pictures_and_slopes_have_no_checkerboard_energy():
    slope = torch.linspace(0, 1, 64).expand(1, 3, 48, 64)
    for picture in (torch.full((1, 3, 48, 64), 0.3), slope, slope.transpose(2, 3)):
        assert checkerboard_energy(picture, 4) == pytest.approx(0, abs=1e-12)


def test_checkerboard_energy_grows_with_the_square_of_the_grid():
    grid = _grid(4)
    ratio = checkerboard_energy(2 * grid, 4) / checkerboard_energy(grid, 4)
    assert float(ratio) == pytest.approx(4)


def test_noise_has_less_checkerboard_energy_than_a_grid_as_strong():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 3, 64, 64, generator=generator)
    grid = _grid(4)
    assert checkerboard_energy(noise * grid.std(), 4) < 0.05 * checkerboard_energy(grid, 4)


def test_checkerboard_energy_is_a_number_for_each_picture():
    both = torch.cat([_grid(4), torch.zeros(1, 3, 64, 64)])
    first, second = checkerboard_energy(both, 4)
    assert first > 0
    assert second == 0


class Identity(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images


class EveryFourth(nn.Module):
    """Paints all 4x4 pixels of a block like their first: half a pixel can change everything."""

    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(images[:, :, ::4, ::4], scale_factor=4)


def stripes() -> Tensor:
    """A pixel black, a pixel white: half a pixel further everything is grey."""
    columns = torch.arange(32) % 2
    return columns.float().expand(1, 3, 32, 32).contiguous()


def mean_flicker(network: nn.Module, photographs: Tensor) -> float:
    outputs = network(photographs)
    rng = np.random.default_rng(0)
    values = [
        float(flicker_map(network, photographs, outputs, axes, rng).mean()) for axes in SHIFTS
    ]
    return sum(values) / len(values)


@pytest.mark.parametrize("axes", SHIFTS)
def test_pictures_are_moved_as_the_judge_moves_them(axes: Axes) -> None:
    picture = np.random.default_rng(0).random((8, 12, 3))
    judges = judges_shift(picture, axes)
    own = shifted(torch.from_numpy(picture).permute(2, 0, 1)[None], axes)
    assert own[0].permute(1, 2, 0).numpy() == pytest.approx(judges)


def test_a_network_that_follows_its_photograph_flickers_no_more_than_the_noise() -> None:
    photographs = torch.full((1, 3, 64, 64), 0.5)
    found = mean_flicker(Identity(), photographs)
    assert found == pytest.approx(NOISE * (2 / np.pi) ** 0.5, rel=0.05)


def test_a_network_that_looks_at_every_fourth_pixel_flickers() -> None:
    assert mean_flicker(EveryFourth(), stripes()) > 10 * NOISE


def test_the_same_noise_is_the_same_change() -> None:
    photographs = stripes()
    one, again, other = (
        flicker_map(EveryFourth(), photographs, photographs, (0, 1), np.random.default_rng(seed))
        for seed in (1, 1, 4)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_change_along_one_axis_is_no_change_along_the_other() -> None:
    columns, rng = stripes(), np.random.default_rng(0)
    along_rows, along_columns = (
        float(flicker_map(EveryFourth(), columns, EveryFourth()(columns), axes, rng).mean())
        for axes in ((1, 0), (0, 1))
    )
    assert along_columns > 10 * along_rows


class Lattice(nn.Module):
    """Draws a line down every eighth column of its input, wherever that was cut."""

    def __init__(self, at: int = 0) -> None:
        super().__init__()
        self.at = at

    def forward(self, images: Tensor) -> Tensor:
        lines = torch.zeros_like(images)
        lines[..., self.at :: 8] = 0.5
        return images + lines


def mean_displacement(network: nn.Module, photographs: Tensor) -> list[float]:
    outputs = network(photographs)
    return [
        float(
            displacement_map(network, photographs, outputs, 8, np.random.default_rng(seed)).mean()
        )
        for seed in range(8)
    ]


def test_what_follows_its_photograph_does_not_depend_on_the_cut() -> None:
    assert mean_displacement(Identity(), torch.rand(1, 3, 64, 48)) == [0] * 8


def test_a_lattice_stands_still_while_the_photograph_is_cut() -> None:
    found = mean_displacement(Lattice(), torch.full((1, 3, 64, 64), 0.3))
    # Two columns of eight differ by 0.5, unless the cut happens to be of whole squares.
    assert max(found) == pytest.approx(0.5 * 2 / 8, rel=0.2)
    assert sum(value > 0 for value in found) >= 6


def test_edges_that_padding_changes_do_not_count() -> None:
    class Frame(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return F.pad(images[..., 8:-8, 8:-8], (8,) * 4)

    assert mean_displacement(Frame(), torch.ones(1, 3, 64, 64)) == [0] * 8


def test_both_pictures_of_a_cut_are_learned_from() -> None:
    factor = nn.Parameter(torch.ones(1))
    outputs = torch.rand(1, 3, 32, 32, requires_grad=True)
    rng = np.random.default_rng(0)
    displacement_map(
        lambda x: factor * x, torch.rand(1, 3, 32, 32), outputs, 8, rng
    ).sum().backward()
    assert factor.grad is not None
    assert factor.grad.abs() > 0
    assert outputs.grad is not None
    assert outputs.grad.abs().sum() > 0


def test_both_pictures_are_learned_from() -> None:
    offset = nn.Parameter(torch.zeros(1, 3, 8, 8))

    class Offset(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images * 0 + offset

    photographs = torch.rand(1, 3, 8, 8)
    outputs = torch.rand(1, 3, 8, 8, requires_grad=True)
    flicker_map(Offset(), photographs, outputs, (0, 0), np.random.default_rng(0)).mean().backward()
    assert offset.grad is not None
    assert offset.grad.abs().sum() > 0
    assert outputs.grad is not None
    assert outputs.grad.abs().sum() > 0
