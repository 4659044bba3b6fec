"""What a picture is said to take, by sums worked out by hand, and what a run was seen to take."""

import subprocess
import sys

import numpy as np
import pytest

from nstc.core.errors import OptionError
from nstc.core.images import Pixels
from nstc.runtime import memory
from nstc.runtime.control import blending_bytes
from nstc.runtime.memory import (
    MARGIN,
    SLACK_BYTES,
    PictureCost,
    Work,
    in_mb,
    measured_work,
)
from nstc.runtime.resident import give_back_large_blocks
from nstc.runtime.tiling import Tiling, spans

WORK = Work(held_bytes=1_000_000, bytes_per_pixel=100)
ONE = Tiling(spans(100, 100, 0), spans(200, 200, 0))


def test_a_picture_in_one_piece() -> None:
    cost = PictureCost(decoding=0, painting=60_000, encoding=0)
    run = 100 * 200 * 100 * MARGIN
    assert WORK.peak_bytes(ONE, cost) == int(1_000_000 + 60_000 + run + SLACK_BYTES)


@pytest.mark.parametrize("moment", ["decoding", "encoding"])
def test_decoding_and_encoding_can_be_the_most(moment: str) -> None:
    cost = PictureCost(**{"decoding": 0, "painting": 60_000, "encoding": 0, moment: 5_000_000})
    assert WORK.peak_bytes(ONE, cost) == 6_000_000 + SLACK_BYTES


@pytest.mark.parametrize(("height", "width"), [(16, 2000), (1000, 2000)])
def test_a_mix_is_the_most_where_the_network_takes_less(height: int, width: int) -> None:
    work = Work(held_bytes=0, bytes_per_pixel=1)
    tiling = Tiling(spans(height, height, 0), spans(width, width, 0))
    cost = PictureCost(decoding=0, painting=0, encoding=0)
    mixing = blending_bytes(height, width)
    assert work.peak_bytes(tiling, cost, blends=True) == mixing + SLACK_BYTES
    assert work.peak_bytes(tiling, cost) < mixing + SLACK_BYTES


def test_bands_are_held_as_well_as_tiles() -> None:
    tiling = Tiling(spans(100, 40, 8), spans(200, 40, 8))
    # the window of 56 rows, the painted 40, and 16 that are kept; the largest tile is 56 x 56
    bands = (56 + 40 + 16) * 200 * 3
    run = 56 * 56 * 100 * MARGIN
    cost = PictureCost(decoding=0, painting=60_000, encoding=0)
    assert WORK.peak_bytes(tiling, cost) == int(1_000_000 + 60_000 + bands + run + SLACK_BYTES)


def test_what_a_run_takes_is_seen_from_its_peak() -> None:
    # in a process of its own: this one may have freed memory that a run would take again
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True)
    # 3 bytes of the picture, 100 of work, 3 of the result
    assert 95 < float(done.stdout) < 125


def test_a_system_that_does_not_tell_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "tells_peak_memory", lambda: False)
    with pytest.raises(OptionError, match="--max-ram needs to know"):
        measured_work(lambda rgb: rgb)


def test_megabytes_are_rounded_up_so_that_they_are_enough() -> None:
    assert [in_mb(size) for size in (1_000_000, 1_000_001)] == ["1 MB", "2 MB"]


def _paint(rgb: Pixels) -> Pixels:
    work = np.ones((*rgb.shape[:2], 100), np.uint8)
    return rgb + work[:, :, :3]


if __name__ == "__main__":
    give_back_large_blocks()
    sys.stdout.write(str(measured_work(_paint).bytes_per_pixel))
