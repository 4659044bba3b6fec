"""How much a teacher's pictures flicker: asked once, kept, never taken from a damaged file."""

from collections.abc import Callable

import numpy as np
import pytest

from nstc.benchmarks.quality.picture_metrics import flicker
from nstc.compress.distillation.teacher_outputs import TeacherFlicker, TeacherOutputs
from nstc.core.errors import CorruptBundleError
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet


def bands(rgb: Pixels) -> Pixels:
    """Another picture at every change of a level."""
    return (rgb % 2 * 200).astype(np.uint8)


def made(pairs: TeacherOutputs) -> TeacherFlicker:
    known = TeacherFlicker(pairs)
    for index in known.missing():
        known.make(index)
    return known


def test_each_picture_has_its_own(
    photos: PhotoSet, crops_by: Callable[..., TeacherOutputs]
) -> None:
    pairs = crops_by(bands, photos)
    known = made(pairs)
    assert len(known) == len(pairs)
    assert known.missing() == []
    assert [known[i] for i in range(2)] == [flicker(bands, *pairs[i]) for i in range(2)]
    assert known[0] != known[1]


def test_one_that_never_changes_is_nothing_to_divide_by(
    photos: PhotoSet, crops_by: Callable[..., TeacherOutputs]
) -> None:
    assert made(crops_by(np.zeros_like, photos))[0] == 0.002


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[1]", b'"much"', b"\xff"])
def test_a_damaged_file_is_named(
    photos: PhotoSet, crops_by: Callable[..., TeacherOutputs], content: bytes
) -> None:
    pairs = crops_by(bands, photos)
    known = made(pairs)
    file = pairs.file(0, ".flicker.json")
    file.write_bytes(content)
    with pytest.raises(CorruptBundleError, match="delete it and run again") as caught:
        known[0]
    assert str(file) in str(caught.value)
