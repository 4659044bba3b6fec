"""Rounding that gradients pass through, against values worked by hand."""

import pytest
import torch

from nstc.compress.fake_quantization import held, in_levels, in_steps, weight_scale

STEP = 0.5


def held_and_gradients(value: float, zero_point: int) -> tuple[float, float, float]:
    """What bytes hold of a value, and the gradients of that by the value and by the scale.

    The scale's is undamped: times the root of one value's 255 levels.
    """
    values = torch.tensor([value], requires_grad=True)
    scale = torch.tensor(STEP, requires_grad=True)
    made = held(values, scale, torch.tensor(float(zero_point)))
    made.backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert scale.grad is not None
    return made.item(), values.grad.item(), scale.grad.item() * 255**0.5


@pytest.mark.parametrize(
    ("value", "kept", "passes", "by_scale"),
    [
        (0.6, 0.5, 1, 1 - 1.2),  # a step of 1.2 is held as 1
        (0.25, 0.0, 1, 0 - 0.5),  # half to even
        (0.75, 1.0, 1, 2 - 1.5),
        (-0.6, -0.5, 1, -1 + 1.2),
        (-9.0, -5.0, 0, -10),  # saturates at zero's distance to the lowest level
        (200.0, 122.5, 0, 245),
    ],
)
def test_an_activation_is_held_in_steps_and_its_scale_learns_from_what_that_loses(
    value: float, kept: float, passes: float, by_scale: float
) -> None:
    assert held_and_gradients(value, 10) == pytest.approx((kept, passes, by_scale), abs=1e-4)


def test_pixels_are_in_levels_and_not_saturated() -> None:
    pixels = torch.tensor([-0.1, 0.5, 1.3], requires_grad=True)
    made = in_levels(pixels)
    torch.testing.assert_close(made * 255, torch.tensor([-26.0, 128.0, 332.0]), rtol=0, atol=1e-4)
    made.sum().backward()  # type: ignore[no-untyped-call]
    assert pixels.grad is not None
    assert pixels.grad.tolist() == [1, 1, 1]


def test_each_filters_largest_weight_is_the_last_of_64_steps() -> None:
    weight = torch.tensor([[1.28, -0.011], [0.0, 0.0], [-0.64, 0.015]])[:, :, None, None]
    scale = weight_scale(weight)
    torch.testing.assert_close(scale.flatten()[[0, 2]], torch.tensor([0.02, 0.01]))
    kept = in_steps(weight, scale).flatten()
    torch.testing.assert_close(kept, torch.tensor([1.28, -0.02, 0.0, 0.0, -0.64, 0.02]))


def test_a_bias_is_held_in_its_steps_however_fine_and_learns() -> None:
    bias = torch.tensor([0.1004, 3.0], requires_grad=True)
    kept = in_steps(bias, torch.tensor([0.01, 1e-9]))
    torch.testing.assert_close(kept.detach(), torch.tensor([0.1, 3.0]), rtol=0, atol=1e-6)
    kept.sum().backward()  # type: ignore[no-untyped-call]
    assert bias.grad is not None
    torch.testing.assert_close(bias.grad, torch.ones(2))
