"""The losses that compare features with the photograph's, place by place."""

import torch

from nstc.models.losses import ContentLoss, feature_distance
from nstc.models.losses.content import perceptual_distance, unit_features


def test_feature_distance_by_hand():
    features = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 0.0]]]])
    target = torch.tensor([[[[4.0, 2.0]]], [[[3.0, 4.0]]]])

    # 9 / (16 + 4), and exactly 1 where there are no features
    torch.testing.assert_close(feature_distance(features, target), torch.tensor([0.45, 1.0]))


def test_gradients_of_the_feature_distance_by_hand():
    features = torch.tensor([[[[1.0, 2.0]]]], requires_grad=True)
    target = torch.tensor([[[[4.0, 2.0]]]])

    feature_distance(features, target).sum().backward()

    torch.testing.assert_close(features.grad, torch.tensor([[[[2 * -3 / 20, 0.0]]]]))


def test_content_loss_sums_the_layers_for_each_picture(features):
    photograph = {name: f[:1].repeat(2, 1, 1, 1) for name, f in features.items()}

    # (3 - 1)² at each of two layers
    torch.testing.assert_close(ContentLoss()(features, photograph), torch.tensor([0.0, 8.0]))


def test_perceptual_distance_by_hand():
    target = unit_features(torch.tensor([[[[1.0, 0.0]], [[0.0, 5.0]]]]))
    features = torch.tensor([[[[3.0, 0.0]], [[4.0, 500.0]]]])  # (3, 4), and 100 times the target's

    # (0.6, 0.8) from (1, 0) is 0.16 + 0.64, the second position is as far as the target's: 0
    distance = perceptual_distance(features, target)
    torch.testing.assert_close(distance, torch.tensor([0.8 / 2]), atol=1e-5, rtol=0)


def test_perceptual_distance_counts_weak_and_strong_features_alike():
    target, features = 100 * torch.rand(1, 4, 6, 6), 100 * torch.rand(1, 4, 6, 6)
    strengths = 0.1 + torch.rand(1, 1, 6, 6)

    torch.testing.assert_close(
        perceptual_distance(features * strengths, unit_features(target)),
        perceptual_distance(features, unit_features(target)),
    )
    assert feature_distance(features * strengths, target) != feature_distance(features, target)


def test_positions_where_no_feature_is_active_have_no_direction():
    features = torch.zeros(1, 3, 2, 2, requires_grad=True)

    unit = unit_features(features)
    unit.sum().backward()

    assert not unit.any()
    assert features.grad is not None
    assert features.grad.isfinite().all()
