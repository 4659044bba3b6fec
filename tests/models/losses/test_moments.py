"""Means and standard deviations of channels."""

import torch

from nstc.models.losses.moments import channel_moments, moments_distance


def test_moments_of_two_channels_by_hand():
    features = torch.tensor([[[[1.0, 3.0]], [[5.0, 5.0]]]])

    moments = channel_moments(features)

    expected = torch.tensor([[[2.0, 5.0], [1.0, 0.0]]])
    torch.testing.assert_close(moments, expected, atol=4e-3, rtol=0)  # sqrt(10^-5) of the second


def test_moments_distance_by_hand():
    target = channel_moments(torch.tensor([[[[-2.0, 2.0]]]]))  # mean 0, deviation 2

    # mean 2 and deviation 1: (4 + 1) / (0 + 4)
    distance = moments_distance(torch.tensor([[[[1.0, 3.0]]]]), target)
    torch.testing.assert_close(distance, torch.tensor([1.25]), atol=1e-4, rtol=0)


def test_moments_do_not_depend_on_where_features_are():
    features = torch.rand(1, 4, 6, 6)
    shuffled = features.flatten(2)[:, :, torch.randperm(36)].reshape(1, 4, 6, 6)

    torch.testing.assert_close(channel_moments(shuffled), channel_moments(features))


def test_moments_leave_open_how_channels_vary_together():
    one, other = torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([3.0, 0.0, 1.0, 2.0])
    alike = torch.stack([one, one])[None, :, None]
    unlike = torch.stack([one, other])[None, :, None]

    assert moments_distance(unlike, channel_moments(alike)).item() < 1e-10
