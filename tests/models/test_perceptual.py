import pytest
import torch

from nstc.models.losses import CONTENT_LAYERS, STYLE_LAYERS, ContentLoss, StyleLoss, gram_matrix


@pytest.fixture
def features():
    """Features of two pictures; the second picture's are three times the first's."""
    return {
        name: torch.rand(1, 4, 6, 6) * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
        for name in STYLE_LAYERS
    }


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


def test_content_loss_sums_the_layers_for_each_picture(features):
    photograph = {name: f[:1].repeat(2, 1, 1, 1) for name, f in features.items()}

    # (3 - 1)² at each of two layers
    torch.testing.assert_close(ContentLoss()(features, photograph), torch.tensor([0.0, 8.0]))


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
