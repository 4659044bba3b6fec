"""What --skip-existing knows of the pictures that are there."""

import dataclasses
import os
from pathlib import Path

import pytest

from nstc.core.files import cache_folder
from nstc.runtime.control import Control
from nstc.runtime.files import batch
from nstc.runtime.files.batch import BatchOptions, MadeBefore, settings_of, stylize_files
from nstc.runtime.stylizer import Stylizer


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch, save_picture, pixels) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.png", "in/sub/b.png"):
        save_picture(pixels, name)


@pytest.fixture
def run(bundle):
    def make(*, model=bundle, output="out", inputs=("in",), keep=False, **control):
        options = BatchOptions(skip_existing=True, keep_metadata=keep, control=Control(**control))
        done = stylize_files(inputs, output, Stylizer(model, threads=1), options)
        return [outcome.status for outcome in done]

    return make


@pytest.mark.parametrize(
    "changes",
    [
        {"strength": 0.5},
        {"size": 40},
        {"preserve_color": True},
        {"style_scale": 2.0},
        {"size": 40, "upscale_to_original": True},
        {"keep": True},
    ],
)
def test_what_was_made_with_other_settings_is_made_anew(run, changes) -> None:
    assert run() == ["done", "done"]
    assert run() == ["skipped", "skipped"]
    assert run(**changes) == ["done", "done"]
    assert run(**changes) == ["skipped", "skipped"]
    assert run() == ["done", "done"]


def test_another_model_or_another_of_its_files(run, make_bundle, tmp_path, bundle) -> None:
    run()
    other = make_bundle(tmp_path / "other", seed=7)
    assert run(model=other) == ["done", "done"]
    assert run(model=bundle) == ["done", "done"]
    run(model=other)
    assert settings_of(
        Stylizer(bundle, precision="float"), Control(), keep_metadata=False
    ) != settings_of(Stylizer(bundle), Control(), keep_metadata=False)


def test_one_picture_to_one_file(run) -> None:
    one = {"inputs": ("in/a.png",), "output": "x.png"}
    assert [run(**one), run(**one), run(**one, strength=0.5)] == [["done"], ["skipped"], ["done"]]


def test_nothing_is_left_beside_the_pictures(run) -> None:
    run()
    assert sorted(str(path) for path in Path("out").rglob("*")) == [
        "out/a.png",
        "out/sub",
        "out/sub/b.png",
    ]


@pytest.mark.parametrize("end", ["replaced", "forgotten", "spoilt"])
def test_what_is_not_known_is_left_and_said_to_be(run, bundle, end) -> None:
    run()
    if end == "replaced":
        Path("out/a.png").write_bytes(b"mine")
    for file in cache_folder("stylized").iterdir():
        if end == "forgotten":
            file.unlink()
        if end == "spoilt":
            file.write_bytes(b'\xff\n[1]\n{"name": []}\n{"name": "a.png"}\n{"na')
    options = BatchOptions(skip_existing=True, control=Control(strength=0.5))
    first, *_ = stylize_files(["in"], "out", Stylizer(bundle), options)
    assert first.status == "skipped"
    assert "settings that are not recorded" in first.notes[0]


def test_a_cache_that_can_not_be_written_is_no_obstacle(run, tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path / "file" / "cache"))
    assert run() == ["done", "done"]
    assert run(strength=0.5) == ["skipped", "skipped"]


def test_a_record_of_many_runs_is_written_afresh(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(batch, "_STALE", 3)
    (tmp_path / "a.png").write_bytes(b"1")
    for number in range(8):
        MadeBefore(str(number)).add(tmp_path / "a.png")
    assert MadeBefore("7").standing(tmp_path / "a.png") == "as asked"
    (file,) = cache_folder("stylized").iterdir()
    assert len(file.read_text().splitlines()) == 1


def test_a_limit_of_memory_changes_nothing_but_approximate_tiles_do(bundle) -> None:
    plain = Stylizer(bundle)
    assert plain.identity == Stylizer(bundle, threads=1).identity
    limited = dataclasses.replace(bundle)
    rough = Stylizer(limited, precision="float", max_ram_bytes=2**34, approximate_tiles=True)
    assert rough.identity != Stylizer(limited, precision="float").identity
    assert os.fspath(bundle.path) not in plain.identity
