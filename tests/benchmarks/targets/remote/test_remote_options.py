import numpy as np
import pytest

from nstc.benchmarks.targets.remote.remote_target import parse_options, refuse_other_picture
from nstc.core.errors import OptionError, TargetError

KNOWN = ("threads", "python")


def test_options_by_name():
    assert parse_options("t", "", KNOWN) == {}
    assert parse_options("t", "threads=2&python=/opt/v-1.2_x/bin/python3.11", KNOWN) == {
        "threads": "2",
        "python": "/opt/v-1.2_x/bin/python3.11",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed=2", r"no option 'speed'; it takes threads, python"),
        ("threads=2&threads=3", "once each"),
        ("threads", "threads is '': expected a number"),
        ("threads=two", "expected a number"),
        ("threads=²", "expected a number"),
        ("threads=0", "from 1 to"),
        ("threads=9999", "from 1 to"),
        ("python=", "expected a path"),
        ("python=a b", "expected a path"),
        ("python=/x;reboot", "expected a path"),
        ("python=$(reboot)", "expected a path"),
        ("python=`reboot`", "expected a path"),
        ("python=/x\nreboot", "expected a path"),
        ("python=/x\n", "expected a path"),
        ("python=-c", "expected a path"),
        ("python=/x'y", "expected a path"),
        ("&", "no option ''"),
    ],
)
def test_all_else_is_refused(text, message):
    with pytest.raises(OptionError, match=message):
        parse_options("ssh://board", text, KNOWN)


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(20, 230, (32, 32, 3), dtype=np.uint8)


def refuse(far, here):
    refuse_other_picture("ssh://board", "model.int8.onnx", far, here)


def test_equal_pictures_and_roundings_pass(picture):
    refuse(picture, picture)
    refuse(picture + np.uint8(2), picture)  # every value, by more than rounding does


def test_another_brightness_another_order_of_channels_and_one_wrong_tile_fail(picture):
    tile = picture.copy()
    tile[8:16, 8:16] = 0
    for other in (picture + np.uint8(3), picture[..., ::-1], tile, np.zeros_like(picture)):
        with pytest.raises(
            TargetError, match=r"ssh://board: model.int8.onnx gives another picture"
        ):
            refuse(other, picture)


def test_the_distance_in_the_message_is_the_root_mean_square(picture):
    half = picture.copy()
    half[:16] += np.uint8(10)  # 10 / sqrt(2)
    with pytest.raises(TargetError, match=r"7\.1 of 255 levels away"):
        refuse(half, picture)
