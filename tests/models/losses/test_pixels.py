"""The losses of pixels: total variation, and Laplacians of pooled pictures."""

import pytest
import torch

from nstc.models.losses import total_variation
from nstc.models.losses.pixels import POOLS, laplacian, laplacian_distance


def test_total_variation_by_hand():
    one_colour = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.5]])
    images = one_colour.repeat(1, 3, 1, 1)

    # down: (0 + 0 + 0.5) / 3; across: (1 + 1 + 1 + 0.5) / 4
    torch.testing.assert_close(total_variation(images), torch.tensor([0.5 / 3 + 3.5 / 4]))


def test_total_variation_of_a_flat_picture_is_zero():
    assert total_variation(torch.full((2, 3, 4, 5), 0.3)).tolist() == [0, 0]


def blocks(side: int = 16, size: int = 4) -> torch.Tensor:
    """Squares of 4 px, black and white in turn."""
    rows = torch.arange(side) // size % 2
    return (rows[:, None] ^ rows).float().expand(1, 3, side, side)


def test_laplacian_by_hand():
    point = torch.zeros(1, 1, 3, 3)
    point[0, 0, 1, 1] = 1

    assert laplacian(point)[0, 0].tolist() == [[0, -1, 0], [-1, 4, -1], [0, -1, 0]]
    # in a corner, beyond which the picture continues with its nearest pixel
    assert laplacian(point.roll((1, 1), (2, 3)))[0, 0, 2].tolist() == [0, -1, 2]


def test_a_flat_picture_lacks_all_edges_of_one_pool():
    # 4x4 means alternate; one mean of 16x16 has no edge, in either picture
    flat = torch.full((1, 3, 16, 16), 0.7)
    assert laplacian_distance(flat, blocks()).tolist() == pytest.approx([1.0])
    # half the contrast: (1 - 1/2)²
    assert laplacian_distance(blocks() / 2 + 0.3, blocks()).tolist() == pytest.approx([0.25])


def test_strokes_within_a_pool_are_no_edges_and_outlines_of_16_px_count_in_both():
    strokes = blocks() * 0.5 + 0.1 * (blocks(16, 1) - 0.5)
    assert laplacian_distance(strokes, blocks() * 0.5).tolist() == pytest.approx([0], abs=1e-10)
    wide = blocks(64, 16)
    assert laplacian_distance(torch.zeros(1, 3, 64, 64), wide).tolist() == pytest.approx(
        [len(POOLS)]
    )


def test_a_flat_photograph_does_not_make_noise_all_that_counts():
    flat = torch.full((1, 3, 32, 32), 0.5)
    noise = flat + torch.randn(1, 3, 32, 32) / 255
    assert laplacian_distance(noise, flat).item() < 0.3  # 20 (1 / 4 / 255)² over 10⁻⁴
