"""Gram matrices, and the losses as modules."""

import pytest
import torch

from nstc.models.losses import (
    CONTENT_LAYERS,
    STYLE_LAYERS,
    ContentLoss,
    StyleLoss,
    feature_distance,
    gram_distance,
    gram_matrix,
)


def test_gram_matrix_of_two_channels_by_hand():
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 4.0]]]])  # C=2, H=1, W=2

    gram = gram_matrix(features)

    # <a,a> = 1+4, <a,b> = 3+8, <b,b> = 9+16, all divided by C*H*W = 4
    assert gram.tolist() == [[[1.25, 2.75], [2.75, 6.25]]]


def test_gram_matrix_keeps_pictures_apart():
    features = torch.rand(3, 4, 5, 6)

    together = gram_matrix(features)

    assert together.shape == (3, 4, 4)
    torch.testing.assert_close(together[1], gram_matrix(features[1:2])[0])


def test_gram_matrix_does_not_see_where_things_are():
    features = torch.rand(1, 4, 6, 6)
    shuffled = features.flatten(2)[:, :, torch.randperm(36)].reshape(1, 4, 6, 6)

    torch.testing.assert_close(gram_matrix(features), gram_matrix(shuffled))


def test_gram_matrix_of_a_repeated_picture_is_that_of_the_picture():
    features = torch.rand(1, 4, 6, 6)

    torch.testing.assert_close(gram_matrix(features.repeat(1, 1, 2, 2)), gram_matrix(features))


def test_gram_matrix_of_half_precision_features_does_not_overflow():
    features = torch.full((1, 2, 32, 32), 300.0, dtype=torch.float16)  # squares sum to 9e7

    gram = gram_matrix(features)

    assert gram.dtype == torch.float32
    assert gram.flatten().tolist() == [45000.0] * 4  # 300² * 1024 / (2 * 1024)


def test_gram_matrix_is_exact_under_autocast():
    features = torch.rand(1, 16, 32, 32)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        gram = gram_matrix(features)

    assert gram.dtype == torch.float32
    torch.testing.assert_close(gram, gram_matrix(features))


def test_gram_distance_by_hand():
    gram = torch.tensor([[[1.0, 0.0], [0.0, 2.0]], [[3.0, 4.0], [4.0, 0.0]]])
    target = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]])  # |T|² = 25

    # (4 + 4) / 25, (16 + 16 + 16) / 25
    torch.testing.assert_close(gram_distance(gram, target), torch.tensor([8 / 25, 48 / 25]))


@pytest.mark.parametrize("distance", [gram_distance, feature_distance])
def test_a_distance_is_zero_only_from_itself(distance):
    shape = (2, 4, 4) if distance is gram_distance else (2, 4, 3, 3)
    target = torch.rand(shape)

    assert distance(target, target).tolist() == [0, 0]
    assert (distance(target + 0.01, target) > 0).all()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_distances_are_scale_free(scale):
    features = scale * (1 + torch.rand(1, 4, 8, 8))

    # |2F - F|² / |F|² = 1; Gram matrices go with the square: |4G - G|² / |G|² = 9
    torch.testing.assert_close(feature_distance(2 * features, features), torch.tensor([1.0]))
    torch.testing.assert_close(
        gram_distance(gram_matrix(2 * features), gram_matrix(features)), torch.tensor([9.0])
    )


def test_a_distance_from_nothing_is_finite():
    nothing = torch.zeros(1, 2, 2, 2)

    assert feature_distance(nothing, nothing).tolist() == [0]
    assert torch.isfinite(feature_distance(torch.ones(1, 2, 2, 2), nothing)).all()
    assert gram_distance(gram_matrix(nothing), gram_matrix(nothing)).tolist() == [0]


