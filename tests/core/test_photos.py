import shutil

import numpy as np
import pytest

from nstc.core import photos as photos_module
from nstc.core.errors import ImageError, PhotosError
from nstc.core.files import sha256_of
from nstc.core.photos import (
    PhotoSet,
    photos_in,
    random_crop,
    sample_photos,
)


@pytest.fixture
def folder(save_picture, pixels):
    for name in ("holiday/b.png", "holiday/a.JPG", "holiday/day2/c.webp"):
        save_picture(pixels, name)
    path = save_picture(pixels, "holiday/day2/d.tif").parent.parent
    (path / "notes.txt").write_text("no photograph")
    return path


def test_photographs_are_found_in_folders_inside_and_sorted(folder) -> None:
    photos = photos_in([folder])
    assert [p.relative_to(folder).as_posix() for p in photos] == [
        "a.JPG",
        "b.png",
        "day2/c.webp",
        "day2/d.tif",
    ]
    assert photos.names == ("holiday",)


def test_folders_are_taken_in_the_order_given(folder) -> None:
    photos = photos_in([folder / "day2", folder])
    assert [p.name for p in photos][:2] == ["c.webp", "d.tif"]
    assert photos.names == ("day2", "holiday")


def test_without_a_folder_the_samples_are_used() -> None:
    photos = photos_in([])
    assert photos == sample_photos()
    assert photos.names == ("samples",)
    assert len(photos) >= 8


def test_every_sample_is_a_photograph() -> None:
    for square in sample_photos().squares(32):
        assert square.shape == (32, 32, 3)
        assert square.std() > 1


def test_a_missing_folder(tmp_path) -> None:
    with pytest.raises(PhotosError, match="no folder at"):
        photos_in([tmp_path / "none"])


def test_a_file_is_no_folder(folder) -> None:
    with pytest.raises(PhotosError, match="no folder at"):
        photos_in([folder / "b.png"])


def test_a_folder_without_photographs(tmp_path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(PhotosError, match=r"no photographs in .*expected \.png"):
        photos_in([tmp_path])


def test_links_out_of_a_folder_are_left_out_and_that_is_said(folder, tmp_path, caplog) -> None:
    before = photos_in([folder]).paths
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "out.png").symlink_to(before[0])
    (folder / "in.png").symlink_to(before[0])
    assert photos_in([folder]).paths == tuple(sorted([*before, folder / "in.png"]))
    assert caplog.messages == []
    (folder / "out.png").symlink_to(tmp_path / "linked" / "out.png")
    (tmp_path / "linked" / "out.png").unlink()
    (tmp_path / "linked" / "out.png").write_bytes(before[0].read_bytes())
    assert folder / "out.png" not in photos_in([folder]).paths
    assert caplog.messages == [
        f"nstc: of {len(before) + 2} photographs 1 in {folder} are links out of it, "
        "which are not followed."
    ]


