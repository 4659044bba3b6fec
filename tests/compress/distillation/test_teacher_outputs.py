"""Pairs of a crop and the teacher's picture of it: made once, never mixed, never half."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nstc.compress.distillation.teacher_outputs import CentreSquares, RandomCrops, TeacherOutputs
from nstc.core.errors import CorruptBundleError, ImageError, OutputError
from nstc.core.files.cache import cache_folder
from nstc.core.images import Picture, Pixels, write_picture
from nstc.core.photos import PhotoSet, photos_in


class Negative:
    """A teacher that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, rgb: Pixels) -> Pixels:
        self.asked += 1
        return 255 - rgb


def outputs_of(photos: PhotoSet, teacher: Any = None, **settings: Any) -> TeacherOutputs:
    each, sha256 = settings.pop("each", 1), settings.pop("sha256", "a" * 64)
    cut = settings.pop("cut", None) or RandomCrops(
        **{"size": 32, "jitter": 0.0, "seed": 0, **settings}
    )
    return TeacherOutputs(teacher or Negative(), sha256, photos, cut=cut, each=each)


def made(photos: PhotoSet, teacher: Any = None, **settings: Any) -> TeacherOutputs:
    pairs = outputs_of(photos, teacher, **settings)
    for index in pairs.missing():
        pairs.make(index)
    return pairs


def cached_files() -> list[Path]:
    return sorted(cache_folder("teacher-outputs").rglob("*.npy"))


@pytest.fixture
def photo(photos: PhotoSet) -> PhotoSet:
    return PhotoSet(photos.paths[:1], photos.names)


def test_a_pair_is_a_crop_and_the_teachers_picture_of_it(photos: PhotoSet) -> None:
    pairs = made(photos)
    assert len(pairs) == 2
    for index in range(2):
        crop, picture = pairs[index]
        assert crop.shape == (32, 32, 3)
        assert crop.dtype == np.uint8
        assert crop.std() > 0
        assert np.array_equal(picture, 255 - crop)
    assert not np.array_equal(pairs[0][0], pairs[1][0])


def test_the_teacher_is_asked_once_whatever_runs_come_later(photos: PhotoSet) -> None:
    teacher = Negative()
    first = outputs_of(photos, teacher)
    assert first.missing() == [0, 1]
    first.make(1)
    assert outputs_of(photos, teacher).missing() == [0]
    made(photos, teacher)
    later = made(photos, teacher)
    assert teacher.asked == 2
    assert np.array_equal(later[1], first[1])


@pytest.mark.parametrize(
    "other",
    [
        {"sha256": "b" * 64},
        {"size": 40},
        {"jitter": 0.3},
        {"seed": 1},
        {"cut": CentreSquares(size=32)},
    ],
    ids=str,
)
def test_pictures_of_other_settings_are_never_taken(
    photos: PhotoSet, other: dict[str, Any]
) -> None:
    made(photos)
    assert outputs_of(photos, **other).missing() == [0, 1]


def test_whole_photographs_are_cut_as_the_judge_cuts_them(photos: PhotoSet) -> None:
    pairs = made(photos, cut=CentreSquares(size=48))
    for index, square in enumerate(photos.squares(48)):
        assert np.array_equal(pairs[index][0], square)
        assert np.array_equal(pairs[index][1], 255 - square)


def test_whole_photographs_of_another_size_are_others(photos: PhotoSet) -> None:
    made(photos, cut=CentreSquares(size=48))
    assert outputs_of(photos, cut=CentreSquares(size=48)).missing() == []
    assert outputs_of(photos, cut=CentreSquares(size=56)).missing() == [0, 1]


def test_more_crops_are_added_to_those_that_are_there(photos: PhotoSet) -> None:
    made(photos)
    pairs = outputs_of(photos, each=3)
    assert len(pairs) == 6
    assert pairs.missing() == [2, 3, 4, 5]
    pairs = made(photos, each=3)
    assert not np.array_equal(pairs[0][0], pairs[2][0])


def test_a_photograph_is_known_by_its_content(photos: PhotoSet, tmp_path: Path) -> None:
    made(photos)
    renamed = tmp_path / "holiday" / "renamed.png"
    renamed.parent.mkdir()
    shutil.copyfile(photos.paths[0], renamed)
    assert outputs_of(photos_in([renamed.parent])).missing() == []
    write_picture(renamed, Picture(rgb=np.zeros((50, 60, 3), np.uint8)))
    assert outputs_of(photos_in([renamed.parent])).missing() == [0]


def test_the_same_seed_crops_the_same_places(
    photos: PhotoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(photos, jitter=0.2)[0]
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path / "elsewhere"))
    assert np.array_equal(made(photos, jitter=0.2)[0], first)
    assert not np.array_equal(made(photos, jitter=0.2, seed=1)[0], first)


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def of_another_shape(path: Path) -> None:
    np.save(path, np.zeros((2, 16, 16, 3), np.uint8))


def of_another_type(path: Path) -> None:
    np.save(path, np.zeros((2, 32, 32, 3), np.float32))


class Program:
    """Unpickling it would leave a folder behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize(
    "damage",
    [halved, of_another_shape, of_another_type, lambda path: path.write_bytes(b""), Path.unlink],
    ids=["halved", "shape", "type", "empty", "gone"],
)
def test_a_damaged_pair_is_named_and_made_again_once_it_is_deleted(
    photo: PhotoSet, damage: Callable[[Path], Any]
) -> None:
    pairs = made(photo)
    whole = pairs[0]
    (file,) = cached_files()
    damage(file)
    with pytest.raises(CorruptBundleError, match="delete it and run again") as caught:
        pairs[0]
    assert str(file) in str(caught.value)
    file.unlink(missing_ok=True)
    assert pairs.missing() == [0]
    pairs.make(0)
    assert np.array_equal(pairs[0], whole)


def test_a_cached_program_is_not_run(photo: PhotoSet, tmp_path: Path) -> None:
    pairs = made(photo)
    (file,) = cached_files()
    trace = tmp_path / "it-ran"
    np.save(file, np.array([Program(trace)], dtype=object), allow_pickle=True)
    with pytest.raises(CorruptBundleError):
        pairs[0]
    assert not trace.exists()


def test_a_teacher_that_fails_leaves_nothing_behind(photo: PhotoSet) -> None:
    def fail(rgb: Pixels) -> Pixels:
        raise MemoryError

    pairs = outputs_of(photo, fail)
    with pytest.raises(MemoryError):
        pairs.make(0)
    assert pairs.missing() == [0]
    assert [path for path in cache_folder("teacher-outputs").rglob("*") if path.is_file()] == []


def test_a_photograph_that_is_none_is_an_image_error(tmp_path: Path) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(b"no picture at all")
    pairs = outputs_of(PhotoSet((path,), ("holiday",)))
    with pytest.raises(ImageError, match=r"holiday\.jpg"):
        pairs.make(0)


def test_a_cache_that_cannot_be_written_is_an_output_error(
    photo: PhotoSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError):
        outputs_of(photo).make(0)
