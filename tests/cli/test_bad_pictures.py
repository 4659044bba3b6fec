"""Pictures that can't be painted, and unusual ones that can."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.usefixtures("somewhere_else")


class TestPhotographs:
    @pytest.fixture
    def stylize(self, nstc, bundle):
        return lambda *photos, o="out": nstc("stylize", *photos, "-o", o, "-m", bundle.path)

    @pytest.mark.parametrize(
        ("name", "content", "told"),
        [
            ("missing.jpg", None, "no such file"),
            ("empty.jpg", b"", "is empty"),
            ("text.png", b"hello", "not a picture"),
            ("program.jpg", b"\x7fELF" + bytes(100), "not a picture"),
        ],
    )
    def test_what_is_none(self, stylize, tmp_path, name, content, told) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        done = stylize(name)
        assert done.code == 10
        assert name in done.error
        assert told in done.error
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("name", ["cut.jpg", "cut.png"])
    def test_truncated(self, stylize, save_picture, pixels, tmp_path, name) -> None:
        path = save_picture(pixels, name)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        done = stylize(name)
        assert done.code == 10
        assert "truncated" in done.error
        assert not (tmp_path / "out").exists()

    def test_a_folder_without_pictures(self, stylize, photo_folder) -> None:
        (photo_folder / "empty").mkdir()
        done = stylize(photo_folder / "empty")
        assert done.code == 10
        assert "no pictures in" in done.error

    def test_one_bad_of_several(self, stylize, save_picture, pixels, tmp_path) -> None:
        save_picture(pixels, "a.png")
        save_picture(pixels, "c.png")
        (tmp_path / "b.png").write_bytes(b"")
        done = stylize("a.png", "b.png", "c.png")
        assert done.code == 12
        assert "1 of 3 pictures could not be stylised" in done.error
        assert "b.png is empty" in done.err
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "c.png"}
        assert len(done.out.splitlines()) == 2

    @pytest.mark.parametrize("output", ["a.png", ".", "../{}/a.png"])
    def test_a_photograph_is_not_written_over(
        self, stylize, save_picture, pixels, tmp_path, output
    ) -> None:
        before = save_picture(pixels, "a.png").read_bytes()
        done = stylize("a.png", o=output.format(tmp_path.name))
        assert done.code == 3
        assert "choose another --output" in done.error
        assert (tmp_path / "a.png").read_bytes() == before


class TestPhotographsOfAllKinds:
    """What cameras and editors write is painted: the bundle gives the negative of a picture."""

    def painted(self, nstc, bundle, name: str) -> Image.Image:
        done = nstc("stylize", name, "-o", "out", "-m", bundle.path)
        assert done.code == 0, done.err
        with Image.open(Path("out") / name) as image:
            image.load()
            assert done.out.startswith(f"{Path('out') / name}  {image.width}x{image.height}  ")
            return image

    def test_alpha_is_kept(self, nstc, bundle, pixels) -> None:
        image = Image.fromarray(pixels)
        image.putalpha(77)
        image.save("a.png")
        result = np.asarray(self.painted(nstc, bundle, "a.png"))
        np.testing.assert_array_equal(result[:, :, :3], 255 - pixels)
        assert set(np.unique(result[:, :, 3])) == {77}

    @pytest.mark.parametrize("mode", ["P", "CMYK", "L", "1", "I;16"])
    def test_modes(self, nstc, bundle, pixels, mode) -> None:
        if mode == "I;16":
            photo = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
        else:
            photo = Image.fromarray(pixels).convert(mode)
        photo.save("a.tif")
        seen = photo.convert("RGB") if mode != "I;16" else Image.fromarray(pixels[:, :, 0])
        given = np.asarray(seen.convert("RGB"))
        np.testing.assert_array_equal(np.asarray(self.painted(nstc, bundle, "a.tif")), 255 - given)

    def test_a_rotation_is_applied(self, nstc, bundle, pixels) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by a quarter, clockwise
        Image.fromarray(pixels).save("a.png", exif=exif)
        result = self.painted(nstc, bundle, "a.png")
        np.testing.assert_array_equal(np.asarray(result), 255 - np.rot90(pixels, -1))

    @pytest.mark.parametrize("shape", [(1, 1), (40, 5000), (5000, 1)])
    def test_extreme_sizes(self, nstc, bundle, shape) -> None:
        Image.fromarray(np.full((*shape, 3), 55, np.uint8)).save("a.png")
        result = np.asarray(self.painted(nstc, bundle, "a.png"))
        assert result.shape == (*shape, 3)
        assert set(np.unique(result)) == {200}

    @pytest.mark.parametrize("name", ["my photo.png", "straße 日本 é.png", "-.png", "a.b.png"])
    def test_names(self, nstc, bundle, pixels, name) -> None:
        Image.fromarray(pixels).save(name)
        name = f"./{name}" if name.startswith("-") else name
        assert self.painted(nstc, bundle, name).size == (53, 37)