def test_a_folder_of_links_out_of_it(folder, tmp_path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.png").symlink_to(photos_in([folder]).paths[0])
    with pytest.raises(PhotosError, match=r"no photographs in .*: 1 in .* are links out of it"):
        photos_in([tmp_path / "links"])


def test_a_photograph_that_is_none_is_named_when_it_is_read(tmp_path) -> None:
    (tmp_path / "a.jpg").write_text("no picture")
    with pytest.raises(ImageError, match=r"a\.jpg is not a picture"):
        list(photos_in([tmp_path]).squares(8))


def test_the_hash_of_a_list_is_that_of_its_contents(folder, tmp_path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert photos_in([copy]).list_sha256() == photos_in([folder]).list_sha256()
    (copy / "b.png").unlink()
    assert photos_in([copy]).list_sha256() != photos_in([folder]).list_sha256()


def test_a_file_is_hashed_once_for_a_set_and_its_parts(folder, monkeypatch) -> None:
    hashed = []

    def counted(path):
        hashed.append(path)
        return sha256_of(path)

    monkeypatch.setattr(photos_module, "sha256_of", counted)
    photos = photos_in([folder])
    part = photos.take(2)
    assert part.list_sha256() != photos.list_sha256()
    assert part.record().list_sha256 == photos.take(2).list_sha256()
    assert sorted(hashed) == sorted(photos.paths)


def test_a_few_of_many_are_spread_over_them(tmp_path) -> None:
    many = PhotoSet(tuple(tmp_path / str(i) for i in range(11)), ("n",))
    assert [p.name for p in many.take(3)] == ["0", "5", "10"]
    assert many.take(20) is many


class TestCrops:
    @pytest.mark.parametrize("size", [16, 64])
    def test_they_have_their_size_whatever_the_photograph(self, pixels, size) -> None:
        for seed in range(20):
            crop = random_crop(pixels, size, np.random.default_rng(seed))
            assert (crop.shape, crop.dtype) == ((size, size, 3), np.uint8)
            assert crop.flags.c_contiguous

    def test_one_pixel_is_enough(self) -> None:
        pixel = np.full((1, 1, 3), 9, np.uint8)
        assert (random_crop(pixel, 8, np.random.default_rng(0)) == 9).all()

    def test_a_seed_gives_one_crop_and_another_seed_another(self, pixels) -> None:
        one, same, other = (
            random_crop(pixels, 16, np.random.default_rng(seed)) for seed in (1, 1, 2)
        )
        np.testing.assert_array_equal(one, same)
        assert (one != other).any()

    @pytest.mark.parametrize(("size", "least"), [(16, 1.0), (48, 1.0), (96, 64 / 96)])
    def test_photographs_are_enlarged_no_more_than_allowed_unless_size_asks_for_it(
        self, size, least
    ) -> None:
        ramp = np.tile(4 * np.arange(64, dtype=np.uint8)[None, :, None], (64, 1, 3))
        for seed in range(20):
            rng = np.random.default_rng(seed)
            crop = random_crop(ramp, size, rng, zoom=2.0, enlarged=1.0).astype(int)
            pixels_of_photograph = abs(np.diff(crop[0, :, 0])[4:-4].mean()) / 4
            assert 0.97 * least <= pixels_of_photograph <= 1.05 * 64 / size

    def test_large_photographs_are_scaled_to_as_much_as_zoom_times_the_size(self) -> None:
        ramp = np.tile(np.arange(128, dtype=np.uint8)[None, :, None], (128, 1, 3))
        shares = []
        for seed in range(40):
            crop = random_crop(ramp, 16, np.random.default_rng(seed), zoom=2.0, enlarged=1.0)
            rise = abs(int(crop[0, 12, 0]) - int(crop[0, 3, 0])) / 9
            shares.append(16 * rise / 128)  # of the photograph's width
        assert 0.45 < min(shares) < 0.6
        assert 0.9 < max(shares) < 1.1

    def test_some_are_mirrored(self) -> None:
        ramp = np.tile(np.arange(64, dtype=np.uint8)[None, :, None], (64, 1, 3))
        rising = [
            crop[0, -1, 0] > crop[0, 0, 0]
            for seed in range(20)
            for crop in [random_crop(ramp, 16, np.random.default_rng(seed)).astype(int)]
        ]
        assert 0 < sum(rising) < 20

    def test_jitter_changes_the_colours_only_as_far_as_asked(self) -> None:
        plane = np.full((32, 32, 3), (40, 100, 200), np.uint8)
        gains = set()
        for seed in range(20):
            crop = random_crop(plane, 16, np.random.default_rng(seed), jitter=0.25)
            assert (crop == crop[0, 0]).all()
            low, middle, high = sorted(crop[0, 0].astype(int))
            assert 29 <= low <= 50
            assert 74 <= middle <= 125
            assert 149 <= high <= 250
            gains.add(tuple(crop[0, 0]))
        assert len(gains) == 20
