"""The shipped student with the file that runs tiles, which is made if it does not ship."""

import shutil
from pathlib import Path

import pytest

from nstc.compress.export.export_model import export
from nstc.core.bundle import TILES_ARTIFACT, Bundle, open_bundle


@pytest.fixture(scope="session")
def tiles_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    shipped = open_bundle("zoo:starry-night")
    if TILES_ARTIFACT in shipped.artifacts:
        return shipped
    path: Path = tmp_path_factory.mktemp("tiles") / "student"
    shutil.copytree(shipped.path, path)
    export(path, formats=["tiles"])
    return open_bundle(path)