def test_descending_the_gram_distance_arrives():
    target = gram_matrix(torch.rand(1, 3, 8, 8))
    features = torch.rand(1, 3, 8, 8, requires_grad=True)
    before = gram_distance(gram_matrix(features), target).item()
    optimiser = torch.optim.Adam([features], lr=0.05)

    for _ in range(60):
        optimiser.zero_grad()
        gram_distance(gram_matrix(features), target).sum().backward()
        optimiser.step()

    assert gram_distance(gram_matrix(features), target).item() < before / 20


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_through_a_gram_matrix_is_that_of_its_formula(layout):
    features = torch.rand(2, 3, 4, 5).to(memory_format=layout).requires_grad_()
    weights = torch.rand(2, 3, 3)
    (gram_matrix(features) * weights).sum().backward()

    plain = features.detach().clone().requires_grad_()
    flat = plain.flatten(2)
    (flat @ flat.transpose(1, 2) / (3 * 4 * 5) * weights).sum().backward()

    torch.testing.assert_close(features.grad, plain.grad)


def test_other_gradients_are_added_to_a_gram_matrixs_in_place():
    features = torch.rand(1, 3, 4, 5, requires_grad=True)
    own = features * 1  # two things are made of it, a Gram matrix the later
    other, gram = own * 1, gram_matrix(own)
    gradients = []
    gram.grad_fn.register_hook(lambda found, _: gradients.append(found[0].data_ptr()))
    own.grad_fn.register_prehook(lambda found: gradients.append(found[0].data_ptr()))

    (gram.sum() + other.sum()).backward()

    assert gradients[0] == gradients[1]


def test_half_precision_features_make_a_float32_gram_and_half_precision_gradients():
    features = torch.rand(1, 3, 16, 16, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        gram = gram_matrix(features)
    gram.sum().backward()

    exact = features.detach().float().flatten(2)
    torch.testing.assert_close(gram, exact @ exact.transpose(1, 2) / features.numel())
    assert features.grad is not None
    assert features.grad.dtype == torch.bfloat16


def test_the_layers_are_those_of_the_papers():
    assert STYLE_LAYERS == ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
    assert CONTENT_LAYERS == ("relu2_2", "relu3_3")


def test_style_loss_sums_the_layers_for_each_picture(features):
    loss = StyleLoss({name: gram_matrix(f)[0] for name, f in features.items()})

    # the Gram matrices of the second are nine times the first's: (9 - 1)² at each of four layers
    torch.testing.assert_close(loss(features), torch.tensor([0.0, 4 * 64.0]), atol=1e-5, rtol=1e-4)


def test_style_loss_looks_only_at_the_layers_it_was_given(features):
    loss = StyleLoss({"relu2_2": gram_matrix(features["relu2_2"])[0]})

    torch.testing.assert_close(loss({"relu2_2": features["relu2_2"]})[1], torch.tensor(64.0))


def test_the_targets_move_with_the_module_but_are_not_saved(features):
    loss = StyleLoss({name: gram_matrix(f)[0] for name, f in features.items()})

    assert loss.state_dict() == {}
    assert {b.dtype for b in loss.double().buffers()} == {torch.float64}


def test_half_precision_targets_are_compared_in_full(features):
    exact = StyleLoss({name: gram_matrix(f)[0] for name, f in features.items()})
    halved = StyleLoss({name: gram_matrix(f)[0].half() for name, f in features.items()})

    torch.testing.assert_close(exact(features), halved(features), atol=1e-4, rtol=1e-2)


def test_gradients_reach_the_picture_through_the_features(vgg):
    images = torch.rand(1, 3, 32, 32, requires_grad=True)
    painting = vgg(torch.rand(1, 3, 32, 32), STYLE_LAYERS)
    style = StyleLoss({name: gram_matrix(f)[0] for name, f in painting.items()})

    seen = vgg(images, STYLE_LAYERS)
    (style(seen) + ContentLoss()(seen, painting)).sum().backward()

    assert images.grad is not None
    assert (images.grad.abs().amax(dim=1) > 0).all()  # every pixel
    assert all(parameter.grad is None for parameter in vgg.parameters())
