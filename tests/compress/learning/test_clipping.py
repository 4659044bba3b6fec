import pytest
import torch
from torch import nn

from nstc.compress.learning.optimisers import HISTORY, GradientClipper


def norm_after(clipper: GradientClipper, norm: float) -> float:
    """The norm of a gradient of such a norm once it was clipped."""
    weights = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(1)), nn.Parameter()]
    weights[0].grad = torch.tensor([0.6, 0.0, 0.0]) * norm
    weights[1].grad = torch.tensor([0.8]) * norm
    clipper.clip(weights)
    assert float(weights[0].grad[0] / weights[1].grad[0]) == pytest.approx(0.75)
    return float(torch.cat([weights[0].grad, weights[1].grad]).norm())


@pytest.fixture
def settled() -> GradientClipper:
    clipper = GradientClipper()
    for norm in (1.0, 2.0, 3.0) * 7:
        norm_after(clipper, norm)
    return clipper


def test_a_gradient_hundreds_of_times_the_usual_one_is_no_longer_than_that(settled) -> None:
    assert norm_after(settled, 500.0) == pytest.approx(2.0, rel=1e-4)


def test_shorter_ones_stay_as_they_are(settled) -> None:
    assert norm_after(settled, 1.5) == pytest.approx(1.5)


def test_the_first_are_not_bound() -> None:
    clipper = GradientClipper()
    assert [norm_after(clipper, n) for n in (1.0, 1.0, 9.0)] == pytest.approx([1.0, 1.0, 9.0])


def test_the_bound_follows_the_run(settled) -> None:
    for _ in range(HISTORY):
        norm_after(settled, 50.0)
    assert norm_after(settled, 40.0) == pytest.approx(40.0)


def test_an_infinite_gradient_does_not_move_the_bound(settled) -> None:
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.tensor([float("inf")])
    settled.clip([weight])
    assert norm_after(settled, 500.0) == pytest.approx(2.0, rel=1e-4)


def test_one_that_was_restored_clips_alike(settled) -> None:
    other = GradientClipper()
    other.restore(settled.state())
    assert norm_after(other, 500.0) == norm_after(settled, 500.0)
