import json

import numpy as np
import pytest
from PIL import Image

from nstc.core.images.label_maps import LabelMap, read_label_map

MASK = "nstc.compress.optimization.segmentation.mask"

FLAGS = [("--regions", "5", "regions", 5), ("--seed", "7", "seed", 7)]


@pytest.fixture
def photo(save_picture):
    """Blue above, brown below."""
    rgb = np.full((40, 50, 3), (90, 140, 230), np.uint8)
    rgb[20:] = (150, 110, 60)
    return save_picture(rgb)


@pytest.fixture
def found() -> LabelMap:
    return LabelMap(labels=np.array([[0, 0, 0, 1]], np.uint8), colors=((255, 0, 0), (0, 0, 9)))


@pytest.mark.parametrize(("flag", "text", "field", "value"), FLAGS)
def test_each_flag_arrives(nstc, record, found, flag, text, field, value) -> None:
    calls = record(MASK, found)
    assert nstc("mask", "a.jpg", "-o", "a.png", flag, text).code == 0
    assert calls[-1][field] == value


def test_another_map_and_its_picture_arrive(nstc, record, found, tmp_path) -> None:
    calls = record(MASK, found)
    done = nstc("mask", "a.jpg", "-o", "a.png", "--like", tmp_path / "b.png", tmp_path / "b.jpg")
    assert done.code == 0
    assert calls[-1]["like"] == (tmp_path / "b.png", tmp_path / "b.jpg")


def test_no_flag_is_forgotten_here(flags_of) -> None:
    assert flags_of("mask") == {row[0] for row in FLAGS} | {"--output", "--like", "--json"}


def test_the_table_and_the_json(nstc, record, found) -> None:
    record(MASK, found)
    lines = nstc("mask", "a.jpg", "-o", "a.png").out.splitlines()
    assert [line.split() for line in lines[2:4]] == [["#ff0000", "75.0"], ["#000009", "25.0"]]
    assert lines[-1] == "wrote a.png"
    assert json.loads(nstc("mask", "a.jpg", "-o", "a.png", "--json").out) == {
        "output": "a.png",
        "width": 4,
        "height": 1,
        "labels": [{"color": "#ff0000", "share": 0.75}, {"color": "#000009", "share": 0.25}],
    }


def test_a_map_is_written(nstc, photo, tmp_path) -> None:
    done = nstc("mask", photo, "-o", tmp_path / "map.png", "--regions", 2)
    assert done.code == 0, done.err
    assert read_label_map(tmp_path / "map.png").shares == pytest.approx((0.5, 0.5), abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["photo.png", "-o", "map.jpg"], 3, "does not end in .png"),
        (["photo.png", "-o", "photo.png"], 3, "which is an input too"),
        (["photo.png", "-o", "map.png", "--regions", "9"], 3, "regions is 9"),
        (["missing.png", "-o", "map.png"], 10, "there is no such file"),
        (["photo.png", "-o", "photo.png/map.png"], 40, "a file is where a folder is needed"),
        (["photo.png", "-o", "map.png", "--like", "noise.png", "photo.png"], 10, "colours"),
        (["photo.png", "-o", "map.png", "--like", "wide.png", "photo.png"], 3, "is 90x10"),
        (["photo.png"], 2, "--output"),
    ],
)
def test_what_is_refused(nstc, photo, tmp_path, monkeypatch, arguments, code, words) -> None:
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save("noise.png")
    Image.new("RGB", (90, 10)).save("wide.png")
    done = nstc("mask", *arguments)
    assert done.code == code
    assert words in done.error
    assert not (tmp_path / "map.png").exists()
