import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from nstc.core.errors import (
    CorruptBundleError,
    FetchError,
    ImageError,
    MissingExtraError,
    OptionError,
    OutputError,
)
from nstc.core.images import formats as formats_module
from nstc.core.images import read_picture
from nstc.core.remote.fetching import FetchLimits
from nstc.runtime.control import Control
from nstc.runtime.files.batch import BatchOptions, stylize_files
from nstc.runtime.onnx_session import OnnxSession


@pytest.fixture
def run(stylizer, tmp_path, monkeypatch):
    """Stylises inputs of the test's folder; gives (status, output) of each."""
    monkeypatch.chdir(tmp_path)

    def _run(*inputs, o="out", **options):
        outcomes = stylize_files([str(i) for i in inputs], o, stylizer, BatchOptions(**options))
        return [(outcome.status, outcome.output) for outcome in outcomes]

    return _run


def opened(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_one_photograph_to_a_file(run, save_picture, pixels) -> None:
    save_picture(pixels, "a.png")
    assert run("a.png", o="new/out.png") == [("done", "new/out.png")]
    np.testing.assert_array_equal(opened("new/out.png"), 255 - pixels)


def test_a_folder_keeps_its_tree_and_formats(run, save_picture, pixels) -> None:
    for name in ("in/a.png", "in/sub/b.JPG", "in/sub/deep/c.webp", "in/d.gif", "in/e.tiff"):
        save_picture(pixels, name)
    assert {output for _, output in run("in")} == {
        "out/a.png",
        "out/d.gif",
        "out/e.tiff",
        "out/sub/b.JPG",
        "out/sub/deep/c.webp",
    }
    formats = set()
    for path in Path("out").rglob("*.*"):
        with Image.open(path) as image:
            formats.add((path.suffix, image.format, image.size))
    assert formats == {
        (".png", "PNG", (53, 37)),
        (".gif", "GIF", (53, 37)),
        (".tiff", "TIFF", (53, 37)),
        (".JPG", "JPEG", (53, 37)),
        (".webp", "WEBP", (53, 37)),
    }


def test_each_is_told_as_it_is_done(stylizer, save_picture, pixels, tmp_path) -> None:
    names = [str(save_picture(pixels, name)) for name in ("a.png", "b.png")]
    told = []
    outcomes = stylize_files(names, str(tmp_path / "out"), stylizer, on_outcome=told.append)
    assert told == outcomes
    assert [(o.source, o.width, o.height, o.frames) for o in told] == [
        (name, 53, 37, 1) for name in names
    ]
    assert all(outcome.seconds > 0 for outcome in told)


def test_the_control_reaches_the_files(run, save_picture, pixels) -> None:
    save_picture(pixels, "a.png")
    run("a.png", o="0.png", control=Control(strength=0))
    np.testing.assert_array_equal(opened("0.png"), pixels)


def test_alpha_reaches_the_file_and_its_loss_is_told(
    stylizer, save_picture, pixels, tmp_path
) -> None:
    alpha = np.full((37, 53, 1), 77, np.uint8)
    photo = str(save_picture(np.dstack([pixels, alpha])))
    (kept,) = stylize_files([photo], str(tmp_path / "a.png"), stylizer)
    assert (opened(tmp_path / "a.png")[:, :, 3] == 77).all()
    (lost,) = stylize_files([photo], str(tmp_path / "a.jpg"), stylizer)
    assert (kept.notes, lost.notes) == ((), ("transparency is lost: JPEG holds none",))


class TestMetadata:
    @pytest.fixture
    def photo(self, tmp_path, pixels) -> str:
        exif = Image.Exif()
        exif[0x0110] = "Camera 9"
        exif[0x8825] = {1: "N", 2: (48.0, 51.0, 30.0)}
        Image.fromarray(pixels).save(tmp_path / "in.jpg", exif=exif)
        return "in.jpg"

    def test_it_is_stripped_unless_asked_for(self, run, photo) -> None:
        run(photo, o="a.jpg")
        run(photo, o="b.jpg", keep_metadata=True)
        with Image.open("a.jpg") as stripped, Image.open("b.jpg") as kept:
            assert dict(stripped.getexif()) == {}
            assert kept.getexif()[0x0110] == "Camera 9"
            assert kept.getexif().get_ifd(0x8825)[2] == (48.0, 51.0, 30.0)


class TestBadOnes:
    def test_keep_no_other_from_being_done(
        self, stylizer, save_picture, pixels, tmp_path, monkeypatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        good = save_picture(pixels, "in/a.png")
        save_picture(pixels, "in/z.png")
        (tmp_path / "in/cut.png").write_bytes(good.read_bytes()[:60])
        (tmp_path / "in/empty.jpg").touch()
        (tmp_path / "in/dead.png").symlink_to("nowhere")
        (tmp_path / "in/loop").symlink_to(".")
        outcomes = stylize_files(["in", "ftp://photos.example/x"], "out", stylizer)
        failed = {o.source: type(o.error) for o in outcomes if o.status == "failed"}
        assert failed == {
            "in/cut.png": ImageError,
            "in/empty.jpg": ImageError,
            "in/dead.png": ImageError,
            "in/loop": ImageError,
            "ftp://photos.example/x": FetchError,
        }
        assert all(o.source in str(o.error) for o in outcomes if o.error is not None)
        assert sorted(path.name for path in Path("out").iterdir()) == ["a.png", "z.png"]

    def test_a_place_that_is_taken_by_a_folder(self, run, save_picture, pixels) -> None:
        save_picture(pixels, "in/a.png")
        save_picture(pixels, "in/b.png")
        Path("out/a.png").mkdir(parents=True)
        assert run("in") == [("failed", "out/a.png"), ("done", "out/b.png")]

    def test_a_full_disk_ends_the_batch(self, run, save_picture, pixels, monkeypatch) -> None:
        save_picture(pixels, "in/a.png")
        save_picture(pixels, "in/b.png")

        def fail(self: Path, target: Path) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(OutputError, match=r"out/a\.png: No space left"):
            run("in")
        assert list(Path("out").iterdir()) == []

    def test_a_model_that_is_none_ends_the_batch(
        self, stylizer, run, save_picture, pixels, write_graph, tmp_path
    ) -> None:
        from onnx import helper

        classes = write_graph(
            tmp_path / "classes.onnx",
            [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)],
            output_shape=(1, 3),
        )
        stylizer.session = OnnxSession(classes, "onnx")
        save_picture(pixels, "a.png")
        with pytest.raises(CorruptBundleError, match="is not a style network"):
            run("a.png")
        assert not Path("out").exists()

    def test_a_graph_of_one_size_fails_for_the_others_only(
        self, stylizer, run, negative_bytes, save_picture, tmp_path
    ) -> None:
        fixed = negative_bytes(tmp_path / "fixed.onnx", 8, 8)
        stylizer.session = OnnxSession(fixed, "int8.8x8.onnx")
        save_picture(np.zeros((8, 8, 3), np.uint8), "in/a.png")
        save_picture(np.zeros((8, 9, 3), np.uint8), "in/b.png")
        assert [status for status, _ in run("in")] == ["done", "failed"]

    def test_what_does_not_fit_into_the_memory(
        self, stylizer, save_picture, pixels, tmp_path, monkeypatch
    ) -> None:
        def fail(_rgb: np.ndarray) -> np.ndarray:
            raise MemoryError

        monkeypatch.setattr(stylizer, "transfer", fail)
        photo = str(save_picture(pixels))
        (outcome,) = stylize_files([photo], str(tmp_path / "out.png"), stylizer)
        assert "does not fit into the memory: give --size" in str(outcome.error)

    def test_more_pixels_than_allowed(self, run, save_picture, pixels) -> None:
        save_picture(pixels, "a.png")
        assert run("a.png", max_pixels=53 * 37 - 1) == [("failed", "out/a.png")]

    def test_heif_that_can_not_be_written(self, run, save_picture, pixels, monkeypatch) -> None:
        def missing(name: str) -> None:
            raise MissingExtraError(name)

        monkeypatch.setattr(formats_module, "register_heif", missing)
        save_picture(pixels, "a.png")
        with pytest.raises(MissingExtraError):
            run("a.png", o="a.heic")


def test_what_is_there_is_skipped_on_request(run, save_picture, pixels) -> None:
    save_picture(pixels, "in/a.png")
    save_picture(pixels, "in/b.png")
    Path("out").mkdir()
    Path("out/a.png").write_bytes(b"mine")
    assert run("in", skip_existing=True) == [("skipped", "out/a.png"), ("done", "out/b.png")]
    assert Path("out/a.png").read_bytes() == b"mine"
    assert run("in") == [("done", "out/a.png"), ("done", "out/b.png")]


class TestAnimations:
    @pytest.fixture
    def clip(self, tmp_path) -> str:
        frames = [Image.new("RGB", (32, 24), (shade, 10, 200)) for shade in (0, 100, 200)]
        frames[0].save(
            tmp_path / "in.gif",
            save_all=True,
            append_images=frames[1:],
            duration=[100, 250, 40],
            loop=3,
        )
        return "in.gif"

    @pytest.mark.parametrize(("name", "loop"), [("a.gif", 3), ("a.webp", 4), ("a.png", 4)])
    def test_frames_durations_and_repetitions_are_kept(self, run, clip, name, loop) -> None:
        run(clip, o=name)
        with Image.open(name) as image:
            assert (image.n_frames, image.info["loop"]) == (3, loop)
            shown, durations = [], []
            for index in range(3):
                image.seek(index)
                image.load()
                durations.append(image.info["duration"])
                shown.append(image.convert("RGB").getpixel((5, 5)))
        assert durations == [100, 250, 40]
        np.testing.assert_allclose(shown, [(255, 245, 55), (155, 245, 55), (55, 245, 55)], atol=6)

    def test_a_format_without_gets_the_first_frame_and_says_so(
        self, stylizer, clip, tmp_path
    ) -> None:
        (outcome,) = stylize_files([str(tmp_path / clip)], str(tmp_path / "a.jpg"), stylizer)
        assert outcome.notes == ("the first of 3 frames: JPEG holds no animation",)
        np.testing.assert_allclose(opened(tmp_path / "a.jpg")[5, 5], (255, 245, 55), atol=6)

    def test_all_frames_count_as_pixels(self, run, clip) -> None:
        assert run(clip, max_pixels=3 * 32 * 24) == [("done", "out/in.gif")]
        assert run(clip, max_pixels=3 * 32 * 24 - 1) == [("failed", "out/in.gif")]

    def test_one_that_is_cut_off_leaves_nothing(self, run, pixels, tmp_path) -> None:
        frames = [Image.fromarray(np.roll(pixels, shift, 0)) for shift in range(4)]
        frames[0].save(tmp_path / "cut.gif", save_all=True, append_images=frames[1:])
        content = Path("cut.gif").read_bytes()
        Path("cut.gif").write_bytes(content[: len(content) * 5 // 8])
        assert run("cut.gif") == [("failed", "out/cut.gif")]
        assert not list(Path().rglob("out/*"))


def test_a_further_page_is_not_left_out_in_silence(stylizer, pixels, tmp_path) -> None:
    page = Image.fromarray(pixels)
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    (outcome,) = stylize_files([str(tmp_path / "a.tif")], str(tmp_path / "b.tif"), stylizer)
    assert outcome.notes == ("the first of 2 pages",)


class TestStandardOutput:
    @pytest.mark.parametrize(
        ("name", "ending", "format_"),
        [
            ("a.png", None, "PNG"),
            ("a.jpg", None, "JPEG"),
            ("a.jpg", ".webp", "WEBP"),
            ("a.gif", None, "GIF"),
            ("a.bmp", None, "BMP"),
        ],
    )
    def test_in_the_format_asked_for_or_that_of_the_source(
        self, run, save_picture, pixels, capsysbinary, name, ending, format_
    ) -> None:
        save_picture(pixels, name)
        assert run(name, o="-", ending=ending) == [("done", "-")]
        with Image.open(io.BytesIO(capsysbinary.readouterr().out)) as image:
            assert (image.format, image.size) == (format_, (53, 37))

    def test_a_reader_that_went_away(self, run, save_picture, pixels, monkeypatch) -> None:
        save_picture(pixels, "a.png")
        reader, writer = os.pipe()
        os.close(reader)
        with open(writer, "wb") as sink:  # noqa: PTH123
            monkeypatch.setattr(
                sys,
                "stdout",
                SimpleNamespace(buffer=sink, isatty=lambda: False, fileno=sink.fileno),
            )
            assert run("a.png", o="-") == [("failed", "-")]


def test_an_address_to_a_folder(run, served, pixels) -> None:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    url = served.gives("/photos/x.png", stream.getvalue())
    assert run(url, limits=FetchLimits(allow_private=True)) == [("done", "out/x.png")]
    np.testing.assert_array_equal(read_picture(Path("out/x.png")).rgb, 255 - pixels)


class TestUnwritable:
    def test_under_a_file(self, run, save_picture, pixels, tmp_path) -> None:
        (tmp_path / "file").write_text("mine")
        save_picture(pixels, "a.png")
        assert run("a.png", o="file/out.png") == [("failed", "file/out.png")]
        assert (tmp_path / "file").read_text() == "mine"

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    @pytest.mark.parametrize("place", ["out.png", "/dev/full"])
    def test_a_full_device(self, run, save_picture, pixels, tmp_path, place) -> None:
        (tmp_path / "out.png").symlink_to("/dev/full")
        save_picture(pixels, "a.png")
        with pytest.raises(OutputError, match=r"No space left on device|it is a file"):
            run("a.png", o=place)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
    def test_a_folder_without_rights(self, run, save_picture, pixels, tmp_path) -> None:
        (tmp_path / "closed").mkdir(mode=0o500)
        save_picture(pixels, "a.png")
        assert run("a.png", o="closed/a.png") == [("failed", "closed/a.png")]

    def test_an_old_picture_survives_a_failure(
        self, run, save_picture, pixels, tmp_path, monkeypatch
    ) -> None:
        (tmp_path / "out.png").write_bytes(b"the old one")
        save_picture(pixels, "a.png")

        def fail(self: Path, target: Path) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(Path, "replace", fail)
        assert run("a.png", o="out.png") == [("failed", "out.png")]
        assert (tmp_path / "out.png").read_bytes() == b"the old one"
        left = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
        assert left == ["a.png", "out.png"]


def test_nothing_is_begun_where_two_would_land_on_one_name(run, save_picture, pixels) -> None:
    save_picture(pixels, "in/a.png")
    save_picture(pixels, "in/a.jpg")
    with pytest.raises(OptionError, match="would both be written"):
        run("in", ending=".webp")
    assert not Path("out").exists()
