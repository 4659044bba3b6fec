import re
import sys
import tomllib
from pathlib import Path

import pytest
from lab import distributions
from lab.distributions import ROOT, staged

from nstc.core import VERSION
from nstc.core.distributions import STAMP

ADDRESS = "https://github.com/us/nstc"


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """The two source trees, with the README's links made whole."""
    folder = tmp_path_factory.mktemp("staged")
    (folder / "nstc").mkdir()
    (folder / "nstc" / "old.txt").write_text("of an earlier run")
    staged(folder, ADDRESS)
    return folder


def project_of(folder: Path):
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_what_trains_needs_the_models_of_the_same_version_once_released(sources):
    released = project_of(sources / "nstc")["optional-dependencies"]
    here = project_of(ROOT)["optional-dependencies"]
    assert released["compress"] == [f"nstc-models=={VERSION}", *here["compress"]]
    assert {**released, "compress": here["compress"]} == here
    models = project_of(sources / "nstc-models")
    assert (models["version"], models["dependencies"]) == (VERSION, [f"nstc=={VERSION}"])
    assert (sources / "nstc-models" / "nstc" / STAMP).read_text() == f"{VERSION}\n"
    assert not (sources / "nstc" / STAMP).exists()


@pytest.mark.parametrize("name", ["nstc", "nstc-models"])
def test_the_licences_of_what_is_inside_are_there(sources, name):
    for licence in project_of(sources / name)["license-files"]:
        assert (sources / name / licence).is_file()


def test_nothing_of_an_earlier_run_is_left(sources):
    assert not (sources / "nstc" / "old.txt").exists()


def test_a_folder_with_wheels_of_another_version_is_refused(tmp_path, monkeypatch):
    (tmp_path / "nstc-0.0.1-py3-none-any.whl").write_bytes(b"")
    monkeypatch.setattr(sys, "argv", ["distributions", str(tmp_path)])
    with pytest.raises(SystemExit, match="is not an empty folder: remove it, or name another"):
        distributions.main()


def test_the_readmes_links_lead_to_the_repository(sources):
    text = (sources / "nstc" / "README.md").read_text(encoding="utf-8")
    whole = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "](docs/" in whole
    assert "](docs/" not in text
    assert f"]({ADDRESS}/blob/v{VERSION}/docs/install.md)" in text
    assert f"]({ADDRESS}/raw/v{VERSION}/docs/images/zoo.jpg)" in text
    assert re.sub(rf"{ADDRESS}/\w+/v{VERSION}/", "", text) == whole
    assert project_of(sources / "nstc")["urls"] == {"Source": ADDRESS}
