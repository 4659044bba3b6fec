import math

import pytest
import torch

from nstc.compress.learning.processes import alone
from nstc.compress.training.train_model import MEASURED_EVERY, GradientBalance


def look(balance: GradientBalance, step: int, style: float, content: float) -> None:
    """Shows it losses that pull at a picture with such norms."""
    picture = torch.zeros(1, 3, 2, 2, requires_grad=True)
    direction = torch.full((1, 3, 2, 2), 1 / math.sqrt(12))
    pulled = (picture * direction).sum()
    balance.measure(step, style * pulled, content * pulled, picture)


def ratio(balance: GradientBalance) -> float:
    return balance.style_factor / balance.content_factor


@pytest.fixture
def balance() -> GradientBalance:
    return GradientBalance(4.0, alone())


def test_before_it_has_looked_it_changes_nothing(balance: GradientBalance) -> None:
    assert (balance.style_factor, balance.content_factor) == (1, 1)
    assert balance.figures() == {"balance": 1}


def test_it_brings_the_pulls_to_the_ratio_that_was_asked_for(balance: GradientBalance) -> None:
    look(balance, 0, style=3.0, content=12.0)
    assert 3 * balance.style_factor == pytest.approx(4 * 12 * balance.content_factor)
    assert balance.figures()["balance"] == pytest.approx(16)


def test_half_of_it_is_the_style_s_and_half_the_content_s(balance: GradientBalance) -> None:
    look(balance, 0, style=1.0, content=4.0)
    assert balance.style_factor == pytest.approx(4)
    assert balance.content_factor == pytest.approx(1 / 4)


def test_it_follows_smoothly(balance: GradientBalance) -> None:
    look(balance, 0, style=1.0, content=1.0)
    look(balance, MEASURED_EVERY, style=1.0, content=16.0)
    assert ratio(balance) == pytest.approx(4 * 16**0.2)
    for number in range(2, 60):
        look(balance, number * MEASURED_EVERY, style=1.0, content=8.0)
    assert ratio(balance) == pytest.approx(32, rel=1e-3)


def test_it_looks_now_and_then(balance: GradientBalance) -> None:
    look(balance, 0, style=1.0, content=1.0)
    look(balance, 1, style=1.0, content=50.0)
    assert ratio(balance) == pytest.approx(4)


@pytest.mark.parametrize(("style", "content", "bound"), [(1e-9, 1, 100), (1, 0, 0.01)])
def test_it_never_goes_beyond_a_factor_of_a_hundred(
    balance: GradientBalance, style: float, content: float, bound: float
) -> None:
    look(balance, 0, style, content)
    assert ratio(balance) == pytest.approx(bound)


def test_infinite_pulls_are_not_taken_in(balance: GradientBalance) -> None:
    look(balance, 0, style=1.0, content=1.0)
    look(balance, MEASURED_EVERY, style=math.inf, content=1.0)
    assert ratio(balance) == pytest.approx(4)


def test_gradients_can_still_be_had_afterwards(balance: GradientBalance) -> None:
    picture = torch.ones(1, 3, 2, 2, requires_grad=True)
    style, content = picture.square().sum(), picture.sum()
    balance.measure(0, style, content, picture)
    (style + content).backward()
    assert torch.equal(picture.grad, torch.full((1, 3, 2, 2), 3.0))


@pytest.mark.parametrize("looks", [0, 1])
def test_one_that_was_restored_goes_on_alike(balance: GradientBalance, looks: int) -> None:
    for number in range(looks):
        look(balance, number, style=1.0, content=9.0)
    other = GradientBalance(4.0, alone())
    other.restore(balance.state())
    assert other.figures() == balance.figures()
    for one in (balance, other):
        look(one, MEASURED_EVERY, style=5.0, content=1.0)
    assert other.figures() == balance.figures()
