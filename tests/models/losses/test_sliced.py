"""Distributions of features along random directions."""

import pytest
import torch

from nstc.models.losses import gram_distance, gram_matrix
from nstc.models.losses.histogram import QUANTILES, channel_quantiles, histogram_distance
from nstc.models.losses.sliced import directions, sliced_quantiles, sliced_wasserstein_distance


def test_directions_have_length_one_and_are_always_the_same():
    found = directions(16)
    directions.cache_clear()
    torch.manual_seed(99)

    torch.testing.assert_close(found.norm(dim=1), torch.ones(16))
    assert torch.equal(directions(16), found)
    assert torch.linalg.matrix_rank(found) == 16


def test_directions_first_asked_for_in_inference_can_be_learned_through():
    directions.cache_clear()
    with torch.inference_mode():
        directions(3)
    features = torch.rand(1, 3, 4, 4, requires_grad=True)

    sliced_quantiles(features).sum().backward()

    assert features.grad is not None


def test_of_one_channel_it_is_the_distance_of_histograms():
    features, other = torch.rand(1, 1, 4, 5), torch.rand(1, 1, 6, 6)

    torch.testing.assert_close(
        sliced_wasserstein_distance(features, sliced_quantiles(other)),
        histogram_distance(features, channel_quantiles(other)),
    )


def test_a_shift_of_all_features_by_hand():
    target, shift = torch.rand(1, 3, 8, 8), torch.tensor([0.5, -1.0, 2.0])

    distance = sliced_wasserstein_distance(
        target + shift.view(1, 3, 1, 1), sliced_quantiles(target)
    )

    # every projection is shifted by that of the shift, and so is each of its quantiles
    along = (directions(3) @ shift).square().sum() * QUANTILES
    expected = along / sliced_quantiles(target).square().sum()
    assert distance.item() == pytest.approx(float(expected), rel=1e-4)


def test_it_does_not_depend_on_where_features_are():
    features = torch.rand(1, 4, 6, 6)
    shuffled = features.flatten(2)[:, :, torch.randperm(36)].reshape(1, 4, 6, 6)

    torch.testing.assert_close(sliced_quantiles(shuffled), sliced_quantiles(features))


def test_it_tells_apart_what_histograms_and_gram_matrices_do_not():
    # each channel's values are -1, 0 and 1, and no two channels vary together
    cross = torch.tensor([[1.0, -1, 0, 0], [0, 0, 1, -1]])
    diagonal = torch.tensor([[1.0, -1, 0, 0], [0, 0, -1, 1]])
    corners = torch.tensor([[1.0, 1, -1, -1], [1, -1, 1, -1]]) / 2**0.5
    cross, diagonal, corners = (each[None, :, None] for each in (cross, diagonal, corners))

    grams = gram_distance(gram_matrix(cross), gram_matrix(corners))
    assert grams.item() == pytest.approx(0, abs=1e-6)
    assert sliced_wasserstein_distance(cross, sliced_quantiles(diagonal)).item() < 1e-10
    assert sliced_wasserstein_distance(cross, sliced_quantiles(corners)).item() > 0.01
