import numpy as np
import pytest

from nstc.core.errors import ImageError
from nstc.runtime.arrays import checked, replicate_edges, to_unit_nchw, unit_to_pixels


def test_a_picture_becomes_planes_from_0_to_1() -> None:
    rgb = np.array([[[0, 51, 255], [102, 0, 0]]], dtype=np.uint8)
    unit = to_unit_nchw(rgb)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, [[[[0, 0.4]], [[0.2, 0]], [[1, 0]]]], atol=1e-7)


def test_floats_are_clipped_and_rounded_not_cut_off() -> None:
    unit = np.array([[[-0.5, 1.5, 0.998]]])  # 0.998 * 255 = 254.49, 0.9985 * 255 = 254.6
    assert unit_to_pixels(unit).tolist() == [[[0, 255, 254]]]
    assert unit_to_pixels(np.full((1, 1, 3), 0.9985)).tolist() == [[[255, 255, 255]]]


def test_edges_are_repeated_downwards_and_to_the_right() -> None:
    rgb = np.array([[[1, 1, 1], [2, 2, 2]]], dtype=np.uint8)
    assert replicate_edges(rgb, 2, 4)[:, :, 0].tolist() == [[1, 2, 2, 2], [1, 2, 2, 2]]


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        [[[0, 0, 0]]],
    ],
)
def test_what_is_no_picture_is_refused(wrong) -> None:
    with pytest.raises(ImageError, match=r"\(H, W, 3\) uint8"):
        checked(wrong)
