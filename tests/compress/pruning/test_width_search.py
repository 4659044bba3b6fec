"""Searches, with clocks whose hands the test moves."""

import dataclasses
from collections.abc import Mapping

import pytest

from nstc.compress.pruning.channel_groups import ChannelGroup
from nstc.compress.pruning.width_plans import (
    LatencySearch,
    fastest_multiple,
    share_within,
    uniform,
    widest_within,
)
from nstc.core.errors import OptionError

PAIR = tuple(
    ChannelGroup(name=name, width=64, writes=(), depthwise=(), norms=(), reads=())
    for name in ("a", "b")
)


def search(measure, recorder, round_to: int = 8) -> LatencySearch:
    return LatencySearch(uniform(PAIR, round_to), PAIR, measure, round_to, recorder())


def in_blocks_of(block: int):
    """A clock of kernels that work on whole blocks of channels of `a`, and of 1 of `b`."""

    def measure(widths: Mapping[str, int]) -> float:
        return -(-widths["a"] // block) * block / 8 + widths["b"] / 8

    return measure


def test_the_least_is_removed_that_fits() -> None:
    found = share_within(uniform(PAIR, 8), lambda widths: widths["a"] <= 40)
    assert found is not None
    assert uniform(PAIR, 8)(found) == {"a": 40, "b": 40}
    assert share_within(uniform(PAIR, 8), lambda _: False) is None


def test_of_layers_that_step_down_together_as_many_as_fit_stay_wide() -> None:
    groups = (*PAIR, dataclasses.replace(PAIR[0], name="narrow", width=16))

    def costs(widths: Mapping[str, int]) -> int:
        return sum(widths.values())

    ladder = uniform(groups, 8)
    share = share_within(ladder, lambda widths: costs(widths) <= 64)
    assert share is not None
    assert costs(ladder(share)) == 56
    widths = widest_within(ladder, share, costs, 64)
    assert costs(widths) == 64
    assert widths["narrow"] == 8


def test_widths_that_do_not_help_the_clock_are_not_taken(recorder) -> None:
    found = search(in_blocks_of(32), recorder).reach(9.0)
    assert found.ms <= 9.0
    assert found.widths["a"] == 32  # 24 takes as long
    assert in_blocks_of(32)(found.widths) == found.ms


def test_where_every_width_helps_what_fits_is_kept(recorder) -> None:
    assert search(in_blocks_of(8), recorder).reach(10.0).widths == {"a": 40, "b": 40}


def test_a_network_that_is_fast_enough_stays_whole(recorder) -> None:
    assert search(in_blocks_of(8), recorder).reach(16.0).widths == {"a": 64, "b": 64}


def test_a_time_out_of_reach_names_the_nearest(recorder) -> None:
    with pytest.raises(OptionError, match=r"1\.5 ms can't be reached.* nearest reached is 2 ms"):
        search(in_blocks_of(8), recorder).reach(1.5)


def test_no_widths_are_timed_twice(recorder) -> None:
    seen = []

    def measure(widths: Mapping[str, int]) -> float:
        seen.append(tuple(widths.values()))
        return in_blocks_of(16)(widths)

    search(measure, recorder).reach(9.0)
    assert len(seen) == len(set(seen))


def test_the_multiple_with_the_least_time_for_its_work_is_taken() -> None:
    costs = {4: 3.0, 8: 2.0, 16: 1.999, 32: None}
    assert fastest_multiple((4, 8, 16, 32), costs.get) == 8  # what 16 saves is noise
    assert fastest_multiple((4, 8, 16, 32), {4: 3.0, 16: 1.0}.get) == 16
