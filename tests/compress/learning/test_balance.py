"""What weighs style and content while a network or an image is optimised."""

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from nstc.compress.learning import balance as balancing
from nstc.compress.learning.balance import (
    MEASURED_EVERY,
    ContentBalance,
    GradientBalance,
    content_levels,
    energy,
    typical_energies,
)
from nstc.compress.learning.loop import Processes


def look(
    balance: GradientBalance | ContentBalance,
    step: int,
    style: float,
    content: float,
    at: float = 0.0,
) -> None:
    """Measure losses whose gradients are that long, the style's of the value `at`."""
    picture = torch.zeros(1, 3, 2, 2, requires_grad=True)
    direction = torch.full((1, 3, 2, 2), 1 / math.sqrt(12))
    pulled = (picture * direction).sum()
    balance.measure(step, at + style * pulled, content * pulled, picture)


@pytest.fixture
def balance() -> GradientBalance:
    return GradientBalance(4.0, Processes())


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
    assert balance.figures()["balance"] == pytest.approx(4 * 16**0.2)
    for number in range(2, 60):
        look(balance, number * MEASURED_EVERY, style=1.0, content=8.0)
    assert balance.figures()["balance"] == pytest.approx(32, rel=1e-3)


def test_it_looks_now_and_then(balance: GradientBalance) -> None:
    look(balance, 0, style=1.0, content=1.0)
    look(balance, 1, style=1.0, content=50.0)
    assert balance.figures()["balance"] == pytest.approx(4)


@pytest.mark.parametrize(("style", "content", "bound"), [(1e-9, 1, 100), (1, 0, 0.01)])
def test_it_never_goes_beyond_a_factor_of_a_hundred(
    balance: GradientBalance, style: float, content: float, bound: float
) -> None:
    look(balance, 0, style, content)
    assert balance.figures()["balance"] == pytest.approx(bound)


def test_infinite_pulls_are_not_taken_in(balance: GradientBalance) -> None:
    look(balance, 0, style=1.0, content=1.0)
    look(balance, MEASURED_EVERY, style=math.inf, content=1.0)
    assert balance.figures()["balance"] == pytest.approx(4)


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
    other = GradientBalance(4.0, Processes())
    other.load_state_dict(balance.state_dict())
    assert other.figures() == balance.figures()
    for one in (balance, other):
        look(one, MEASURED_EVERY, style=5.0, content=1.0)
    assert other.figures() == balance.figures()


class TestContentBalance:
    """Gradients of style 0.4 and content 2 long: a multiplier at which no level gives way."""

    LEVEL = torch.tensor([0.8])

    @pytest.fixture
    def held(self) -> ContentBalance:
        held = ContentBalance()
        look(held, 0, style=0.4, content=2.0)
        return held

    def weight(self, held: ContentBalance, content: float, level: Tensor = LEVEL) -> float:
        """The factor with which the content's gradient counts."""
        loss = torch.tensor([content], requires_grad=True)
        (slope,) = torch.autograd.grad(held.term(loss, level), loss)
        return float(slope)

    def test_at_its_level_the_gradients_are_equal(self, held: ContentBalance) -> None:
        assert self.weight(held, 0.8) == pytest.approx(0.2, rel=1e-4)
        assert held.figures()["balance"] == pytest.approx(0.2)

    @pytest.mark.parametrize(("multiplier", "levels"), [(0.3, 1.5**0.7), (0.1, 1.0), (4.0, 2.0)])
    def test_a_level_gives_way_to_what_a_painting_gives_for_it(
        self, multiplier: float, levels: float
    ) -> None:
        held = ContentBalance()
        look(held, 0, style=multiplier, content=1.0)
        assert self.weight(held, 0.8 * levels) == pytest.approx(multiplier, rel=1e-4)
        assert held.figures()["content/level"] == pytest.approx(1)

    @pytest.mark.parametrize(("style", "levels"), [(0.1, 1.0), (0.36, 1.2), (3.0, 1.25)])
    def test_a_level_gives_way_to_a_style_loss_that_stays_high(
        self, style: float, levels: float
    ) -> None:
        held = ContentBalance(usual_style=0.25)
        look(held, 0, style=0.4, content=2.0, at=style)
        assert self.weight(held, 0.8 * levels) == pytest.approx(0.2, rel=1e-4)

    @pytest.mark.parametrize(("multiplier", "levels"), [(0.3, 1.25 * 1.5**0.7), (0.5, 2.0)])
    def test_a_level_gives_way_to_both_up_to_twice_its_value(
        self, multiplier: float, levels: float
    ) -> None:
        held = ContentBalance(usual_style=0.25)
        look(held, 0, style=multiplier, content=1.0, at=3.0)
        assert self.weight(held, 0.8 * levels) == pytest.approx(multiplier, rel=1e-4)

    def test_the_style_loss_counts_only_where_it_is_said_what_is_usual(self) -> None:
        held = ContentBalance()
        look(held, 0, style=0.4, content=2.0, at=1e6)
        assert self.weight(held, 0.8) == pytest.approx(0.2, rel=1e-4)

    def test_it_rises_with_the_loss_and_stays_finite(self, held: ContentBalance) -> None:
        losses = [0.0, 0.2, 0.4, 0.7, 0.8, 0.9, 1.2, 1.6, 3.0, 1e6]
        weights = [self.weight(held, loss) for loss in losses]
        assert weights == sorted(weights)
        assert weights[0] == 0
        assert weights[3] < 0.75 * 0.2 < 1.5 * 0.2 < weights[5]
        assert weights[-1] == pytest.approx(weights[-2])  # no steeper from twice the level on
        terms = [float(held.term(torch.tensor([loss]), self.LEVEL)) for loss in losses]
        assert terms == sorted(terms)
        assert all(map(math.isfinite, terms))

    def test_the_term_has_no_jump_where_the_weight_rises_no_further(
        self, held: ContentBalance
    ) -> None:
        below, above = (float(held.term(torch.tensor([x]), self.LEVEL)) for x in (1.5999, 1.6001))
        assert above == pytest.approx(below, rel=2e-3)

    def test_each_photograph_has_its_own_level(self, held: ContentBalance) -> None:
        losses = torch.tensor([0.4, 0.4])
        both = held.term(losses, torch.tensor([0.4, 0.8]))
        alone = [held.term(losses[:1], torch.tensor([level])) for level in (0.4, 0.8)]
        assert float(both) == pytest.approx(float(sum(alone)) / 2)

    def test_level_0_holds_the_photograph(self, held: ContentBalance) -> None:
        level = torch.zeros(1)
        assert self.weight(held, 0.01, level) > 10 * 0.2
        assert math.isfinite(self.weight(held, 1.0, level))
        assert self.weight(held, 0.0, level) == 0

    @pytest.mark.parametrize(("style", "content"), [(1e9, 1.0), (1.0, 0.0), (1e-9, 1.0)])
    def test_the_multiplier_has_bounds(self, style: float, content: float) -> None:
        held = ContentBalance()
        look(held, 0, style=style, content=content)
        assert 0.01 < held.figures()["balance"] < 10

    def test_the_first_steps_are_all_measured_and_later_ones_smoothed(
        self, held: ContentBalance
    ) -> None:
        look(held, 1, style=1.0, content=1.0)
        assert held.figures() == {"balance": 1.0}
        look(held, MEASURED_EVERY + 1, style=4.0, content=1.0)
        assert held.figures() == {"balance": 1.0}
        look(held, 2 * MEASURED_EVERY, style=4.0, content=1.0)
        assert held.figures()["balance"] == pytest.approx(2)

    def test_what_is_not_finite_is_not_taken_in(self, held: ContentBalance) -> None:
        look(held, MEASURED_EVERY, style=math.nan, content=1.0)
        look(held, MEASURED_EVERY, style=1.0, content=math.inf)
        assert held.figures()["balance"] == pytest.approx(0.2)

    @pytest.mark.parametrize("looks", [0, 1])
    def test_one_that_was_restored_goes_on_alike(self, looks: int) -> None:
        held, other = ContentBalance(), ContentBalance()
        for number in range(looks):
            look(held, number, style=1.0, content=3.0)
        other.load_state_dict(held.state_dict())
        assert other.figures() == held.figures()
        for one in (held, other):
            look(one, MEASURED_EVERY, style=5.0, content=4.0)
        assert other.figures() == held.figures()


