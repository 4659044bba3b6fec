"""Histograms of channels, compared by their quantiles."""

import pytest
import torch

from nstc.models.losses import gram_distance, gram_matrix
from nstc.models.losses.histogram import (
    QUANTILES,
    channel_quantiles,
    histogram_distance,
    quantiles,
)


def of(*values: float) -> torch.Tensor:
    """Features of one channel."""
    return torch.tensor(values).view(1, 1, 1, -1)


def test_quantiles_are_means_of_sorted_parts():
    values = torch.arange(2.0 * QUANTILES)[torch.randperm(2 * QUANTILES)].view(1, 1, -1)

    assert quantiles(values)[0, 0].tolist() == [2 * part + 0.5 for part in range(QUANTILES)]


def test_histogram_distance_by_hand():
    target = channel_quantiles(of(3, 1, 2, 0))

    # sorted: 1 2 3 4 from 0 1 2 3: a difference of 1 each, over a mean square of 14 / 4
    assert histogram_distance(of(4, 1, 3, 2), target).item() == pytest.approx(4 / 14)


def test_every_activation_has_a_gradient_toward_the_value_of_its_rank():
    features = of(0.0, 1.0, 2.0, 3.0).repeat(1, 1, QUANTILES, 1).requires_grad_()
    target = channel_quantiles(of(1.0, 2.0, 3.0, 4.0))

    histogram_distance(features, target).sum().backward()

    assert features.grad is not None
    # 2 (0 - 1) each: over the mean square 30 / 4 and the number of activations
    expected = torch.full_like(features, -2 / 7.5 / (4 * QUANTILES))
    torch.testing.assert_close(features.grad, expected)


def test_pictures_of_other_sizes_with_one_histogram_are_alike():
    features = torch.rand(1, 3, 32, 32)
    target = channel_quantiles(features)

    assert histogram_distance(features.repeat(1, 1, 2, 2), target).item() < 1e-5
    assert histogram_distance(features[:, :, :16], target).item() < 0.02


def test_a_histogram_is_told_from_another_with_the_same_gram_matrix():
    one, other = of(1, 1, 1, 1), of(2, 0, 0, 0)

    assert gram_distance(gram_matrix(one), gram_matrix(other)).item() == 0
    # (1 - 0)² three times and (1 - 2)², over 4
    assert histogram_distance(one, channel_quantiles(other)).item() == pytest.approx(1)
