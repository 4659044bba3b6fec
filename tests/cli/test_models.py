import json
import shutil

import pytest

from nstc.core import zoo


@pytest.fixture
def own_zoo(make_bundle, tmp_path, monkeypatch):
    """A zoo of one student and its teacher."""
    folder = tmp_path / "zoo"
    make_bundle(folder / "waves" / "student")
    shutil.copytree(folder / "waves" / "student", folder / "waves" / "teacher")
    monkeypatch.setattr(zoo, "zoo_folder", lambda: folder)


def test_a_table_of_what_ships(nstc, own_zoo) -> None:
    done = nstc("models")
    assert done.code == 0, done.err
    header, _, *rows = done.out.splitlines()
    assert header.split()[:4] == ["name", "stage", "style", "artifacts"]
    assert [row.split()[:5] for row in rows] == [
        ["zoo:waves", "quantized", "negative", "int8.onnx,", "onnx"],
        ["zoo:waves/teacher", "quantized", "negative", "int8.onnx,", "onnx"],
    ]


def test_the_same_as_json(nstc, own_zoo) -> None:
    entries = json.loads(nstc("models", "--json").out)
    assert [entry["name"] for entry in entries] == ["zoo:waves", "zoo:waves/teacher"]
    assert entries[0]["artifacts"] == ["int8.onnx", "onnx"]
    assert entries[0]["speedup"] is None


def test_an_empty_zoo(nstc, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(zoo, "zoo_folder", lambda: tmp_path / "none")
    assert nstc("models").code == 0
    assert json.loads(nstc("models", "--json").out) == []


def test_what_ships_can_be_listed(nstc) -> None:
    names = [entry["name"] for entry in json.loads(nstc("models", "--json").out)]
    assert "zoo:starry-night/teacher" in names
