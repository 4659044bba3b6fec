"""`nstc zoo build`: its flags, what it prints, and its exit code where a style fails."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from recipe_flags import rows_of

from nstc.compress.restyling.catalogue import StyleOutcome
from nstc.core.recipe import RestyleRecipe
from nstc.runtime.ray_jobs import OnRay

BUILD = "nstc.compress.restyling.catalogue.build_zoo"
MADE = StyleOutcome(name="one", status="made", path=Path("zoo/one"))
FAILED = StyleOutcome(name="two", status="failed", path=Path("zoo/two"), error="no picture.")


@pytest.fixture
def catalogue(tmp_path) -> Path:
    (tmp_path / "a.png").write_text("a painting")
    path = tmp_path / "catalogue.toml"
    path.write_text('[restyle]\ntime = "10min"\n[[styles]]\nname = "one"\npainting = "a.png"\n')
    return path


@pytest.mark.parametrize(("words", "field", "value"), rows_of(RestyleRecipe))
def test_each_setting_takes_the_place_of_the_catalogues(
    nstc, record, catalogue, tmp_path, words, field, value
) -> None:
    calls = record(BUILD, (MADE,))
    done = nstc("zoo", "build", catalogue, "-o", tmp_path / "zoo", *words)
    assert done.code == 0, done.err
    (style,) = calls[-1]["styles"]
    kept = {} if field in ("time", "steps") else {"time": "10min"}
    assert style.recipe == RestyleRecipe(**kept, **{field: value})


def test_no_flag_is_forgotten_here(flags_of) -> None:
    tested = {words[0] for words, *_ in rows_of(RestyleRecipe)}
    assert flags_of("zoo build") == tested | {
        "--output", "--photos", "--vgg", "--json", "--ray", "--workers", "--threads",
    }  # fmt: skip


def test_the_rest_arrives(nstc, record, catalogue, photo_folder, tmp_path) -> None:
    calls = record(BUILD, (MADE,))
    place = tmp_path / "zoo"
    arguments = ["--photos", photo_folder, "--vgg", "torchvision"]
    assert nstc("zoo", "build", catalogue, "-o", place, *arguments).code == 0
    assert (calls[0]["output"], calls[0]["vgg"]) == (place, "torchvision")
    assert [path.name for path in calls[0]["photos"]] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([], None),
        (["--ray"], OnRay(address="local")),
        (["--ray", "auto", "--workers", "3", "--threads", "2"],
         OnRay(address="auto", workers=3, threads=2)),
    ],
)  # fmt: skip
def test_where_it_runs(nstc, record, catalogue, tmp_path, words, asked) -> None:
    calls = record(BUILD, (MADE,))
    assert nstc("zoo", "build", catalogue, "-o", tmp_path / "zoo", *words).code == 0
    assert calls[0]["ray"] == asked


@pytest.mark.parametrize("flag", ["--workers", "--threads"])
def test_what_is_of_ray_needs_ray(nstc, record, catalogue, tmp_path, flag) -> None:
    calls = record(BUILD, (MADE,))
    done = nstc("zoo", "build", catalogue, "-o", tmp_path / "zoo", flag, "2")
    assert (done.code, calls) == (3, [])
    assert f"{flag} is of Ray: give --ray too." in done.error


def test_without_ray_the_line_that_installs_it_is_said(
    nstc, catalogue, save_picture, pixels, tmp_path, monkeypatch
) -> None:
    save_picture(np.tile(pixels, (2, 2, 1)), "a.png")
    monkeypatch.setitem(sys.modules, "ray", None)
    done = nstc("zoo", "build", catalogue, "-o", tmp_path / "zoo", "--ray")
    assert done.code == 5
    assert 'ray is not installed: run  pip install "nstc[ray]"' in done.error


def test_a_failing_style_is_named_at_the_end(nstc, catalogue, tmp_path, monkeypatch) -> None:
    def stand_in(*_, finished, **__):
        for outcome in (MADE, FAILED):
            finished(outcome)
        return MADE, FAILED

    monkeypatch.setattr(BUILD, stand_in)
    done = nstc("zoo", "build", catalogue, "-o", tmp_path / "zoo")
    assert done.code == 12
    assert done.out == "one: zoo/one\n"
    assert done.err.splitlines()[0] == "two failed: no picture."
    assert done.error.startswith("nstc: 1 of 2 styles failed: two.")
    done = nstc("zoo", "build", catalogue, "-o", tmp_path / "zoo", "--json")
    assert done.code == 12
    assert json.loads(done.out) == {
        "schema": "nstc.zoo/1",
        "styles": [
            {"name": "one", "status": "made", "path": "zoo/one", "error": None},
            {"name": "two", "status": "failed", "path": "zoo/two", "error": "no picture."},
        ],
    }


def test_a_wrong_catalogue_is_refused_before_any_work(nstc, record, tmp_path, catalogue) -> None:
    calls = record(BUILD, ())
    catalogue.write_text('[[styles]]\nname = "one"\npainting = "a.png"\ninit = "zoo:none"\n')
    done = nstc("zoo", "build", catalogue, "-o", tmp_path / "zoo")
    assert (done.code, calls) == (20, [])
    assert "no zoo:none in the zoo" in done.error
    done = nstc("zoo", "build", tmp_path / "missing.toml", "-o", tmp_path / "zoo")
    assert done.code == 4
    assert "can't read the catalogue" in done.error
    assert not (tmp_path / "zoo").exists()
