import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from nstc.cli.app import app
from nstc.core.errors import (
    ArtifactError,
    BatchError,
    ImageError,
    MemoryLimitError,
    MissingExtraError,
    OptionError,
)
from nstc.core.images import read_picture
from nstc.runtime.footprint import resident_bytes
from nstc.runtime.stylizer import Stylizer


def stylize(*arguments, **options):
    return CliRunner().invoke(app, ["stylize", *map(str, arguments)], **options)


@pytest.fixture
def folder(save_picture, pixels, tmp_path):
    """Two good photographs and a broken one between them."""
    save_picture(pixels, "in/a.png")
    save_picture(pixels[:20], "in/sub/c.png")
    (tmp_path / "in/b.png").write_bytes(b"no picture")
    return tmp_path / "in"


def test_a_line_a_file_with_size_and_seconds(bundle, save_picture, pixels, tmp_path) -> None:
    photos = [save_picture(pixels, "a.png"), save_picture(pixels[:20], "b.png")]
    done = stylize(*photos, "-m", bundle.path, "-o", tmp_path / "out", "--threads", 1)
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [(line[0], line[1], line[3]) for line in lines] == [
        (str(tmp_path / "out" / "a.png"), "53x37", "s"),
        (str(tmp_path / "out" / "b.png"), "53x20", "s"),
    ]
    assert done.stderr == "2 done, 0 skipped, 0 failed\n"
    with Image.open(tmp_path / "out" / "a.png") as painted:
        np.testing.assert_array_equal(np.asarray(painted), 255 - pixels)


class TestABatch:
    def test_a_bad_one_is_named_and_the_rest_is_done(self, nstc, bundle, folder, tmp_path) -> None:
        done = nstc("stylize", folder, "-m", bundle.path, "-o", tmp_path / "out")
        assert done.code == 12
        assert done.error.startswith("nstc: 1 of 3 pictures could not be stylised")
        assert done.err.splitlines()[0] == (
            f"{folder}/b.png is not a picture that Pillow can read: "
            "give a PNG, JPEG, WebP, GIF or TIFF file."
        )
        assert len(done.out.splitlines()) == 2
        assert (tmp_path / "out/sub/c.png").is_file()

    def test_as_json(self, nstc, bundle, folder, tmp_path) -> None:
        done = nstc("stylize", folder, "-m", bundle.path, "-o", tmp_path / "out", "--json")
        assert done.code == 12
        told = json.loads(done.out)
        assert told["schema"] == "nstc.stylize/1"
        assert (told["done"], told["skipped"], told["failed"]) == (2, 0, 1)
        assert [picture["status"] for picture in told["pictures"]] == ["done", "failed", "done"]
        first, bad, last = told["pictures"]
        assert (first["width"], first["height"], first["frames"]) == (53, 37, 1)
        assert bad["error"]["kind"] == "ImageError"
        assert bad["error"]["message"].startswith(f"{folder}/b.png is not a picture")
        assert last["output"] == str(tmp_path / "out/sub/c.png")

    def test_resumed(self, nstc, bundle, folder, tmp_path) -> None:
        call = ["stylize", folder, "-m", bundle.path, "-o", tmp_path / "out", "--skip-existing"]
        nstc(*call)
        done = nstc(*call)
        assert [line.split("  ")[1] for line in done.out.splitlines()] == [
            "skipped, it exists already"
        ] * 2
        assert "0 done, 2 skipped, 1 failed" in done.err

    def test_by_a_pattern_and_in_one_format(self, nstc, bundle, folder, tmp_path) -> None:
        out = tmp_path / "out"
        done = nstc(
            *("stylize", folder, "-m", bundle.path, "-o", out),
            *("--glob", "[ac].png", "--format", "jpeg"),
        )
        assert done.code == 0, done.err
        found = sorted(str(path.relative_to(out)) for path in out.rglob("*.*"))
        assert found == ["a.jpg", "sub/c.jpg"]

    def test_a_name_that_is_no_utf_8(self, bundle, save_picture, pixels, tmp_path) -> None:
        save_picture(pixels, "in/" + os.fsdecode(b"caf\xe9.png"))
        (tmp_path / "in" / os.fsdecode(b"bad\xe9.png")).touch()
        call = ["stylize", "in", "-m", str(bundle.path), "-o", "out", "--threads", "1"]
        done = subprocess.run(
            [sys.executable, "-m", "nstc", *call],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONUTF8": "1"},
        )
        assert done.returncode == 12, done.stderr
        assert done.stdout.startswith("out/caf\\udce9.png  53x37")
        assert done.stderr.startswith("in/bad\\udce9.png is empty")
        assert (tmp_path / "out" / os.fsdecode(b"caf\xe9.png")).is_file()


