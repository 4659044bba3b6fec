"""Nearest patches of features."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nstc.core.errors import OptionError
from nstc.models.losses.patches import MOST_PATCHES, feature_patches, patch_distance


def plainly(features: Tensor, painting: Tensor) -> Tensor:
    """The formula, with all patches at once."""
    own, others = (F.unfold(f, 3)[0].T for f in (features, painting))
    nearest = (F.normalize(own, dim=1) @ F.normalize(others, dim=1).T).argmax(dim=1)
    return (own - others[nearest]).square().sum(dim=1).mean() / others.square().sum(dim=1).mean()


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that an operation made."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor):
            self.elements = max(self.elements, made.numel())
        return made


def test_one_patch_by_hand():
    target = feature_patches(torch.ones(1, 1, 3, 3))

    # |2 - 1|² over |1|², nine times each
    assert patch_distance(torch.full((1, 1, 3, 3), 2.0), target).tolist() == [1]


def test_the_nearest_patch_is_that_of_the_same_direction_not_of_the_same_size():
    column, row = torch.zeros(3, 3), torch.zeros(3, 3)
    column[:, 1], row[1] = 1.0, 1.0
    target = torch.stack([column.flatten(), 9 * row.flatten()])[None]

    # its own direction is that of the row, though the column is nearer: |1 - 9|² · 3, over the
    # mean of 3 and 243
    distance = patch_distance(row[None, None], target)
    assert distance.item() == pytest.approx(3 * 64 / 123)


@pytest.mark.parametrize("positions", [1, 20, 10_000])
def test_strips_make_no_difference(positions, monkeypatch):
    monkeypatch.setattr("nstc.models.losses.patches._POSITIONS", positions)
    features = torch.randn(2, 3, 9, 11, requires_grad=True)
    painting = torch.randn(1, 3, 7, 6)

    found = patch_distance(features, feature_patches(painting))
    expected = torch.stack([plainly(one[None], painting) for one in features])
    gradients = [torch.autograd.grad(each.sum(), features)[0] for each in (found, expected)]

    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*gradients)


def test_parts_of_the_painting_cost_nothing_and_shuffled_ones_do():
    painting = torch.randn(1, 4, 12, 12)
    target = feature_patches(painting)

    assert patch_distance(painting[:, :, 3:9, 2:11], target).item() == pytest.approx(0, abs=1e-10)
    shuffled = painting.flatten(2)[:, :, torch.randperm(144)].reshape_as(painting)
    assert patch_distance(shuffled, target).item() > 0.1


def test_the_order_of_patches_does_not_matter():
    features, target = torch.randn(1, 3, 8, 8), feature_patches(torch.randn(1, 3, 8, 8))

    shuffled = target[:, torch.randperm(target.shape[1])]
    torch.testing.assert_close(patch_distance(features, shuffled), patch_distance(features, target))


def test_of_a_large_painting_a_choice_is_taken_always_the_same():
    painting = torch.rand(1, 2, 64, 64)

    patches = feature_patches(painting)

    assert patches.shape == (1, MOST_PATCHES, 18)
    assert torch.equal(patches, feature_patches(painting))
    everyone = F.unfold(painting, 3)[0].T
    assert all((everyone == patch).all(dim=1).any() for patch in patches[0, ::200])


def test_memory_is_bounded_whatever_the_picture():
    features = torch.rand(1, 8, 160, 160, requires_grad=True)
    target = feature_patches(torch.rand(1, 8, 64, 64))

    with Largest() as largest:
        patch_distance(features, target).sum().backward()

    every_pair = 158 * 158 * MOST_PATCHES
    assert largest.elements < every_pair / 10


def test_pictures_smaller_than_a_patch_are_refused():
    with pytest.raises(OptionError, match=r"features of 5x2 have no 3x3 patch.*expected larger"):
        feature_patches(torch.rand(1, 4, 2, 5))
    with pytest.raises(OptionError, match="features of 2x2 have no"):
        patch_distance(torch.rand(1, 4, 2, 2), torch.rand(1, 7, 36))
