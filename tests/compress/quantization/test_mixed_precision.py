"""Layers left in float for a quality: by a judge whose answers can be added up."""

import pytest

from nstc.compress.quantization.static_ranges import islands_for
from nstc.core.errors import ExportMismatchError
from nstc.core.progress import Silent

GAINS_DB = {"a": 1.0, "b": 4.0, "c": 2.0}
BYTES = {"a": 10, "b": 300, "c": 20}


def judge(left: tuple[str, ...]) -> float:
    return 30 + sum(GAINS_DB[name] for name in left)


def weigh(left: tuple[str, ...]) -> int:
    return 1000 + sum(BYTES[name] for name in left)


def test_no_layer_stays_float_where_integers_are_good_enough() -> None:
    assert islands_for(30, list(GAINS_DB), judge, weigh, Silent()) == ()


def test_the_layer_that_helps_most_goes_first_and_no_more_than_needed_follow() -> None:
    first, second = islands_for(35.5, list(GAINS_DB), judge, weigh, Silent())
    assert (first.name, first.psnr_db, first.gain_db, first.more_bytes) == ("b", 34, 4, 300)
    assert (second.name, second.psnr_db, second.gain_db, second.more_bytes) == ("c", 36, 2, 20)
    assert first.describe() == "b stays float: +4.0 dB to 34.0 dB, +0.3 KB"


def test_layers_are_judged_beside_those_already_chosen() -> None:
    """Alone b is best, behind it c is: a is only worth something without b."""
    pairs = {("b", "a"): 34.0, ("b", "c"): 36.0}
    alone = {"a": 33.0, "b": 34.0, "c": 30.5}

    def together(left: tuple[str, ...]) -> float:
        return {0: 30.0, 1: alone.get(left[0], 0.0) if left else 30.0}.get(
            len(left), pairs.get(left, 40.0)
        )

    chosen = islands_for(35, list(GAINS_DB), together, weigh, Silent())
    assert [island.name for island in chosen] == ["b", "c"]


def test_a_quality_that_can_not_be_reached_is_told_with_the_nearest() -> None:
    with pytest.raises(ExportMismatchError, match=r"37\.0 dB: ask for less"):
        islands_for(40, list(GAINS_DB), judge, weigh, Silent())