class TestPipes:
    def test_in_and_out(self, bundle, pixels) -> None:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        done = stylize("-", "-m", bundle.path, "-o", "-", input=stream.getvalue())
        assert done.exit_code == 0, done.stderr
        with Image.open(io.BytesIO(done.stdout_bytes)) as painted:
            np.testing.assert_array_equal(np.asarray(painted), 255 - pixels)
        assert done.stderr.startswith("standard input  53x37")

    def test_of_two_in_one_pipe_the_first_is_made_and_that_is_said(
        self, bundle, save_picture, pixels, tmp_path
    ) -> None:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        done = stylize(
            "-", "-m", bundle.path, "-o", tmp_path / "out.png", input=stream.getvalue() * 2
        )
        assert isinstance(done.exception, BatchError)
        assert "standard input holds more than one picture" in str(done.exception)
        np.testing.assert_array_equal(read_picture(tmp_path / "out.png").rgb, 255 - pixels)

        photo, folder = save_picture(pixels), tmp_path / "out"
        done = stylize("-", photo, "-m", bundle.path, "-o", folder, input=stream.getvalue() * 2)
        assert isinstance(done.exception, BatchError)
        assert done.stderr.startswith("standard input holds more than one picture")
        assert "2 done, 0 skipped, 0 failed" in done.stderr
        assert len(list(folder.iterdir())) == 2

    def test_json_and_a_picture_do_not_go_into_one_pipe(self, bundle, save_picture, pixels) -> None:
        done = stylize(save_picture(pixels), "-m", bundle.path, "-o", "-", "--json")
        assert isinstance(done.exception, OptionError)
        assert "both write to standard output" in str(done.exception)


class TestControl:
    def painted(self, bundle, save_picture, pixels, tmp_path, *arguments) -> np.ndarray:
        out = tmp_path / "out.png"
        done = stylize(save_picture(pixels), "-m", bundle.path, "-o", out, *arguments)
        assert done.exit_code == 0, done.output
        with Image.open(out) as image:
            return np.asarray(image)

    def test_strength(self, bundle, save_picture, pixels, tmp_path) -> None:
        result = self.painted(bundle, save_picture, pixels, tmp_path, "--strength", 0)
        np.testing.assert_array_equal(result, pixels)

    def test_colour(self, bundle, save_picture, tmp_path) -> None:
        grey = np.full((8, 8, 3), (150, 100, 100), np.uint8)
        result = self.painted(bundle, save_picture, grey, tmp_path, "--preserve-color")
        assert result[0, 0].tolist() == [175, 125, 125]

    @pytest.mark.parametrize(
        ("arguments", "shape"),
        [
            (["--size", 106], (74, 106, 3)),
            (["--size", 106, "--upscale-to-original"], (37, 53, 3)),
            (["--style-scale", 2], (37, 53, 3)),
        ],
    )
    def test_sizes(self, bundle, save_picture, pixels, tmp_path, arguments, shape) -> None:
        result = self.painted(bundle, save_picture, pixels, tmp_path, *arguments)
        assert result.shape == shape

    def test_extrapolation_is_warned_of_once(self, bundle, folder, tmp_path) -> None:
        done = stylize(folder, "-m", bundle.path, "-o", tmp_path / "out", "--strength", 1.5)
        assert done.stderr.count("strength is 1.5, outside of 0 to 1") == 1


