import numpy as np
import pytest

from nstc.benchmarks.remote.pictures import refuse_other_picture
from nstc.core.errors import TargetError


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
            TargetError, match=r"ssh://board: model.int8.onnx makes another picture"
        ):
            refuse(other, picture)


def test_the_distance_in_the_message_is_the_root_mean_square(picture):
    half = picture.copy()
    half[:16] += np.uint8(10)  # 10 / sqrt(2)
    with pytest.raises(TargetError, match=r"7\.1 of 255 levels away"):
        refuse(half, picture)
