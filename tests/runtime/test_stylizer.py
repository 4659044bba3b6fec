import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nstc.core.errors import BundleError, ImageError, OptionError, OutputError
from nstc.runtime.stylizer import Stylizer, output_paths, stylize_files


@pytest.fixture
def stylizer(bundle) -> Stylizer:
    return Stylizer(bundle, threads=1)


def test_an_array_gives_an_array(stylizer, pixels) -> None:
    np.testing.assert_array_equal(stylizer(pixels), 255 - pixels)


def test_an_image_gives_an_image(stylizer, pixels) -> None:
    painted = stylizer(Image.fromarray(pixels))
    assert painted.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(painted), 255 - pixels)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_gives_an_image(stylizer, save_picture, pixels, kind) -> None:
    painted = stylizer(kind(save_picture(pixels)))
    np.testing.assert_array_equal(np.asarray(painted), 255 - pixels)


def test_alpha_is_kept_and_not_painted(stylizer, pixels) -> None:
    alpha = np.arange(37 * 53, dtype=np.uint32).reshape(37, 53).astype(np.uint8)
    painted = stylizer(Image.fromarray(np.dstack([pixels, alpha])))
    assert painted.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(painted), np.dstack([255 - pixels, alpha]))


def test_a_grey_image_is_painted_in_colour(stylizer) -> None:
    painted = stylizer(Image.new("L", (4, 2), 40))
    assert (painted.mode, painted.getpixel((0, 0))) == ("RGB", (215, 215, 215))


@pytest.mark.parametrize("size", [(1, 1), (5000, 40)])
def test_the_smallest_and_the_longest(stylizer, size) -> None:
    assert stylizer(Image.new("RGB", size)).size == size


