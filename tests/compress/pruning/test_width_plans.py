"""Widths for a share of the channels, worked out by hand."""

import pytest
import torch

from nstc.compress.pruning.channel_groups import ChannelGroup
from nstc.compress.pruning.width_plans import (
    between,
    by_score,
    by_sensitivity,
    full_widths,
    least_scored,
    uniform,
)


def group(name: str, width: int) -> ChannelGroup:
    return ChannelGroup(name=name, width=width, writes=(), depthwise=(), norms=(), reads=())


PAIR = (group("a", 32), group("b", 64))


def test_uniform_takes_the_same_share_of_each_and_rounds_down() -> None:
    assert uniform(PAIR, 8)(0.25) == {"a": 24, "b": 48}
    assert uniform(PAIR, 8)(0.3) == {"a": 16, "b": 40}
    assert uniform(PAIR, 1)(0.3) == {"a": 22, "b": 44}
    assert uniform(PAIR, 8)(0.0) == full_widths(PAIR)


@pytest.mark.parametrize("share", [0.9, 0.95, 0.999])
def test_no_group_is_emptied(share: float) -> None:
    scores = {"a": torch.ones(32), "b": torch.ones(64)}
    damage = {"a": 1.0, "b": 1.0}
    for ladder in (
        uniform(PAIR, 8),
        by_score(PAIR, scores, 8),
        by_sensitivity(PAIR, damage, damage, 8),
    ):
        assert min(ladder(share).values()) >= 8


def test_by_score_takes_the_least_of_the_whole_network() -> None:
    a = torch.ones(32)
    b = torch.cat([torch.full((32,), 0.1), torch.full((32,), 1.9)])
    widths = by_score(PAIR, {"a": a, "b": b}, 4)(1 / 3)
    assert widths == {"a": 32, "b": 32}


def test_by_score_compares_each_with_its_own_group() -> None:
    """Small weights all over a layer do not make it the one to lose."""
    a = torch.arange(1.0, 33)
    b = torch.arange(1.0, 65)
    assert by_score(PAIR, {"a": a * 1e-6, "b": b}, 8)(0.5) == {"a": 16, "b": 32}


def test_by_sensitivity_spares_what_is_missed_most() -> None:
    widths = by_sensitivity(PAIR, {"a": 1.0, "b": 4.0}, {"a": 1.0, "b": 1.0}, 1)(0.25)
    assert 32 - widths["a"] + 64 - widths["b"] == pytest.approx(24, abs=1)
    assert (32 - widths["a"]) / 32 == pytest.approx(4 * (64 - widths["b"]) / 64, rel=0.15)


def test_by_sensitivity_takes_more_where_there_is_more_work() -> None:
    even = {"a": 1.0, "b": 1.0}
    widths = by_sensitivity(PAIR, even, {"a": 3.0, "b": 1.0}, 1)(0.25)
    assert (32 - widths["a"]) / 32 == pytest.approx(3 * (64 - widths["b"]) / 64, rel=0.15)


def test_by_sensitivity_without_any_damage_takes_all_alike() -> None:
    nothing = {"a": 0.0, "b": 0.0}
    assert by_sensitivity(PAIR, nothing, {"a": 1.0, "b": 1.0}, 8)(0.5) == {"a": 16, "b": 32}


def test_a_larger_share_never_leaves_more() -> None:
    torch.manual_seed(0)
    scores = {"a": torch.rand(32), "b": torch.rand(64)}
    for ladder in (
        uniform(PAIR, 4),
        by_score(PAIR, scores, 4),
        by_sensitivity(PAIR, {"a": 0.3, "b": 0.1}, {"a": 1.0, "b": 2.0}, 4),
    ):
        totals = [sum(ladder(share / 20).values()) for share in range(20)]
        assert totals == sorted(totals, reverse=True)
        assert totals[0] == 96


def test_between_shrinks_by_the_same_factor_in_each_part() -> None:
    first, last = {"a": 64, "b": 32}, {"a": 16, "b": 32}
    assert between(first, last, 0.5, 1) == {"a": 32, "b": 32}
    assert between(first, last, 0.5, 24) == {"a": 24, "b": 32}
    assert between(first, last, 1, 1) == last


def test_the_channels_of_least_score_go() -> None:
    scores = {"a": torch.tensor([3.0, 1.0, 2.0, 4.0])}
    assert sorted(least_scored(scores, {"a": 2})["a"].tolist()) == [1, 2]
    assert least_scored(scores, {"a": 4})["a"].tolist() == []
