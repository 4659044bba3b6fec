"""Label maps as editors save them: which are read, how two are paired, and masks of any size."""

import numpy as np
import pytest
from PIL import Image

from nstc.core.errors import ImageError, OptionError
from nstc.core.images.label_maps import (
    NO_LABEL,
    LabelMap,
    fitted,
    masks,
    matched,
    read_label_map,
    write_label_map,
)

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
LABELS = np.array([[0, 0, 1], [2, 2, 1]], np.uint8)


def image_of(labels: np.ndarray, *colors: tuple[int, int, int]) -> Image.Image:
    return Image.fromarray(np.array(colors, np.uint8)[labels])


def a_map(labels: object, *colors: tuple[int, int, int], name: str = "m.png") -> LabelMap:
    return LabelMap(labels=np.array(labels, np.uint8), colors=colors, name=name)


class TestReading:
    def test_colours_are_labels(self, save) -> None:
        found = read_label_map(save(image_of(LABELS, RED, GREEN, BLUE), "a.png"))
        assert found.colors == (BLUE, GREEN, RED)
        assert found.labels.tolist() == [[2, 2, 1], [0, 0, 1]]
        assert found.labels.dtype == np.uint8
        assert found.shares == (2 / 6, 2 / 6, 2 / 6)
        assert found.hex_colors == ("#0000ff", "#00ff00", "#ff0000")

    def test_a_palette(self, save) -> None:
        image = Image.fromarray(LABELS).convert("P")
        image.putpalette([*RED, *GREEN, *BLUE, 9, 9, 9])  # the last is used by no pixel
        assert read_label_map(save(image, "a.png")).colors == (BLUE, GREEN, RED)

    def test_grey_black_and_white_and_16_bits(self, save) -> None:
        deep = Image.fromarray(np.array([[0, 65535], [257, 257]], np.uint16))
        assert read_label_map(save(deep, "a.png")).colors == ((0,) * 3, (1,) * 3, (255,) * 3)
        grey = Image.fromarray(np.array([[7, 9]], np.uint8))
        assert read_label_map(save(grey, "b.png")).labels.tolist() == [[0, 1]]
        assert read_label_map(save(grey.convert("1"), "c.png")).colors == ((0, 0, 0),)

    def test_one_colour(self, save) -> None:
        found = read_label_map(save(Image.new("RGB", (5, 3), RED), "a.png"))
        assert found.colors == (RED,)
        assert found.labels.shape == (3, 5)
        assert found.shares == (1.0,)

    def test_more_rows_than_are_converted_at_once(self, save) -> None:
        labels = (np.arange(700) >= 600).astype(np.uint8)[:, None]
        found = read_label_map(save(image_of(labels, BLUE, RED), "a.png"))
        np.testing.assert_array_equal(found.labels, labels)

    def test_alpha_that_is_opaque_is_ignored(self, save) -> None:
        found = read_label_map(save(image_of(LABELS, RED, GREEN, BLUE).convert("RGBA"), "a.png"))
        assert len(found.colors) == 3

    def test_transparent_pixels_are_refused(self, save) -> None:
        image = image_of(LABELS, RED, GREEN, BLUE).convert("RGBA")
        image.putpixel((0, 0), (255, 0, 0, 254))
        with pytest.raises(ImageError, match="has transparent pixels"):
            read_label_map(save(image, "a.png"))

    def test_sixteen_colours_and_one_more(self, save) -> None:
        levels = np.arange(17, dtype=np.uint8)[None]
        assert len(read_label_map(save(Image.fromarray(levels[:, :16]), "a.png")).colors) == 16
        with pytest.raises(ImageError, match=r"b\.png has 17 colours, a label map at most 16.*PNG"):
            read_label_map(save(Image.fromarray(levels), "b.png"))

    def test_the_colours_that_jpeg_adds(self, save) -> None:
        labels = np.tri(64, dtype=np.uint8)
        with pytest.raises(ImageError, match=r"has \d+ colours.*JPEG.*save as PNG"):
            read_label_map(save(image_of(labels, RED, BLUE), "a.jpg"))

    def test_what_is_not_a_picture(self, tmp_path) -> None:
        (tmp_path / "a.png").write_text("no")
        with pytest.raises(ImageError, match="not a picture"):
            read_label_map(tmp_path / "a.png")


