"""What is told of a file beside its network, on errors that are worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest

from nstc.compress.export.checking import CHECKED_SIZES, check_quantized
from nstc.core.errors import ExportMismatchError


def file_off_by(**levels: int) -> SimpleNamespace:
    """An opened file that paints photographs, of which so many levels at each size are missing.

    Those are named by the height, h67=4; at other sizes nothing is.
    """

    def run(photo: np.ndarray) -> np.ndarray:
        return exact(photo) - np.uint8(levels.get(f"h{len(photo)}", 0))

    return SimpleNamespace(run=run)


def exact(photo: np.ndarray) -> np.ndarray:
    """A network that keeps enough brightness for levels to be missing."""
    return np.maximum(photo, 30)


@pytest.mark.parametrize(
    ("levels", "psnr_db"),
    [  # 20 log10(255 / levels) of the size that is furthest off
        ({"h128": 4, "h67": 2}, 36.0897),
        ({"h128": 1, "h67": 4}, 36.0897),
        ({"h128": 1, "h67": 1}, 48.1308),
        ({"h128": 1}, 48.1308),
        ({}, float("inf")),
    ],
)
def test_the_lowest_psnr_of_all_sizes_is_told(levels, psnr_db) -> None:
    assert {height for height, _ in CHECKED_SIZES} == {128, 67}
    found = check_quantized(file_off_by(**levels), "int8.onnx", exact)
    assert found == pytest.approx(psnr_db, abs=1e-3)


def test_an_error_at_one_size_is_enough_to_refuse() -> None:
    with pytest.raises(ExportMismatchError, match=r"at 67x93: 22\.1 dB"):
        check_quantized(file_off_by(h67=20), "int8.onnx", exact)