def test_another_file_of_the_bundle(make_bundle, save_picture, pixels, tmp_path) -> None:
    bundle = make_bundle(tmp_path / "b", artifacts=["float"])
    photo = save_picture(pixels)
    assert stylize(photo, "-m", bundle.path, "-o", tmp_path / "a.png").exit_code != 0
    for flag in ("--artifact", "--precision"):
        out = tmp_path / f"{flag}.png"
        done = stylize(photo, "-m", bundle.path, "-o", out, flag, "float")
        assert done.exit_code == 0, done.output
        assert out.is_file()


@pytest.mark.parametrize(
    ("arguments", "kind", "told"),
    [
        (["--threads", "0"], OptionError, "threads"),
        (["--precision", "int4"], OptionError, "int8 or float"),
        (["--provider", "gpu"], OptionError, "provider is gpu"),
        (["--provider", "rknpu"], MissingExtraError, "not in the installed onnxruntime"),
        (["--metadata", "some"], OptionError, "keep or strip"),
        (["--format", "psd"], OptionError, "format is psd: expected one of bmp"),
        (["--max-pixels", "5"], ImageError, "the limit is 5e-06"),
        (["--max-pixels", "0"], OptionError, "max-pixels is 0"),
        (["--max-download-mb", "0"], OptionError, "max-download-mb is 0"),
        (["--timeout", "0"], OptionError, "timeout is 0"),
        (["--strength", "nan"], OptionError, "strength is nan"),
        (["--style-scale", "9"], OptionError, "style-scale is 9"),
        (["--size", "1"], OptionError, "size is 1"),
    ],
)
def test_what_can_not_be(bundle, save_picture, pixels, tmp_path, arguments, kind, told) -> None:
    done = stylize(save_picture(pixels), *arguments, "-m", bundle.path, "-o", tmp_path / "out")
    assert isinstance(done.exception, kind)
    assert told in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_an_address_of_this_machine(nstc, bundle, tmp_path) -> None:
    done = nstc("stylize", "http://localhost/a.png", "-m", bundle.path, "-o", tmp_path / "out")
    assert done.code == 13
    assert "--allow-private" in done.error


def test_an_output_is_asked_for(bundle, save_picture, pixels) -> None:
    done = stylize(save_picture(pixels), "-m", bundle.path)
    assert done.exit_code == 2
    assert "--output" in done.output