class TestContentLevels:
    def level(self, typical: float, strength: float = 1.0, scale: float = 1.0) -> float:
        features = {"relu3_3": torch.full((1, 4, 2, 2), scale)}  # whose energy is 4 scale^2
        return float(content_levels(features, {"relu3_3": typical}, strength))

    def test_strength_is_a_factor(self) -> None:
        assert self.level(4.0, 0) == 0
        assert self.level(4.0, 2) == pytest.approx(2 * self.level(4.0))

    def test_the_less_there_is_in_a_photograph_the_higher_is_its_level(self) -> None:
        usual = self.level(4.0)
        assert self.level(4.0, scale=2) < usual < self.level(4.0, scale=0.5)
        # by a part in proportion to typical / own energy, and one that is alike for all
        assert self.level(4.0, scale=0.5) == pytest.approx(self.level(16.0))
        assert self.level(12.0) - self.level(8.0) == pytest.approx(self.level(8.0) - usual)
        assert self.level(0.0) > 0

    def test_layers_are_summed_and_photographs_are_not(self) -> None:
        features = {name: torch.ones(3, 4, 2, 2) for name in ("relu2_2", "relu3_3")}
        levels = content_levels(features, dict.fromkeys(features, 4.0), 1.0)
        assert levels.tolist() == pytest.approx([2 * self.level(4.0)] * 3)

    def test_black_has_a_finite_one(self) -> None:
        assert math.isfinite(self.level(4.0, scale=0.0))

    def test_energy_by_hand(self) -> None:
        features = torch.tensor([[[[1.0, 3.0]], [[2.0, 0.0]]]])  # two channels at two positions
        assert energy(features).tolist() == [(1 + 9 + 4 + 0) / 2]

    def test_the_typical_energy_is_a_geometric_mean_and_computed_once(self, monkeypatch) -> None:
        class Features(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.weight = nn.Parameter(torch.ones(1))
                self.seen = 0

            def forward(self, images: Tensor, layers: tuple[str, ...]) -> Mapping[str, Tensor]:
                self.seen += 1
                return {name: torch.full((1, 1, 2, 2), float(self.seen)) for name in layers}

        whole = balancing.sample_photos()
        monkeypatch.setattr(balancing, "sample_photos", lambda: whole.take(2))
        network = Features()
        found = typical_energies(network, ("relu2_2", "relu3_3"))
        assert found == pytest.approx({"relu2_2": 2.0, "relu3_3": 2.0})  # of 1 and 4
        assert typical_energies(network, ("relu3_3",)) == {"relu3_3": found["relu3_3"]}
        assert network.seen == 2
