import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from nstc.cli.app import app
from nstc.core.errors import ImageError, OptionError


def stylize(*arguments):
    return CliRunner().invoke(app, ["stylize", *map(str, arguments)], catch_exceptions=True)


def test_a_line_a_file_with_size_and_seconds(bundle, save_picture, pixels, tmp_path) -> None:
    photos = [save_picture(pixels, "a.png"), save_picture(pixels[:20], "b.png")]
    done = stylize(*photos, "-m", bundle.path, "-o", tmp_path / "out", "--threads", 1)
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [(line[0], line[1], line[3]) for line in lines] == [
        (str(tmp_path / "out" / "a.png"), "53x37", "s"),
        (str(tmp_path / "out" / "b.png"), "53x20", "s"),
    ]
    with Image.open(tmp_path / "out" / "a.png") as painted:
        np.testing.assert_array_equal(np.asarray(painted), 255 - pixels)


def test_the_artifact_can_be_chosen(make_bundle, save_picture, pixels, tmp_path) -> None:
    bundle = make_bundle(tmp_path / "b", artifacts=["float"])
    photo = save_picture(pixels)
    assert stylize(photo, "-m", bundle.path, "-o", tmp_path / "a.png").exit_code != 0
    done = stylize(photo, "-m", bundle.path, "-o", tmp_path / "b.png", "--artifact", "float")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "b.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "kind"), [(["--threads", "0"], OptionError), (["missing.png"], ImageError)]
)
def test_errors_reach_the_top(bundle, save_picture, pixels, tmp_path, arguments, kind) -> None:
    done = stylize(save_picture(pixels), *arguments, "-m", bundle.path, "-o", tmp_path / "out")
    assert isinstance(done.exception, kind)


def test_an_output_is_asked_for(bundle, save_picture, pixels) -> None:
    done = stylize(save_picture(pixels), "-m", bundle.path)
    assert done.exit_code == 2
    assert "--output" in done.output
