import numpy as np
import pytest

from nstc.core.errors import ImageError, UnusableModelError
from nstc.core.images import Pixels
from nstc.runtime.arrays import (
    ChannelHistogram,
    channel_statistics,
    checked,
    is_one_colour,
    refuse_one_colour,
    replicate_edges,
    to_unit_nchw,
    unit_to_pixels,
)


def test_a_picture_becomes_planes_from_0_to_1() -> None:
    rgb = np.array([[[0, 51, 255], [102, 0, 0]]], dtype=np.uint8)
    unit = to_unit_nchw(rgb)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, [[[[0, 0.4]], [[0.2, 0]], [[1, 0]]]], atol=1e-7)


def test_floats_are_clipped_and_rounded_not_cut_off() -> None:
    unit = np.array([[[-0.5, 1.5, 0.998]]])  # 0.998 * 255 = 254.49, 0.9985 * 255 = 254.6
    assert unit_to_pixels(unit, "x").tolist() == [[[0, 255, 254]]]
    assert unit_to_pixels(np.full((1, 1, 3), 0.9985), "x").tolist() == [[[255, 255, 255]]]


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


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_no_picture(bad: float) -> None:
    unit = np.full((4, 5, 3), 0.5, np.float32)
    unit[1, 2] = bad
    with pytest.raises(UnusableModelError, match=r"net\.onnx gives no picture: 3 of its 60 output"):
        unit_to_pixels(unit, "net.onnx")


def test_large_values_are_finite_though_their_sum_is_not() -> None:
    unit = np.full((40, 50, 3), 3e38, np.float32)
    assert unit_to_pixels(unit, "net.onnx").min() == 255


def test_one_colour_is_told_from_one_pixel_that_differs() -> None:
    picture = np.full((64, 80, 3), (1, 2, 3), np.uint8)
    assert is_one_colour(picture)
    with pytest.raises(UnusableModelError, match=r"every pixel is \(1, 2, 3\)"):
        refuse_one_colour(picture, "net.onnx")
    picture[37, 41, 2] = 4
    assert not is_one_colour(picture)


@pytest.mark.parametrize("shape", [(2, 1, 3), (1, 2, 3)])
def test_a_single_pixel_may_have_one_colour_and_no_larger_picture(shape: tuple[int, ...]) -> None:
    refuse_one_colour(np.zeros((1, 1, 3), np.uint8), "net.onnx")
    with pytest.raises(UnusableModelError, match=r"every pixel is \(0, 0, 0\)"):
        refuse_one_colour(np.zeros(shape, np.uint8), "net.onnx")


def test_a_hand_worked_picture() -> None:
    rgb = np.array([[[0, 255, 51], [255, 255, 51]]], np.uint8)
    expected = [[0.5, 1, 0.2], [0.5, 0, 0]]
    assert channel_statistics(rgb) == pytest.approx(np.array(expected))
    assert channel_statistics(rgb).dtype == np.float32


def test_rows_a_few_at_a_time_give_the_very_same(pixels: Pixels) -> None:
    histogram = ChannelHistogram()
    for start in range(0, len(pixels), 5):
        histogram.add(pixels[start : start + 5])
    assert np.array_equal(histogram.statistics(), channel_statistics(pixels))


def test_they_are_those_of_the_definition(pixels: Pixels) -> None:
    values = pixels.astype(np.float64) / 255
    mean, deviation = channel_statistics(np.repeat(pixels, 4, axis=0))
    assert mean == pytest.approx(values.mean(axis=(0, 1)))
    assert deviation == pytest.approx(values.std(axis=(0, 1)))
