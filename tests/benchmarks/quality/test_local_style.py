import numpy as np
import pytest
import torch

from nstc.benchmarks.quality.local_style import (
    local_style_distance,
    power_mean,
    window_distances,
    window_moments,
)
from nstc.models.losses import STYLE_LAYERS, gram_distance, gram_matrix
from nstc.models.tensors import images_to_tensor

SIZE = 64
WINDOW = 32


def everywhere(values: torch.Tensor) -> dict[str, torch.Tensor]:
    """The same features (1, C, h, w) on every layer."""
    return dict.fromkeys(STYLE_LAYERS, values)


def flat(level: float, side: int = 8) -> dict[str, torch.Tensor]:
    return window_moments(everywhere(torch.full((1, 2, side, side), level)), (SIZE, SIZE))


def halves() -> np.ndarray:
    """A picture whose left half is striped and whose right half is noise."""
    picture = np.random.default_rng(5).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    picture[:, : SIZE // 2] = 40
    picture[::4, : SIZE // 2] = (220, 180, 30)
    return picture


@pytest.fixture
def seen(vgg):
    def look(picture):
        with torch.inference_mode():
            return vgg(images_to_tensor([picture]), STYLE_LAYERS)

    return look


@pytest.fixture
def distance(seen):
    """Of a picture from `halves`."""

    def of(picture):
        own, other = (
            window_moments(seen(one), (SIZE, SIZE), window=WINDOW) for one in (picture, halves())
        )
        return local_style_distance(own, other)

    return of


def test_moments_by_hand():
    # 4x4 px in windows of 2: 3x3 windows, half a window apart; the first has 1, 2, 5 and 6
    values = torch.arange(1.0, 17.0).reshape(1, 1, 4, 4)
    (mean, deviation), *_ = window_moments(everywhere(values), (4, 4), window=2).values()
    assert mean.shape == deviation.shape == (1, 3, 3)
    assert mean[0, 0, 0] == 3.5
    assert mean[0, 2, 1] == 12.5
    assert float(deviation[0, 0, 0]) == pytest.approx(((6.25 + 2.25) / 2) ** 0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("size", "windows"),
    [((512, 512), (15, 15)), ((64, 64), (1, 1)), ((30, 40), (1, 1)), ((500, 130), (15, 3))],
)
def test_every_layer_has_the_same_windows_over_all_of_the_picture(size, windows):
    features = {
        name: torch.rand(1, 2, size[0] // scale, size[1] // scale)
        for name, scale in zip(STYLE_LAYERS, (1, 2, 4, 8), strict=True)
    }
    for moments in window_moments(features, size).values():
        assert moments.shape[-2:] == windows
    features[STYLE_LAYERS[0]][..., -1, -1] = 1e6
    assert window_moments(features, size)[STYLE_LAYERS[0]][0, 0, -1, -1] > 10


def test_distances_by_hand():
    # 1.5 instead of 1 in both channels: 0.25 of the squared norm, on each of four layers
    assert local_style_distance(flat(1.5), flat(1.0)) == pytest.approx(1.0, rel=1e-4)
    assert local_style_distance(flat(1.0), flat(1.0)) == 0.0


def spread_out(mean: float, deviation: float) -> dict[str, torch.Tensor]:
    """Moments of one window whose places are as often this far below the mean as above it."""
    signs = torch.ones(8, 8)
    signs[:, ::2] = -1
    values = (mean + deviation * signs).expand(1, 2, 8, 8)
    return window_moments(everywhere(values), (SIZE, SIZE))


@pytest.mark.parametrize(
    ("own", "reference", "expected"),
    [
        ((3.0, 1.0), (3.0, 4.0), 4 * 9 / 25),  # equal means: |s - S|² alone, over |M|² + |S|²
        ((8.0, 4.0), (3.0, 4.0), 4 * 25 / 25),  # equal deviations, which count in N all the same
        ((0.0, 1.0), (0.0, 2.0), 4 * 1 / 4),  # nothing but deviations
        ((8.0, 1.0), (3.0, 4.0), 4 * (25 + 9) / 25),
    ],
)
def test_distances_of_spread_out_features_by_hand(own, reference, expected):
    found = local_style_distance(spread_out(*own), spread_out(*reference))
    assert found == pytest.approx(expected, rel=1e-4)


def test_a_window_that_is_empty_in_the_reference_counts_as_an_average_one():
    full, empty = torch.tensor(2.0), torch.tensor(0.0)
    reference = {"layer": torch.stack([full, empty]).reshape(1, 1, 1, 2)}
    own = {"layer": torch.stack([full, full]).reshape(1, 1, 1, 2)}
    # the norms are 4 and 0, their mean 2: 4 / 2, and not 4 / 0
    assert window_distances(own, reference).tolist() == [[0.0, 2.0]]


def test_a_power_mean_by_hand():
    assert power_mean(torch.tensor([0.0, 1.0])) == pytest.approx(0.5**0.25)
    assert power_mean(torch.tensor([3.0, 3.0])) == pytest.approx(3.0)


def test_what_is_elsewhere_is_found_where_gram_matrices_do_not(seen, distance):
    swapped = np.roll(halves(), SIZE // 2, axis=1)
    assert distance(halves()) == 0.0
    assert distance(swapped) > 1.0
    found = {
        name: float(gram_distance(gram_matrix(own), gram_matrix(seen(halves())[name])))
        for name, own in seen(swapped).items()
    }
    assert sum(found.values()) < 0.4 * distance(swapped)


def test_a_larger_fault_is_farther(distance):
    def square(side):
        picture = halves()
        picture[24 : 24 + side, 24 : 24 + side] = (110, 72, 40)
        return distance(picture)

    assert 0 < square(6) < square(12) < square(24)


def test_a_blank_part_is_found(distance):
    blank = halves()
    blank[: SIZE // 2] = blank[: SIZE // 2].mean(axis=(0, 1)).astype(np.uint8)
    assert distance(blank) > 0.5
