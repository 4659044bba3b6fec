"""Regions of pictures whose right division is plain."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nstc.compress.optimization.segmentation import PALETTE, mask
from nstc.core.errors import ImageError, OptionError, OutputError
from nstc.core.images import read_picture, resize
from nstc.core.images.label_maps import LabelMap, read_label_map, write_label_map
from nstc.core.photos import sample_photos

SKY, SAND, NIGHT = (90, 140, 230), (200, 170, 90), (20, 20, 60)


def bands(*colors: tuple[int, int, int], height: int = 60, width: int = 80) -> np.ndarray:
    """Horizontal bands of equal height, from the top."""
    rows = np.repeat(np.array(colors, np.uint8), height // len(colors), axis=0)
    return np.ascontiguousarray(np.broadcast_to(rows[:, None], (len(rows), width, 3)))


@pytest.fixture
def rocket() -> Path:
    return next(path for path in sample_photos() if path.stem == "rocket")


def test_a_picture_of_two_tones_is_divided_at_its_edge() -> None:
    made = mask(bands(SKY, SAND), regions=2)
    assert made.colors == PALETTE[:2]
    assert (made.labels[:29] == 0).all()
    assert (made.labels[31:] == 1).all()


def test_an_upright_edge_too() -> None:
    made = mask(bands(SKY, SAND).swapaxes(0, 1).copy(), regions=2)
    left, right = made.labels[:, :29], made.labels[:, 31:]
    assert len(np.unique(left)) == len(np.unique(right)) == 1
    assert left[0, 0] != right[0, 0]


def test_labels_go_from_the_top_to_the_bottom_whatever_the_colours() -> None:
    by_day = mask(bands(SKY, SAND, NIGHT))
    by_night = mask(bands(NIGHT, SAND, SKY))
    for made in (by_day, by_night):
        assert made.colors == PALETTE[:3]
        assert [made.labels[row, 40] for row in (5, 30, 55)] == [0, 1, 2]


def test_an_island_is_filled_and_a_larger_area_is_not() -> None:
    picture = bands(SKY, SAND, height=200, width=200)
    picture[20:30, 20:30] = SAND  # 0.25 % of the picture
    picture[20:60, 120:160] = SAND  # 4 %
    made = mask(picture, regions=2)
    assert made.labels[25, 25] == 0
    assert made.labels[40, 140] == 1


def test_a_photograph_gets_all_its_regions_the_same_each_time(rocket) -> None:
    first, again = mask(rocket, regions=4, seed=3), mask(rocket, regions=4, seed=3)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert first.colors == PALETTE[:4]
    assert sum(first.shares) == pytest.approx(1)
    assert min(first.shares) > 0
    assert first.labels[5, 200] == 0  # the sky


def test_a_seed_decides_little(rocket) -> None:
    first, second, third = (mask(rocket, regions=3, seed=seed).labels for seed in range(3))
    assert (first == second).mean() > 0.99
    assert (first == third).mean() > 0.99


def test_a_large_picture_is_divided_as_a_small_one(rocket) -> None:
    large = Image.fromarray(resize(read_picture(rocket).rgb, 600, 900))
    made = mask(np.asarray(large))
    assert made.labels.shape == (600, 900)
    small = mask(np.asarray(large.resize((384, 256), Image.Resampling.BICUBIC)))
    assert made.shares == pytest.approx(small.shares, abs=0.03)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3)])
def test_tiny_pictures_and_those_of_one_colour(shape) -> None:
    made = mask(np.full((*shape, 3), 128, np.uint8), regions=3)
    assert made.labels.shape == shape
    assert sum(made.shares) == pytest.approx(1)
    assert len(made.colors) == made.labels.max() + 1 <= 3


class TestLike:
    @pytest.fixture
    def other(self, tmp_path, save_picture) -> tuple[Path, Path]:
        """A photograph of sand below sky, and its map with colours of the user's own."""
        labels = np.zeros((60, 80), np.uint8)
        labels[30:] = 1
        path = tmp_path / "map.png"
        write_label_map(path, LabelMap(labels=labels, colors=((1, 2, 3), (250, 0, 0))))
        return path, save_picture(bands(SKY, SAND))

    def test_regions_take_the_labels_of_the_most_similar(self, other) -> None:
        made = mask(bands(SAND, SKY), like=other)  # upside down
        assert made.colors == ((250, 0, 0), (1, 2, 3))
        assert made.labels[5, 5] == 0

    def test_each_takes_another_label(self, other) -> None:
        made = mask(bands(SAND, (190, 165, 95)), like=other)
        assert sorted(made.colors) == [(1, 2, 3), (250, 0, 0)]

    def test_the_map_sets_the_number_of_regions(self, other) -> None:
        assert len(mask(bands(SKY, SAND, NIGHT), like=other).colors) == 2
        with pytest.raises(OptionError, match="regions is 3, and the map of like has 2 labels"):
            mask(bands(SKY, SAND), like=other, regions=3)

    def test_a_map_of_another_picture_is_refused(self, other, save_picture) -> None:
        wide = save_picture(bands(SKY, SAND, width=200), "wide.png")
        with pytest.raises(OptionError, match=r"map\.png is 80x60, .*wide\.png is 200x60"):
            mask(bands(SKY, SAND), like=(other[0], wide))


class TestOutput:
    def test_the_map_is_written_at_the_pictures_size(self, tmp_path, rocket) -> None:
        path = tmp_path / "new" / "map.png"
        made = mask(rocket, path)
        found = read_label_map(path)
        assert found.labels.shape == made.labels.shape == read_picture(rocket).rgb.shape[:2]
        assert {*found.colors} == {*made.colors}
        assert sorted(found.shares) == sorted(made.shares)

    def test_an_input_is_not_replaced(self, save_picture) -> None:
        photo = save_picture(bands(SKY, SAND))
        before = photo.read_bytes()
        with pytest.raises(OptionError, match="which is an input too"):
            mask(photo, photo)
        assert photo.read_bytes() == before

    def test_other_endings_and_places_are_refused_before_the_work(self, tmp_path) -> None:
        with pytest.raises(OptionError, match=r"does not end in \.png"):
            mask(tmp_path / "missing.jpg", tmp_path / "map.jpg")
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="a file is where a folder is needed"):
            mask(tmp_path / "missing.jpg", tmp_path / "file" / "map.png")


@pytest.mark.parametrize("options", [{"regions": 1}, {"regions": 9}, {"seed": -1}])
def test_numbers_out_of_range(options) -> None:
    (name,) = options
    with pytest.raises(OptionError, match=f"{name} is {options[name]}: expected"):
        mask(bands(SKY, SAND), **options)


@pytest.mark.parametrize("shape", [(5, 5), (5, 5, 4), (0, 5, 3)])
def test_pixels_of_another_shape(shape) -> None:
    with pytest.raises(ImageError, match=r"expected \(H, W, 3\) uint8"):
        mask(np.zeros(shape, np.uint8))
