import pytest
import torch
from torch import nn

from nstc.compress.learning.optimisers import AveragedWeights


def network_of(value: float) -> nn.Module:
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))
    for parameter in network.parameters():
        nn.init.constant_(parameter, value)
    return network


def after(values: list[float], decay: float) -> AveragedWeights:
    network = network_of(100.0)  # where it starts must not matter
    average = AveragedWeights(network, decay)
    for value in values:
        with torch.no_grad():
            network[0].weight.fill_(value)
        average.update()
    return average


def test_with_enough_steps_each_counts_by_the_decay() -> None:
    average = after([2.0] * 200 + [4.0, 4.0], decay=0.5)
    assert float(average.network[0].weight) == pytest.approx(2 + 2 * (1 - 0.5**2))


def test_early_on_the_start_is_forgotten() -> None:
    # Decays 0 and 1/11: 3, then 3 · 1/11 + 14 · 10/11.
    assert float(after([3.0], 0.999).network[0].weight) == 3
    assert float(after([3.0, 14.0], 0.999).network[0].weight) == pytest.approx(13)


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


def test_one_that_was_restored_goes_on_alike() -> None:
    average = after([1.0, 5.0, 2.0], 0.9)
    network = network_of(6.0)
    other = AveragedWeights(network, 0.9)
    other.restore(average.state())
    other.update()
    expected = after([1.0, 5.0, 2.0, 6.0], 0.9).network[0].weight
    torch.testing.assert_close(other.network[0].weight, expected)
