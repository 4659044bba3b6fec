"""The folder for a board: what is in it, and that its script runs where there is no nstc."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from nstc.compress.export.export_model import export
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.errors import OptionError, OutputError
from nstc.runtime.verification import verify

# The script as a board would run it: the site's own packages, and no nstc among them.
ALONE = """
import runpy, sys
sys.path[:0] = {site!r}
sys.modules["nstc"] = None
sys.modules["torch"] = None
script, *arguments = sys.argv[1:]
sys.argv = [script, *arguments]
runpy.run_path(script, run_name="__main__")
"""


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """With -I, so that neither PYTHONPATH nor this folder can bring nstc in."""
    site = [str(Path(onnxruntime.__file__).parents[1])]
    command = [sys.executable, "-I", "-S", "-c", ALONE.format(site=site)]
    script = str(folder / "stylize.py")
    return subprocess.run(
        [*command, script, *map(str, arguments)], capture_output=True, text=True, cwd=folder
    )


@pytest.fixture(scope="module")
def written(make_network_bundle, student, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a bundle that holds weights alone."""
    place = tmp_path_factory.mktemp("board")
    export(make_network_bundle(student, place / "student"), formats=["folder"], output=place / "b")
    return place / "b"


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(written, tmp_path / "board"))


@pytest.fixture
def negative_folder(folder: Path, bundle: Bundle) -> Path:
    """With the graphs of another bundle: each gives the negative."""
    for name in ("model.int8.onnx", "model.onnx", "manifest.json"):
        shutil.copyfile(bundle.path / name, folder / name)
    return folder


def test_it_is_a_bundle_with_a_script_and_nothing_it_can_do_without(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "checks.json",
        "manifest.json",
        "model.onnx",
        "requirements.txt",
        "stylize.py",
        "weights.safetensors",
    ]
    assert not verify(folder).errors
    assert open_bundle(folder).artifacts == ("onnx",)


def test_its_float_network_paints_without_nstc(folder: Path, pixels, save_picture, tmp_path):
    from nstc.runtime.session import open_session

    photo = save_picture(pixels)
    done = run(folder, photo, tmp_path / "out.png")
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(tmp_path / "out.png") as painted:
        expected = open_session(folder, artifact="onnx").run(pixels)
        np.testing.assert_array_equal(np.asarray(painted), expected)


@pytest.mark.parametrize("model", [None, "model.onnx"])
def test_both_kinds_of_graph(negative_folder, pixels, save_picture, tmp_path, model) -> None:
    chosen = [] if model is None else ["--model", model]
    done = run(negative_folder, save_picture(pixels), tmp_path / "out.png", *chosen)
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(tmp_path / "out.png") as painted:
        np.testing.assert_array_equal(np.asarray(painted), 255 - pixels)


def test_alpha_is_kept(negative_folder, pixels, save_picture, tmp_path) -> None:
    alpha = pixels[..., :1]
    photo = save_picture(np.dstack([pixels, alpha]))
    assert run(negative_folder, photo, tmp_path / "out.png").returncode == 0
    with Image.open(tmp_path / "out.png") as painted:
        np.testing.assert_array_equal(np.asarray(painted), np.dstack([255 - pixels, alpha]))


def test_bad_input_is_one_line_and_leaves_nothing(negative_folder, save_picture, pixels, tmp_path):
    photo = save_picture(pixels)
    (tmp_path / "broken.png").write_bytes(photo.read_bytes()[:200])
    (tmp_path / "out").mkdir()
    for arguments in (
        [tmp_path / "broken.png", tmp_path / "out" / "a.png"],
        [tmp_path / "none.png", tmp_path / "out" / "a.png"],
        [photo, tmp_path / "out" / "a.unknown"],
        [photo, tmp_path / "nowhere" / "a.png"],
    ):
        done = run(negative_folder, *arguments)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("stylize: ")
    assert not list((tmp_path / "out").iterdir())


def test_a_damaged_network_is_not_run(negative_folder, save_picture, pixels, tmp_path) -> None:
    with (negative_folder / "model.int8.onnx").open("ab") as file:
        file.write(b"x")
    done = run(negative_folder, save_picture(pixels), tmp_path / "out.png")
    assert done.returncode == 1
    assert "damaged" in done.stderr


def test_it_is_written_alone_and_beside(student_bundle: Bundle, tmp_path: Path) -> None:
    for formats, output in ((["folder"], None), (["folder", "onnx"], tmp_path / "board")):
        with pytest.raises(OptionError, match="folder is written alone"):
            export(student_bundle, formats=formats, output=output)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="will not replace"):
        export(student_bundle, formats=["folder"], output=tmp_path / "full")
