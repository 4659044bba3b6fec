"""The zoo as a device has it, without nstc-models."""

import shutil
from pathlib import Path, PurePosixPath

import pytest

from nstc.core import VERSION, distributions, zoo
from nstc.core.distributions import is_of_models

LINE = f'comes with nstc-models, which is not installed: run  pip install "nstc-models=={VERSION}"'


@pytest.fixture
def device(tmp_path, monkeypatch) -> Path:
    """The zoo as a device has it."""
    whole, folder = zoo.zoo_folder(), tmp_path / "zoo"
    for path in whole.rglob("*"):
        inside = PurePosixPath(path.relative_to(whole).as_posix())
        if path.is_file() and not is_of_models("models" / ("zoo" / inside)):
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / inside)
    monkeypatch.setattr(zoo, "zoo_folder", lambda: folder)
    monkeypatch.setattr(distributions, "models_version", lambda: None)
    return folder
