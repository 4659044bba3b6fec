"""Rounding that gradients pass through, against values worked by hand."""

import numpy as np
import pytest
import torch

from nstc.compress.quantization.integer_twin import damped, held, rounded, stored_bias, weight_scale

STEP = 0.5


def held_and_gradients(value: float, zero_point: int) -> tuple[float, float, float]:
    """What bytes hold of a value, and the gradients of that by the value and by the scale.

    The scale's is undamped: times the root of one value's 255 levels.
    """
    values = torch.tensor([value], requires_grad=True)
    scale = torch.tensor(STEP, requires_grad=True)
    slow = damped(scale, 1)
    made = held(values / slow, torch.tensor(float(zero_point))) * slow
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


def test_a_damped_scale_is_the_same_number_and_learns_by_the_root_of_its_levels() -> None:
    scale = torch.tensor(0.0586789, requires_grad=True)
    made = damped(scale, 100)
    made.backward()  # type: ignore[no-untyped-call]
    assert made.item() == scale.item()
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx((100 * 255) ** -0.5)


def test_rounding_is_half_to_even_and_passes_gradients() -> None:
    values = torch.tensor([0.5, 1.5, -0.7, 3e5 + 0.25], requires_grad=True)
    made = rounded(values)
    assert made.tolist() == [0, 2, -1, 3e5]
    made.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad.tolist() == [1, 1, 1, 1]


def test_each_filters_largest_weight_is_the_last_of_64_steps() -> None:
    weight = torch.tensor([[1.28, -0.011], [0.0, 0.0], [-0.64, 0.015]])[:, :, None, None]
    scale = weight_scale(weight)
    torch.testing.assert_close(scale.flatten()[[0, 2]], torch.tensor([0.02, 0.01]))
    kept = rounded(weight / scale).flatten()
    assert kept.tolist() == [64, -1, 0, 0, -64, 2]


def test_a_bias_that_is_a_tie_in_float32_alone_is_stored_as_the_quantizer_stores_it() -> None:
    generator = torch.Generator().manual_seed(0)
    bias = -torch.rand(100_000, generator=generator)
    unit = 1e-4 * (1 + torch.rand(100_000, generator=generator))
    expected = np.round(bias.double().numpy() / unit.double().numpy())
    assert np.array_equal(stored_bias(bias, unit).numpy(), expected)
    ties = np.round((bias / unit).numpy()) != expected
    assert 3 < ties.sum() < 100


def test_a_stored_bias_passes_gradients() -> None:
    bias = torch.tensor([0.3, -0.7], requires_grad=True)
    stored_bias(bias, torch.tensor(0.1)).sum().backward()
    assert bias.grad is not None
    assert bias.grad.tolist() == pytest.approx([10, 10])
