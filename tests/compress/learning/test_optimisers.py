import pytest
import torch
from torch import Tensor, nn

from nstc.compress.learning.optimisers import Optimiser


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, groups=1),
        nn.Conv2d(4, 4, 3, padding=1, groups=4),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 2, 1),
    ).train()


def optimiser_of(net: nn.Module, method: str, scale: float = 1.0) -> Optimiser:
    made = Optimiser([{"params": list(net.parameters()), "scale": scale}], method)
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
    state = {name: value.clone() for name, value in first.state().items()}
    second = optimiser_of(halves, method)
    second.restore({**state, "network.0.weight": torch.zeros(1)})
    for step in range(3, 6):
        noise = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(step))
        second.zero_grad()
        (halves(noise) - 1).square().mean().backward()
        second.step()
    for mine, theirs in zip(halves.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, theirs)