class TestWriting:
    def test_what_is_written_is_read(self, tmp_path) -> None:
        path = tmp_path / "a.png"
        write_label_map(path, a_map(LABELS, BLUE, GREEN, RED))
        found = read_label_map(path)
        assert found.colors == (BLUE, GREEN, RED)
        np.testing.assert_array_equal(found.labels, LABELS)

    @pytest.mark.parametrize("name", ["a.jpg", "a", "a.webp"])
    def test_nothing_else_than_png(self, tmp_path, name) -> None:
        with pytest.raises(OptionError, match=r"does not end in \.png"):
            write_label_map(tmp_path / name, a_map(LABELS, BLUE, GREEN, RED))
        assert not any(tmp_path.iterdir())


class TestFitting:
    def test_a_map_of_the_pictures_size_stays(self) -> None:
        found = a_map(LABELS, RED, GREEN, BLUE)
        assert fitted(found, 2, 3, picture="p.jpg") is found

    def test_another_size_by_nearest_neighbour(self) -> None:
        found = fitted(a_map([[0, 1], [2, 3]], *[RED] * 4), 4, 4, picture="p.jpg")
        assert found.labels[0].tolist() == [0, 0, 1, 1]
        assert found.labels[:, 0].tolist() == [0, 0, 2, 2]

    def test_the_aspect_ratio_within_a_percent(self) -> None:
        wide = a_map(np.zeros((100, 200)), RED)
        assert fitted(wide, 101, 200, picture="p.jpg").labels.shape == (101, 200)
        with pytest.raises(
            OptionError, match=r"m\.png is 200x100, p\.jpg is 200x102: .* within 1 %"
        ):
            fitted(wide, 102, 200, picture="p.jpg")
        with pytest.raises(OptionError, match=r"is 200x100, p\.jpg is 100x200"):
            fitted(wide, 200, 100, picture="p.jpg")


class TestPairing:
    def test_labels_are_paired_by_colour(self) -> None:
        photo = a_map([[0, 1]], GREEN, RED)
        style = a_map([[0, 1, 2]], RED, BLUE, GREEN)
        first, second = matched(photo, style)
        assert first.colors == second.colors == (GREEN, RED)
        assert first.labels.tolist() == [[0, 1]]
        assert second.labels.tolist() == [[1, NO_LABEL, 0]]
        assert second.shares == (1 / 3, 1 / 3)

    def test_colours_that_the_painting_lacks_are_named(self) -> None:
        photo = a_map(LABELS, RED, GREEN, BLUE, name="photo.png")
        style = a_map([[0, 1]], RED, (0, 0, 1), name="style.png")
        with pytest.raises(
            OptionError,
            match=r"style\.png lacks #00ff00, #0000ff of photo\.png, and has #ff0000, #000001: ",
        ):
            matched(photo, style)


class TestMasks:
    def test_at_the_maps_own_size_they_are_one_hot(self) -> None:
        found = masks(a_map(LABELS, RED, GREEN, BLUE), 2, 3)
        assert found.dtype == np.float32
        assert found.tolist() == [[[1, 1, 0], [0, 0, 0]], [[0, 0, 1]] * 2, [[0, 0, 0], [1, 1, 0]]]

    def test_three_pixels_become_two_by_the_area_that_each_covers(self) -> None:
        found = masks(a_map([[0, 1, 1]], RED, GREEN), 1, 2)
        np.testing.assert_allclose(found[:, 0], [[2 / 3, 0], [1 / 3, 1]], atol=1e-7)

    def test_rows_are_averaged_as_columns_are(self) -> None:
        labels = np.random.default_rng(0).integers(0, 3, (31, 47))
        across = masks(a_map(labels, RED, GREEN, BLUE), 5, 6)
        down = masks(a_map(labels.T, RED, GREEN, BLUE), 6, 5)
        np.testing.assert_allclose(across, down.swapaxes(1, 2), atol=1e-6)

    @pytest.mark.parametrize("size", [(7, 5), (40, 90), (1, 1)])
    def test_each_pixel_adds_up_to_one_and_areas_are_kept(self, size) -> None:
        labels = np.random.default_rng(1).integers(0, 3, (31, 47))
        found = a_map(labels, RED, GREEN, BLUE)
        planes = masks(found, *size)
        assert planes.shape == (3, *size)
        np.testing.assert_allclose(planes.sum(0), 1, atol=1e-6)
        np.testing.assert_allclose(planes.mean((1, 2)), found.shares, atol=1e-6)
        assert planes.min() >= 0

    def test_pixels_without_a_label_belong_to_no_mask(self) -> None:
        assert masks(a_map([[0, NO_LABEL]], RED), 1, 1).tolist() == [[[0.5]]]
