import hashlib
import tomllib
from pathlib import Path

import pytest
import yaml
from lab.conda_recipe import RECIPE, filled

from nstc.core import VERSION

ROOT = Path(__file__).parents[2]
PROJECTS = {
    "nstc": ROOT / "pyproject.toml",
    "nstc-models": ROOT / "release" / "nstc-models" / "pyproject.toml",
}
TEXT = RECIPE.read_text(encoding="utf-8")


def test_a_filled_recipe_is_of_the_sdists_that_were_built(tmp_path):
    nstc, models = (tmp_path / f"{name}-{VERSION}.tar.gz" for name in ("nstc", "nstc_models"))
    nstc.write_bytes(b"code")
    models.write_bytes(b"weights")

    text = filled(TEXT, tmp_path, "https://github.com/us/nstc")

    recipe = yaml.safe_load(text)
    assert recipe["context"] == {
        "version": VERSION,
        "python_min": "3.11",
        "sha256_nstc": hashlib.sha256(b"code").hexdigest(),
        "sha256_models": hashlib.sha256(b"weights").hexdigest(),
    }
    assert recipe["outputs"][0]["about"]["homepage"] == "https://github.com/us/nstc"


def test_without_the_sdists_there_is_no_recipe(tmp_path):
    with pytest.raises(FileNotFoundError):
        filled(TEXT, tmp_path, "https://github.com/us/nstc")


@pytest.mark.parametrize("name", PROJECTS)
def test_the_recipe_says_what_the_project_says(name):
    project = tomllib.loads(PROJECTS[name].read_text(encoding="utf-8"))["project"]
    [output] = [own for own in yaml.safe_load(TEXT)["outputs"] if own["package"]["name"] == name]
    needed = [own.replace(" ", "") for own in output["requirements"]["run"]]
    packages = [own for own in needed if not own.startswith(("python>", "${{"))]
    assert packages == [own for own in project["dependencies"] if not own.startswith("nstc")]
    assert project["requires-python"] == f">={yaml.safe_load(TEXT)['context']['python_min']}"
    assert output["about"]["license"] == project["license"]
    assert output["about"]["summary"].replace(" - ", ": ") == project["description"]
