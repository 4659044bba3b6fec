"""What a step does: optimisers, the bound on gradients, the mean of the weights."""

import pytest
import torch
from torch import Tensor, nn

from nstc.compress.learning.optimisers import HISTORY, AveragedWeights, GradientClipper, Optimiser


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, groups=1),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 2, 1),
    ).train()


def optimiser_of(net: nn.Module, method: str, scale: float = 1.0) -> Optimiser:
    made = Optimiser([(parameter, scale) for parameter in net.parameters()], method)
    made.set_rate(0.01)
    return made


def learn(net: nn.Module, optimiser: Optimiser, steps: int) -> list[float]:
    losses = []
    for step in range(steps):
        noise = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(step))
        loss = (net(noise) - 1).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


def moved(net: nn.Module, before: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: p.detach() - before[name] for name, p in net.named_parameters()}


def one_step(method: str, scale: float = 1.0) -> dict[str, Tensor]:
    net = network()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    learn(net, optimiser_of(net, method, scale), 1)
    return moved(net, before)


@pytest.mark.parametrize("method", ["adam", "muon"])
def test_both_learn(method) -> None:
    net = network()
    losses = learn(net, optimiser_of(net, method), 60)
    assert losses[-1] < losses[0] / 2


def test_adam_alone_is_torchs_adam() -> None:
    own, torchs = network(), network()
    learn(own, optimiser_of(own, "adam"), 5)
    adam = torch.optim.Adam(torchs.parameters(), lr=0.01)
    for step in range(5):
        noise = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(step))
        adam.zero_grad()
        (torchs(noise) - 1).square().mean().backward()
        adam.step()
    for mine, theirs in zip(own.parameters(), torchs.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_muon_moves_matrices_alike_in_all_directions_and_adam_the_rest() -> None:
    by_muon, by_adam = one_step("muon"), one_step("adam")
    for name in ("0.weight", "3.weight"):
        values = torch.linalg.svdvals(by_muon[name].flatten(1))
        assert values.max() / values.min() < 2
        assert torch.linalg.svdvals(by_adam[name].flatten(1)).max() > 2 * values.max()
    for name in ("1.weight", "0.bias", "2.weight"):
        assert torch.equal(by_muon[name], by_adam[name])


@pytest.mark.parametrize("method", ["adam", "muon"])
def test_the_scale_is_a_factor_on_the_rate(method) -> None:
    plain, scaled = one_step(method), one_step(method, scale=3.0)
    for name, step in plain.items():
        torch.testing.assert_close(scaled[name], 3 * step, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", ["adam", "muon"])
def test_one_that_was_restored_goes_on_alike(method) -> None:
    whole, halves = network(), network()
    learn(whole, optimiser_of(whole, method), 6)

    first = optimiser_of(halves, method)
    learn(halves, first, 3)
    state = {name: value.clone() for name, value in first.state_dict().items()}
    second = optimiser_of(halves, method)
    second.load_state_dict({**state, "network.0.weight": torch.zeros(1)})
    for step in range(3, 6):
        noise = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(step))
        second.zero_grad()
        (halves(noise) - 1).square().mean().backward()
        second.step()
    for mine, theirs in zip(halves.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, theirs)


class TestLbfgs:
    """Minimises the Rosenbrock-like sum over the pixels of an image."""

    def image(self) -> nn.Parameter:
        torch.manual_seed(7)
        return nn.Parameter(torch.rand(1, 1, 33, 31))  # rows begin anywhere in memory

    def learn(self, image: nn.Parameter, optimiser: Optimiser, steps: int) -> list[float]:
        losses = []
        for _ in range(steps):
            x = image
            loss = (10 * (x[..., 1:] - x[..., :-1].square()).square()).sum() + (
                1 - x
            ).square().sum()
            optimiser.zero_grad()
            loss.backward()
            losses.append(float(loss.detach()))
            optimiser.step(losses[-1])
        return losses

    def optimiser_of(self, image: nn.Parameter, rate: float = 0.7) -> Optimiser:
        made = Optimiser([(image, 1.0)], "lbfgs")
        made.set_rate(rate)
        return made

    def test_it_is_far_faster_than_adam(self) -> None:
        image, other = self.image(), self.image()
        quick = self.learn(image, self.optimiser_of(image), 60)
        adam = Optimiser([(other, 1.0)], "adam")
        adam.set_rate(0.02)
        slow = self.learn(other, adam, 60)
        assert quick[-1] < 0.1 * slow[-1]

    @pytest.mark.parametrize("stop", [0, 1, 2, 9, 30])
    def test_restored_at_any_step_it_goes_on_to_the_last_bit(self, stop: int) -> None:
        whole, halves = self.image(), self.image()
        expected = self.learn(whole, self.optimiser_of(whole), 40)
        first = self.optimiser_of(halves)
        losses = self.learn(halves, first, stop)
        # As a checkpoint gives them back: contiguous, and each anywhere in memory.
        kept = {
            name: torch.cat([torch.zeros(1, dtype=v.dtype), v.flatten()])[1:].view(v.shape)
            for name, v in first.state_dict().items()
        }
        second = self.optimiser_of(halves)
        second.load_state_dict(kept)
        losses += self.learn(halves, second, 40 - stop)
        assert losses == expected
        assert torch.equal(halves, whole)

    def test_a_gradient_in_another_layout_is_taken(self) -> None:
        image = nn.Parameter(torch.rand(1, 3, 4, 5))
        image.grad = torch.rand(1, 3, 4, 5).contiguous(memory_format=torch.channels_last)
        before = image.detach().clone()
        self.optimiser_of(image).step(1.0)
        assert not torch.equal(image, before)


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
    other.load_state_dict(settled.state_dict())
    assert norm_after(other, 500.0) == norm_after(settled, 500.0)


def network_of(value: float) -> nn.Module:
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    for parameter in network.parameters():
        nn.init.constant_(parameter, value)
    return network


def averaged_after(values: list[float], decay: float) -> AveragedWeights:
    network = network_of(100.0)  # where it starts must not matter
    average = AveragedWeights(network, decay)
    for value in values:
        with torch.no_grad():
            network[0].weight.fill_(value)
        average.update()
    return average


def test_with_enough_steps_each_counts_by_the_decay() -> None:
    average = averaged_after([2.0] * 200 + [4.0, 4.0], decay=0.5)
    assert float(average.network[0].weight) == pytest.approx(2 + 2 * (1 - 0.5**2))


def test_early_on_the_start_is_forgotten() -> None:
    # Decays 0 and 1/11: 3, then 3 · 1/11 + 14 · 10/11.
    assert float(averaged_after([3.0], 0.999).network[0].weight) == 3
    assert float(averaged_after([3.0, 14.0], 0.999).network[0].weight) == pytest.approx(13)


def test_the_network_that_learns_is_left_alone() -> None:
    network = network_of(1.0)
    average = AveragedWeights(network, 0.9)
    average.update()
    average.network[0].weight.fill_(7.0)
    assert network[0].weight.tolist() == [[1]]
    assert not any(parameter.requires_grad for parameter in average.network.parameters())


def test_counts_are_taken_over_as_they_are() -> None:
    network = network_of(1.0)
    average = AveragedWeights(network, 0.9)
    network(torch.randn(4, 1))
    average.update()
    average.update()
    assert int(average.network[1].num_batches_tracked) == 1


def test_a_restored_average_goes_on_alike() -> None:
    average = averaged_after([1.0, 5.0, 2.0], 0.9)
    network = network_of(6.0)
    other = AveragedWeights(network, 0.9)
    other.load_state_dict(average.state_dict())
    other.update()
    expected = averaged_after([1.0, 5.0, 2.0, 6.0], 0.9).network[0].weight
    torch.testing.assert_close(other.network[0].weight, expected)
