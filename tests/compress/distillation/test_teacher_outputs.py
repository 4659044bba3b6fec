"""What a teacher is asked for, made once and never mixed: pictures, their flicker and losses."""

import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nstc.benchmarks.quality.picture_metrics import flicker
from nstc.compress.distillation.compared_losses import TeacherLosses
from nstc.compress.distillation.crops import Squares
from nstc.compress.distillation.teacher_outputs import TeacherOutputs
from nstc.core.errors import CorruptBundleError, ImageError, OutputError
from nstc.core.files import cache_folder
from nstc.core.images import Picture, Pixels, write_picture
from nstc.core.photos import PhotoSet, photos_in
from nstc.models.losses import (
    CONTENT_LAYERS,
    NOISE,
    STYLE_LAYERS,
    ContentLoss,
    StyleLoss,
    checkerboard_energy,
)
from nstc.models.style import StyleStatistics
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures


class Negative:
    """A teacher that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, rgb: Pixels) -> Pixels:
        self.asked += 1
        return 255 - rgb


def outputs_of(photos: PhotoSet, teacher: Any = None, **settings: Any) -> TeacherOutputs:
    each, sha256 = settings.pop("each", 1), settings.pop("sha256", "a" * 64)
    cut = settings.pop("cut", None) or Squares(**{"size": 32, "jitter": 0.0, "seed": 0, **settings})
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
        {"cut": Squares(size=32)},
    ],
    ids=str,
)
def test_pictures_of_other_settings_are_never_taken(
    photos: PhotoSet, other: dict[str, Any]
) -> None:
    made(photos)
    assert outputs_of(photos, **other).missing() == [0, 1]


def test_whole_photographs_are_cut_as_the_judge_cuts_them(photos: PhotoSet) -> None:
    pairs = made(photos, cut=Squares(size=48))
    for index, square in enumerate(photos.squares(48)):
        assert np.array_equal(pairs[index][0], square)
        assert np.array_equal(pairs[index][1], 255 - square)


def test_whole_photographs_of_another_size_are_others(photos: PhotoSet) -> None:
    made(photos, cut=Squares(size=48))
    assert outputs_of(photos, cut=Squares(size=48)).missing() == []
    assert outputs_of(photos, cut=Squares(size=56)).missing() == [0, 1]


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


def test_extreme_crops_are_flat_dark_or_light(tmp_path: Path) -> None:
    coarse = np.random.default_rng(0).integers(0, 2, (10, 50), dtype=np.uint8).repeat(10, axis=0)
    bands = 60 + 140 * coarse.repeat(10, axis=1)  # (100, 500) of squares; then without detail
    bands[:, 300:350], bands[:, 350:400], bands[:, 400:] = 128, 10, 245
    write_picture(tmp_path / "bands.png", Picture(rgb=bands[:, :, None].repeat(3, axis=2)))
    photo = photos_in([tmp_path])

    def crops(extremes: float) -> list[Pixels]:
        pairs = made(photo, extremes=extremes, each=24)
        return [pairs[index][0] for index in range(len(pairs))]

    usual, extreme = crops(0.0), crops(1.0)

    def extremes_in(own: list[Pixels]) -> int:
        return sum(crop.std() < 5 or not 90 < crop.mean() < 180 for crop in own)

    assert extremes_in(extreme) > 2 * extremes_in(usual)
    assert outputs_of(photo, each=24).missing() == []  # those of other runs stay what they were


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


def bands(rgb: Pixels) -> Pixels:
    """Another picture at every change of a level."""
    return (rgb % 2 * 200).astype(np.uint8)


def with_flicker(pairs: TeacherOutputs) -> TeacherOutputs:
    for index in pairs.without_flicker():
        pairs.make_flicker(index)
    return pairs


def test_each_picture_has_its_own_flicker(
    photos: PhotoSet, crops_by: Callable[..., TeacherOutputs]
) -> None:
    pairs = with_flicker(crops_by(bands, photos))
    assert pairs.without_flicker() == []
    assert [pairs.flicker(i) for i in range(2)] == [flicker(bands, *pairs[i]) for i in range(2)]
    assert pairs.flicker(0) != pairs.flicker(1)


def test_a_teacher_that_never_flickers_is_nothing_to_divide_by(
    photos: PhotoSet, crops_by: Callable[..., TeacherOutputs]
) -> None:
    assert with_flicker(crops_by(np.zeros_like, photos)).flicker(0) == 0.002


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[1]", b'"much"', b"\xff"])
def test_a_damaged_flicker_is_named(
    photos: PhotoSet, crops_by: Callable[..., TeacherOutputs], content: bytes
) -> None:
    pairs = with_flicker(crops_by(bands, photos))
    file = pairs.file(0, ".flicker.json")
    file.write_bytes(content)
    with pytest.raises(CorruptBundleError, match="delete it and run again") as caught:
        pairs.flicker(0)
    assert str(file) in str(caught.value)


def negative(rgb: Pixels) -> Pixels:
    return 255 - rgb


@pytest.fixture
def own(vgg: VggFeatures, style_statistics: StyleStatistics) -> TeacherLosses:
    return TeacherLosses(vgg, style_statistics.at(512))


@pytest.fixture
def looks(vgg: VggFeatures) -> Iterator[list[int]]:
    """A number for each look through VGG."""
    seen: list[int] = []
    handle = vgg.register_forward_hook(lambda *_: seen.append(1))
    yield seen
    handle.remove()


@pytest.fixture
def pictures() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def photographs(own: TeacherLosses, pictures: Tensor) -> Mapping[str, Tensor]:
    """Features of what the pictures are the negatives of."""
    return own.features(1 - pictures, CONTENT_LAYERS)


def test_each_picture_has_its_own_losses(
    own: TeacherLosses,
    vgg: VggFeatures,
    style_statistics: StyleStatistics,
    pictures: Tensor,
    photographs: Mapping[str, Tensor],
) -> None:
    style, content = own.of(["a", "b"], pictures, photographs)
    seen = vgg(pictures, STYLE_LAYERS)
    assert style.tolist() == pytest.approx(
        StyleLoss(style_statistics.at(512))(seen).tolist(), rel=0.02
    )
    assert content.tolist() == pytest.approx(ContentLoss()(seen, photographs).tolist(), rel=0.02)
    assert len({*style.tolist(), *content.tolist()}) == 4


def test_vgg_is_asked_once_about_each_name(
    own: TeacherLosses, pictures: Tensor, photographs: Mapping[str, Tensor], looks: list[int]
) -> None:
    looks.clear()
    first = own.of(["a", "b"], pictures, photographs)
    again = own.of(["b", "a"], torch.zeros_like(pictures), photographs)
    assert len(looks) == 2
    assert [loss.flip(0).tolist() for loss in again] == [loss.tolist() for loss in first]


def test_a_teacher_that_copies_is_nothing_to_divide_by(
    own: TeacherLosses, pictures: Tensor
) -> None:
    _style, content = own.of(["a", "b"], pictures, own.features(pictures, CONTENT_LAYERS))
    assert content.tolist() == pytest.approx([0.05, 0.05])


def test_a_teacher_that_copies_flickers_by_a_sensor_s_noise(
    photos: PhotoSet, crops_by: Callable[..., TeacherOutputs]
) -> None:
    asked: list[int] = []

    def copies(rgb: Pixels) -> Pixels:
        asked.append(1)
        return rgb

    pairs = crops_by(copies, photos)
    asked.clear()
    found = pairs.mean_flicker
    assert found == pytest.approx(NOISE * math.sqrt(2 / math.pi), rel=0.1)
    assert pairs.mean_flicker == found
    assert len(asked) == 4  # all four shifts, however few the pictures are
    larger = crops_by(copies, photos, 96)
    asked.clear()
    assert larger.mean_flicker == pytest.approx(found, rel=0.1)
    assert len(asked) == 4


def test_one_whose_pictures_never_change_is_nothing_to_divide_by(
    photos: PhotoSet, crops_by: Callable[..., TeacherOutputs]
) -> None:
    assert crops_by(np.zeros_like, photos).mean_flicker == 0.002


def test_the_checkerboard_is_that_of_the_teachers_pictures(
    photos: PhotoSet, crops_by: Callable[..., TeacherOutputs]
) -> None:
    pairs = crops_by(negative, photos)
    energies = [checkerboard_energy(images_to_tensor([target]), 4) for _, target in pairs]
    assert pairs.mean_checkerboard(4) == pytest.approx(float(torch.cat(energies).mean()))
    assert pairs.mean_checkerboard(8) != pairs.mean_checkerboard(4)
    larger = crops_by(negative, photos, 96)
    assert larger.mean_checkerboard(4) != pairs.mean_checkerboard(4)


def test_one_without_a_checkerboard_is_nothing_to_divide_by(
    photos: PhotoSet, crops_by: Callable[..., TeacherOutputs]
) -> None:
    assert crops_by(np.zeros_like, photos).mean_checkerboard(4) == 5e-6


def test_nothing_is_learned_through_a_look(own: TeacherLosses, pictures: Tensor) -> None:
    found = own.features(pictures.requires_grad_(), STYLE_LAYERS)
    assert not any(features.requires_grad for features in found.values())
