"""Gram matrices of regions."""

import pytest
import torch
from torch import Tensor

from nstc.core.errors import OptionError
from nstc.models.losses import gram_distance, gram_matrix
from nstc.models.losses.semantic import region_distance, region_grams, region_targets


def halves(side: int = 8, left: int | None = None) -> Tensor:
    """Masks of the left and the right columns."""
    masks = torch.zeros(1, 2, side, side)
    cut = side // 2 if left is None else left
    masks[:, 0, :, :cut] = 1
    masks[:, 1, :, cut:] = 1
    return masks


def test_a_regions_gram_matrix_is_that_of_its_part_alone():
    features = torch.rand(2, 3, 8, 8)

    grams = region_grams(features, halves())

    torch.testing.assert_close(grams[:, 0], gram_matrix(features[..., :4]))
    torch.testing.assert_close(grams[:, 1], gram_matrix(features[..., 4:]))


def test_a_mask_over_all_is_the_whole_gram_matrix_however_strong():
    features = torch.rand(1, 3, 8, 8)

    for strength in (1.0, 0.25):
        grams = region_grams(features, torch.full((1, 1, 16, 16), strength))
        torch.testing.assert_close(grams[:, 0], gram_matrix(features))


def test_masks_are_scaled_by_area():
    masks = torch.zeros(1, 1, 4, 4)
    masks[..., 0] = 1  # half of the left half
    features = torch.tensor([[[[2.0, 5.0]]]])

    # m is 1/2 and 0: 4 / 4, over 1 / 4
    assert region_grams(features, masks).flatten().tolist() == pytest.approx([4.0])


def test_distance_by_hand():
    painting = torch.tensor([1.0, 1.0, 2.0, 2.0]).expand(1, 1, 4, 4)
    target = region_targets(painting, halves(4))  # Gram matrices 1 and 4
    picture = torch.tensor([2.0, 1.0, 1.0, 1.0]).expand(1, 1, 4, 4)

    # left: (4 - 1)² / 1 on a quarter of it; right: (1 - 4)² / 16 on the rest
    distance = region_distance(picture, target, halves(4, left=1))
    assert distance.item() == pytest.approx(9 / 4 + 9 / 16 * 3 / 4)


def test_each_region_is_compared_with_its_own():
    left, right = torch.rand(1, 3, 8, 4), 3 * torch.rand(1, 3, 8, 4)
    target = region_targets(torch.cat([left, right], dim=3), halves())
    swapped = torch.cat([right, left], dim=3)

    assert region_distance(swapped, target, halves()).item() > 1
    assert region_distance(swapped, target, halves().flip(1)).item() == pytest.approx(0, abs=1e-10)


def test_what_the_painting_lacks_is_compared_with_all_of_it():
    painting, picture = torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8)
    lacks = torch.cat([torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)], dim=1)

    target = region_targets(painting, lacks)

    torch.testing.assert_close(target[:, 0], gram_matrix(painting))
    distance = region_distance(picture, target, lacks.flip(1))  # all of it is what is lacking
    torch.testing.assert_close(distance, gram_distance(gram_matrix(picture), target[:, 0]))


def test_what_the_photograph_lacks_does_not_count():
    picture = torch.rand(1, 3, 8, 8, requires_grad=True)
    lacks = torch.cat([torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)], dim=1)
    target = region_targets(picture.detach(), halves())
    target[:, 1] = gram_matrix(picture.detach())

    distance = region_distance(picture, target, lacks)
    distance.sum().backward()

    assert distance.item() == pytest.approx(0, abs=1e-10)
    assert picture.grad is not None
    assert picture.grad.isfinite().all()


def test_pictures_of_a_batch_have_masks_of_their_own():
    features = torch.rand(2, 3, 8, 8)
    target = region_targets(torch.rand(1, 3, 8, 8), halves())
    masks = torch.cat([halves(), halves(left=2)])

    both = region_distance(features, target, masks)

    for index in range(2):
        one = slice(index, index + 1)
        torch.testing.assert_close(both[one], region_distance(features[one], target, masks[one]))


def test_other_labels_than_the_paintings_are_refused():
    target = region_targets(torch.rand(1, 3, 8, 8), torch.ones(1, 3, 8, 8))
    with pytest.raises(OptionError, match="masks of 2 regions and the painting of 3: expected the"):
        region_distance(torch.rand(1, 3, 8, 8), target, halves())