class TestMaxRam:
    @pytest.fixture
    def within(self, bundle, tmp_path):
        """By a file that can't be cut: the negative, in float."""

        def run(limit, *photos, options=()):
            common = ["-m", bundle.path, "-o", tmp_path / "out", "--threads", 1]
            return stylize(*photos, *common, "--max-ram", limit, "--artifact", "float", *options)

        return run

    def test_a_picture_that_fits(self, within, save_picture, pixels, tmp_path) -> None:
        done = within("64GB", save_picture(pixels))
        assert done.exit_code == 0, done.output
        with Image.open(tmp_path / "out" / "photo.png") as painted:
            np.testing.assert_array_equal(np.asarray(painted), 255 - pixels)

    def test_one_that_does_not(self, within, save_picture, pixels, tmp_path) -> None:
        done = within("1MB", save_picture(pixels))
        assert isinstance(done.exception, MemoryLimitError)
        assert "53x37 needs" in str(done.exception)
        assert "or --allow-approximate-tiles" in str(done.exception)
        assert not (tmp_path / "out").exists()

    def test_one_that_does_not_keeps_no_other_from_being_done(
        self, within, save_picture, pixels, tmp_path
    ) -> None:
        small, large = save_picture(pixels, "a.png"), tmp_path / "large.png"
        Image.new("RGB", (8000, 4000)).save(large)
        done = within(f"{resident_bytes() // 1000 + 100_000}KB", large, small)
        assert done.exit_code != 0
        assert "8000x4000 needs" in done.stderr
        assert "1 of 2 pictures could not be stylised" in str(done.exception)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]

    def test_a_student_without_the_file_for_tiles(
        self, nstc, bundle, save_picture, pixels, tmp_path
    ) -> None:
        options = ["-m", bundle.path, "-o", tmp_path / "out.png", "--max-ram", "64GB"]
        done = nstc("stylize", save_picture(pixels), *options)
        assert done.code == ArtifactError.exit_code
        assert f"nstc export {bundle.path} --format tiles" in done.error

    def test_an_animation_is_refused(self, within, save_picture, pixels, tmp_path) -> None:
        frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        done = within("64GB", tmp_path / "a.gif")
        assert isinstance(done.exception, OptionError)
        assert "is an animation" in str(done.exception)

    def test_memory_of_another_device(self, within, save_picture, pixels) -> None:
        done = within("64GB", save_picture(pixels), options=["--provider", "cuda"])
        assert isinstance(done.exception, OptionError)
        assert "provider is cuda" in str(done.exception)

    @pytest.mark.parametrize("limit", ["256", "lots", "-1MB"])
    def test_what_is_no_size(self, within, save_picture, pixels, limit) -> None:
        done = within(limit, save_picture(pixels))
        assert isinstance(done.exception, OptionError)


class TestWeightsAlone:
    """A bundle as teachers ship: no file that runs."""

    @pytest.fixture
    def photo(self, save_picture, pixels):
        return save_picture(pixels)

    def test_its_float_file_is_made_once_and_kept(self, nstc, teacher_bundle, photo, tmp_path):
        call = ["stylize", photo, "-m", teacher_bundle.path, "-o"]
        first = nstc(*call, tmp_path / "a.png")
        assert first.code == 0, first.err
        assert f"making model.onnx of {teacher_bundle.path}, once" in first.err
        again = nstc(*call, tmp_path / "b.png")
        assert (again.code, again.err) == (0, "")
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
        assert Stylizer(teacher_bundle).session.artifact == "onnx"

    def test_without_the_extra_the_reason_is_told(self, nstc, photo, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "nstc.compress.export.export_model", None)
        done = nstc("stylize", photo, "-m", "zoo:udnie/teacher", "-o", tmp_path / "a.png")
        assert done.code == 5
        assert "zoo:udnie/teacher holds no model.onnx, and making it needs" in done.error
        assert 'pip install "nstc[compress]"' in done.error

    def test_in_python_it_is_said_how_it_is_made(self):
        with pytest.raises(ArtifactError, match=r"holds no artifact .* exporting the model"):
            Stylizer("zoo:udnie/teacher")

    def test_int8_of_it_is_not_made(self, nstc, teacher_bundle, photo, tmp_path):
        call = ["stylize", photo, "-m", teacher_bundle.path, "-o", tmp_path / "a.png"]
        done = nstc(*call, "--precision", "int8")
        assert done.code == 23
        assert "nstc quantize" in done.error


def test_a_photograph_needs_no_extra(bundle, save_picture, pixels, tmp_path) -> None:
    photo, output = save_picture(pixels, "a.png"), tmp_path / "out.png"
    program = (
        "import sys\n"
        "for extra in ('av', 'torch', 'onnx', 'matplotlib', 'jinja2', 'pyvips'):\n"
        "    sys.modules[extra] = None\n"
        "from nstc.cli import main\n"
        f"sys.argv = ['nstc', 'stylize', {str(photo)!r}, '-m', {str(bundle.path)!r},"
        f" '-o', {str(output)!r}]\n"
        "main()"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert output.is_file()
