"""The distance that is relative to its target's size."""

import pytest
import torch

from nstc.models.losses.relative import relative_distance


def test_by_hand() -> None:
    found = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]], [[0.0, 0.0]]])
    target = torch.tensor([[[3.0, 4.0]]])  # one for all three
    assert relative_distance(found, target).tolist() == pytest.approx([8 / 25, 0, 1])


@pytest.mark.parametrize("shape", [(2, 5), (2, 3, 4), (2, 3, 4, 5)])
def test_all_but_the_first_dimension_are_summed(shape: tuple[int, ...]) -> None:
    target = torch.full(shape, 2.0)
    target[1] = 4.0
    assert relative_distance(3 * target, target).tolist() == pytest.approx([4, 4])


def test_a_target_of_nothing_is_no_division_by_zero() -> None:
    nothing = torch.zeros(1, 3, 4, requires_grad=True)
    found = relative_distance(nothing, torch.zeros(1, 3, 4))
    found.sum().backward()
    assert found.tolist() == [0.0]
    assert nothing.grad is not None
    assert nothing.grad.isfinite().all()


def test_half_precision_is_compared_in_float32() -> None:
    target = torch.full((1, 300, 300), 100.0, dtype=torch.float16)  # its squares add up to 9e8
    assert relative_distance(target * 2, target).tolist() == pytest.approx([1.0])


def test_nothing_as_large_as_the_features_is_kept_beside_them() -> None:
    found, target = torch.rand(1, 3, 8, 8, requires_grad=True), torch.rand(1, 3, 8, 8)
    large = set()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.numel() == found.numel():
            large.add(tensor.data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        relative_distance(found, target)
    assert large == {found.data_ptr(), target.data_ptr()}