def test_the_default_model_is_the_shipped_student(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("nstc.core.zoo.zoo_folder", lambda: tmp_path)
    with pytest.raises(BundleError, match="no zoo:starry-night in the zoo"):
        Stylizer()


class TestFiles:
    def test_one_photograph_to_a_file(self, stylizer, save_picture, pixels, tmp_path) -> None:
        out = tmp_path / "new" / "out.png"
        assert stylize_files([save_picture(pixels)], stylizer, out) == [out]
        np.testing.assert_array_equal(_read(out), 255 - pixels)

    @pytest.mark.parametrize("name", ["out", "v1.2"])
    def test_one_photograph_to_a_new_folder(self, stylizer, save_picture, pixels, name) -> None:
        photo = save_picture(pixels, "a.png")
        out = photo.parent / name
        assert stylize_files([photo], stylizer, out) == [out / "a.png"]

    def test_one_photograph_to_a_folder_that_is_named_like_a_picture(
        self, stylizer, save_picture, pixels, tmp_path
    ) -> None:
        out = tmp_path / "out.png"
        out.mkdir()
        assert stylize_files([save_picture(pixels, "a.png")], stylizer, out) == [out / "a.png"]

    def test_several_keep_their_names_and_formats(
        self, stylizer, save_picture, pixels, tmp_path
    ) -> None:
        photos = [save_picture(pixels, name) for name in ("a.png", "b.JPG", "c.webp", "d.gif")]
        done = []
        written = stylize_files(photos, stylizer, tmp_path / "out", done.append)
        assert [path.name for path in written] == ["a.png", "b.JPG", "c.webp", "d.png"]
        formats = []
        for path in written:
            with Image.open(path) as image:
                formats.append(image.format)
        assert formats == ["PNG", "JPEG", "WEBP", "PNG"]
        assert [(d.photo, d.output, d.width, d.height) for d in done] == [
            (photo, path, 53, 37) for photo, path in zip(photos, written, strict=True)
        ]
        assert all(d.seconds > 0 for d in done)

    def test_alpha_reaches_the_file(self, stylizer, save_picture, pixels, tmp_path) -> None:
        alpha = np.full((37, 53, 1), 77, np.uint8)
        photo = save_picture(np.dstack([pixels, alpha]))
        stylize_files([photo], stylizer, tmp_path / "out.png")
        np.testing.assert_array_equal(_read(tmp_path / "out.png")[:, :, 3:], alpha)

    def test_a_bad_photograph_keeps_no_other_from_being_done(
        self, stylizer, save_picture, pixels, tmp_path
    ) -> None:
        good, last = save_picture(pixels, "good.png"), save_picture(pixels, "last.png")
        bad = tmp_path / "bad.png"
        bad.write_bytes(good.read_bytes()[:60])
        missing = tmp_path / "missing.png"
        out = tmp_path / "out"
        with pytest.raises(ImageError, match=r"2 of 4 photographs .*bad\.png.*missing\.png"):
            stylize_files([good, bad, missing, last], stylizer, out)
        assert sorted(path.name for path in out.iterdir()) == ["good.png", "last.png"]

    def test_a_single_bad_photograph_leaves_nothing(self, stylizer, tmp_path) -> None:
        bad = tmp_path / "bad.jpg"
        bad.write_bytes(b"no picture")
        with pytest.raises(ImageError, match=r"bad\.jpg is not a picture"):
            stylize_files([bad], stylizer, tmp_path / "out.jpg")
        assert list(tmp_path.glob("*out*")) == []

    def test_a_graph_of_one_size_fails_for_the_others_only(
        self, bundle, negative_bytes, save_picture, tmp_path
    ) -> None:
        stylizer = Stylizer(bundle)
        stylizer.session = type(stylizer.session)(
            negative_bytes(tmp_path / "fixed.onnx", 8, 8), "int8.8x8.onnx"
        )
        fits = save_picture(np.zeros((8, 8, 3), np.uint8), "fits.png")
        not_ = save_picture(np.zeros((8, 9, 3), np.uint8), "not.png")
        with pytest.raises(ImageError, match=r"1 of 2 .* this one is 8x9"):
            stylize_files([not_, fits], stylizer, tmp_path / "out")
        assert (tmp_path / "out" / "fits.png").is_file()


class TestOutputPaths:
    def test_two_of_one_name_are_refused(self, tmp_path) -> None:
        photos = [Path("june/beach.jpg"), Path("july/beach.jpg")]
        with pytest.raises(OptionError, match=r"june/beach\.jpg and july/beach\.jpg would both"):
            output_paths(photos, tmp_path)

    def test_two_that_would_get_one_ending_are_refused(self, tmp_path) -> None:
        with pytest.raises(OptionError, match="would both be written to"):
            output_paths([Path("a.gif"), Path("a.png")], tmp_path)

    def test_a_photograph_is_never_overwritten(self, save_picture, pixels) -> None:
        photo = save_picture(pixels, "a.png")
        for output in (photo, photo.parent, photo.parent / "." / "a.png"):
            with pytest.raises(OptionError, match="is one of the photographs"):
                output_paths([photo], output)

    def test_nor_through_a_link(self, save_picture, pixels, tmp_path) -> None:
        photo = save_picture(pixels, "a.png")
        link = tmp_path / "link.png"
        link.symlink_to(photo)
        with pytest.raises(OptionError, match="is one of the photographs"):
            output_paths([photo], link)

    def test_several_need_a_folder(self, tmp_path) -> None:
        with pytest.raises(OptionError, match=r"out\.png, one picture, for 2 photographs"):
            output_paths([Path("a.png"), Path("b.png")], tmp_path / "out.png")

    def test_an_ending_that_is_not_written_is_refused(self, tmp_path) -> None:
        with pytest.raises(OptionError, match=r"format of .*out\.gif"):
            output_paths([Path("a.png")], tmp_path / "out.gif")

    def test_none_at_all(self, tmp_path) -> None:
        with pytest.raises(OptionError, match="no photographs"):
            output_paths([], tmp_path)


class TestUnwritable:
    def test_under_a_file(self, stylizer, save_picture, pixels, tmp_path) -> None:
        (tmp_path / "file").write_text("mine")
        photo = save_picture(pixels)
        with pytest.raises(OutputError, match="cannot write"):
            stylize_files([photo], stylizer, tmp_path / "file" / "out.png")
        assert (tmp_path / "file").read_text() == "mine"

    def test_a_file_where_a_folder_is_needed(self, stylizer, save_picture, pixels, tmp_path):
        (tmp_path / "file").write_text("mine")
        photos = [save_picture(pixels, "a.png"), save_picture(pixels, "b.png")]
        with pytest.raises(OutputError, match="it is a file"):
            stylize_files(photos, stylizer, tmp_path / "file")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    def test_a_full_disk(self, stylizer, save_picture, pixels, tmp_path) -> None:
        full = tmp_path / "out.png"
        full.symlink_to("/dev/full")
        with pytest.raises(OutputError, match="No space left on device"):
            stylize_files([save_picture(pixels)], stylizer, full)
        with pytest.raises(OutputError, match="/dev/full"):
            stylize_files([save_picture(pixels)], stylizer, Path("/dev/full"))

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
    def test_a_file_system_that_takes_no_files(self, stylizer, save_picture, pixels) -> None:
        with pytest.raises(OutputError, match="cannot write /proc"):
            stylize_files([save_picture(pixels)], stylizer, Path("/proc/nstc/out.png"))

    @pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
    def test_a_folder_without_rights(self, stylizer, save_picture, pixels, tmp_path) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        with pytest.raises(OutputError, match="Permission denied"):
            stylize_files([save_picture(pixels)], stylizer, closed / "out.png")

    def test_an_old_picture_survives_a_failure(
        self, stylizer, save_picture, pixels, tmp_path, monkeypatch
    ) -> None:
        out = tmp_path / "out.png"
        out.write_bytes(b"the old one")

        def fail(self: Path, target: Path) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(OutputError, match="No space left"):
            stylize_files([save_picture(pixels)], stylizer, out)
        assert out.read_bytes() == b"the old one"
        assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
            "out.png",
            "photo.png",
        ]


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)
