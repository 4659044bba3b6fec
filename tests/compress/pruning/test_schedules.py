"""What widths cost, those for a share of the channels, and searches with the test's own clocks."""

import dataclasses
from collections.abc import Mapping

import pytest
import torch
from torch import nn

from nstc.compress.pruning.channels import (
    ChannelGroup,
    Widths,
    channel_groups,
    least_scored,
    remove_channels,
)
from nstc.compress.pruning.schedules import (
    between,
    by_score,
    by_sensitivity,
    fastest_multiple,
    full_widths,
    share_within,
    uniform,
    widest_in_time,
    widest_within,
    width_costs,
)
from nstc.core.errors import OptionError
from nstc.models.architectures import count_macs
from nstc.models.student import Student
from nstc.models.transformer import TransformerNet

NETWORKS = [
    lambda: Student(16, [16, 24]),
    lambda: Student(16, [16], "plain", norm="instance"),
    lambda: Student(16, [32], head="separable", scale=8),
    lambda: TransformerNet((16, 24, 32), (16, 40), (16, 8)),
]


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("size", [64, 512])
def test_they_are_those_of_the_network_once_it_is_narrow(make, size: int) -> None:
    network: nn.Module = make()
    groups = channel_groups(network)
    macs = width_costs(network, groups, size)
    assert macs(full_widths(groups)) == count_macs(network, size)
    widths = {g.name: g.width - 1 - place for place, g in enumerate(groups)}
    remove_channels(network, {g.name: torch.arange(g.width - widths[g.name]) for g in groups})
    assert macs(widths) == count_macs(network, size)


def test_half_of_a_group_takes_what_it_is_part_of() -> None:
    network = Student(16, [8])
    groups = channel_groups(network)
    macs = width_costs(network, groups, 64)
    positions = 16 * 16  # of a quarter of 64
    inside = positions * (16 * 8 + 9 * 8 + 8 * 16)
    full, name = full_widths(groups), "blocks.0.expand.1"
    assert macs(full) - macs({**full, name: full[name] / 2}) == inside // 2


def group(name: str, width: int) -> ChannelGroup:
    return ChannelGroup(name=name, width=width, writes=(), depthwise=(), norms=(), reads=())


PAIR = (group("a", 32), group("b", 64))
ALIKE = (group("a", 64), group("b", 64))


def test_uniform_takes_the_same_share_of_each_and_rounds_down() -> None:
    assert uniform(PAIR, 8)(0.25) == {"a": 24, "b": 48}
    assert uniform(PAIR, 8)(0.3) == {"a": 16, "b": 40}
    assert uniform(PAIR, 1)(0.3) == {"a": 22, "b": 44}
    assert uniform(PAIR, 8)(0.0) == full_widths(PAIR)


@pytest.mark.parametrize("share", [0.9, 0.95, 0.999])
def test_no_group_is_emptied(share: float) -> None:
    scores = {"a": torch.ones(32), "b": torch.ones(64)}
    damage = {"a": 1.0, "b": 1.0}
    for schedule in (
        uniform(PAIR, 8),
        by_score(PAIR, scores, 8),
        by_sensitivity(PAIR, damage, damage, 8),
    ):
        assert min(schedule(share).values()) >= 8


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
    for schedule in (
        uniform(PAIR, 4),
        by_score(PAIR, scores, 4),
        by_sensitivity(PAIR, {"a": 0.3, "b": 0.1}, {"a": 1.0, "b": 2.0}, 4),
    ):
        totals = [sum(schedule(share / 20).values()) for share in range(20)]
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


def reach(goal_ms: float, measure, recorder) -> tuple[Widths, float]:
    return widest_in_time(
        uniform(ALIKE, 8), ALIKE, measure, goal_ms, round_to=8, progress=recorder()
    )


def in_blocks_of(block: int):
    """A clock of kernels that work on whole blocks of channels of `a`, and of 1 of `b`."""

    def measure(widths: Mapping[str, int]) -> float:
        return -(-widths["a"] // block) * block / 8 + widths["b"] / 8

    return measure


def test_the_least_is_removed_that_fits() -> None:
    found = share_within(uniform(ALIKE, 8), lambda widths: widths["a"], 40)
    assert found is not None
    assert uniform(ALIKE, 8)(found) == {"a": 40, "b": 40}
    assert share_within(uniform(ALIKE, 8), lambda _: 1.0, 0.0) is None


def test_of_layers_that_step_down_together_as_many_as_fit_stay_wide() -> None:
    groups = (*ALIKE, dataclasses.replace(ALIKE[0], name="narrow", width=16))

    def costs(widths: Mapping[str, int]) -> int:
        return sum(widths.values())

    schedule = uniform(groups, 8)
    share = share_within(schedule, costs, 64)
    assert share is not None
    assert costs(schedule(share)) == 56
    widths = widest_within(schedule, share, costs, 64)
    assert costs(widths) == 64
    assert widths["narrow"] == 8


def test_of_which_a_step_would_take_most_stays_wide_first() -> None:
    def halves(share: float) -> Mapping[str, int]:
        return {"half": 32, "quarter": 12} if share >= 0.5 else {"half": 64, "quarter": 16}

    def costs(widths: Mapping[str, int]) -> int:
        return sum(widths.values())

    assert widest_within(halves, 0.5, costs, 76) == {"half": 64, "quarter": 12}
    assert widest_within(halves, 0.5, costs, 75) == {"half": 32, "quarter": 16}


def test_widths_that_do_not_help_the_clock_are_not_taken(recorder) -> None:
    widths, ms = reach(9.0, in_blocks_of(32), recorder)
    assert ms <= 9.0
    assert widths["a"] == 32  # 24 takes as long
    assert in_blocks_of(32)(widths) == ms


def test_where_every_width_helps_what_fits_is_kept(recorder) -> None:
    assert reach(10.0, in_blocks_of(8), recorder)[0] == {"a": 40, "b": 40}


def test_a_network_that_is_fast_enough_stays_whole(recorder) -> None:
    assert reach(16.0, in_blocks_of(8), recorder)[0] == {"a": 64, "b": 64}


def test_a_time_out_of_reach_names_the_nearest(recorder) -> None:
    with pytest.raises(OptionError, match=r"1\.5 ms can't be reached.* nearest reached is 2 ms"):
        reach(1.5, in_blocks_of(8), recorder)


def test_no_widths_are_timed_twice(recorder) -> None:
    seen = []

    def measure(widths: Mapping[str, int]) -> float:
        seen.append(tuple(widths.values()))
        return in_blocks_of(16)(widths)

    reach(9.0, measure, recorder)
    assert len(seen) == len(set(seen))


def test_the_multiple_with_the_least_time_for_its_work_is_taken() -> None:
    costs = {4: 3.0, 8: 2.0, 16: 1.999, 32: None}
    assert fastest_multiple((4, 8, 16, 32), costs.get) == 8  # what 16 saves is noise
    assert fastest_multiple((4, 8, 16, 32), {4: 3.0, 16: 1.0}.get) == 16
