import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from nstc.core import zoo
from nstc.core.bundle import open_bundle
from nstc.core.images import read_picture, resize_longer_side


@pytest.fixture
def own_zoo(make_bundle, tmp_path, monkeypatch):
    """A zoo of one style: two students and their teacher."""
    folder = tmp_path / "zoo"
    make_bundle(folder / "waves" / "student")
    for role in ("fast", "teacher"):
        shutil.copytree(folder / "waves" / "student", folder / "waves" / role)
    monkeypatch.setattr(zoo, "zoo_folder", lambda: folder)


def test_a_table_of_what_ships(nstc, own_zoo) -> None:
    done = nstc("models")
    assert done.code == 0, done.err
    header, _, *rows = done.out.splitlines()
    assert header.split()[:4] == ["name", "stage", "style", "artifacts"]
    assert [row.split()[:5] for row in rows] == [
        ["zoo:waves", "quantized", "negative", "int8.onnx,", "onnx"],
        ["zoo:waves/fast", "quantized", "negative", "int8.onnx,", "onnx"],
        ["zoo:waves/teacher", "quantized", "negative", "int8.onnx,", "onnx"],
    ]


def test_the_same_as_json(nstc, own_zoo) -> None:
    entries = json.loads(nstc("models", "--json").out)
    names = [entry["name"] for entry in entries]
    assert names == ["zoo:waves", "zoo:waves/fast", "zoo:waves/teacher"]
    assert entries[0]["artifacts"] == ["int8.onnx", "onnx"]
    assert entries[0]["speedup"] is None


def test_a_fast_student_runs_by_its_name(nstc, own_zoo, save_picture, pixels, tmp_path) -> None:
    photo, out = save_picture(pixels, "a.png"), tmp_path / "out.png"
    done = nstc("stylize", photo, "-m", "zoo:waves/fast", "-o", out)
    assert done.code == 0, done.err
    np.testing.assert_array_equal(read_picture(out).rgb, 255 - pixels)


def test_an_empty_zoo(nstc, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(zoo, "zoo_folder", lambda: tmp_path / "none")
    assert nstc("models").code == 0
    assert json.loads(nstc("models", "--json").out) == []


def test_the_figures_are_those_of_the_results_page(nstc) -> None:
    done = nstc("models")
    assert "medians over 32 photographs at 512x512 on cpu:2" in done.out
    results = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    taught = [name for name in zoo.zoo_students() if open_bundle(name).manifest.teacher]
    for name in taught:
        model = name.removeprefix("zoo:").replace("/", "-")
        (line,) = re.findall(rf"^\| {model}, int8.onnx \|.*$", results, re.MULTILINE)
        row = [cell.strip() for cell in line.split("|")]
        (shown,) = (text for text in done.out.splitlines() if text.startswith(f"{name} "))
        assert shown.split()[-2:] == [row[5].split()[0], row[6]]


def test_what_ships_can_be_listed(nstc) -> None:
    names = [entry["name"] for entry in json.loads(nstc("models", "--json").out)]
    assert "zoo:starry-night/teacher" in names


class TestSheet:
    def test_shows_the_photograph_and_every_student(
        self, nstc, own_zoo, photo_path, tmp_path
    ) -> None:
        done = nstc("models", "--sheet", photo_path, "-o", tmp_path / "sheet.png")
        assert done.code == 0, done.err
        assert done.out == f"wrote {tmp_path / 'sheet.png'}: zoo:waves, zoo:waves/fast\n"
        sheet = read_picture(tmp_path / "sheet.png").rgb.astype(int)
        shown = resize_longer_side(read_picture(photo_path).rgb, 512).astype(int)
        height, width = shown.shape[:2]
        assert sheet.shape[1] == 3 * width + 8
        assert np.array_equal(sheet[-height:, :width], shown)
        assert np.abs(sheet[-height:, -width:] - (255 - shown)).mean() < 3

    def test_says_what_it_wrote_as_json(self, nstc, own_zoo, photo_path, tmp_path) -> None:
        done = nstc("models", "--sheet", photo_path, "-o", tmp_path / "sheet.png", "--json")
        assert json.loads(done.out)["models"] == ["zoo:waves", "zoo:waves/fast"]

    @pytest.mark.parametrize("given", [["--sheet", "a.png"], ["-o", "b.png"]])
    def test_needs_both_a_photograph_and_a_place(self, nstc, given) -> None:
        done = nstc("models", *given)
        assert done.code != 0
        assert "go together" in done.err

    def test_never_writes_over_the_photograph(self, nstc, own_zoo, photo_path) -> None:
        before = photo_path.read_bytes()
        done = nstc("models", "--sheet", photo_path, "-o", photo_path)
        assert "name another output" in done.err
        assert photo_path.read_bytes() == before

    def test_a_file_that_is_no_picture(self, nstc, own_zoo, tmp_path) -> None:
        (tmp_path / "a.png").write_bytes(b"no picture")
        done = nstc("models", "--sheet", tmp_path / "a.png", "-o", tmp_path / "sheet.png")
        assert done.code != 0
        assert not (tmp_path / "sheet.png").exists()
