"""The files of the included models, as they are in the package."""

import pytest

from nstc.core.bundle import STYLE_FILE, open_bundle
from nstc.core.zoo import zoo_folder, zoo_names


@pytest.mark.parametrize("name", zoo_names())
def test_each_is_whole(name):
    bundle = open_bundle(name)
    for file in bundle.manifest.files:
        assert bundle.file(file).is_file()


def test_statistics_are_there_once_a_style():
    held = sorted(path.relative_to(zoo_folder()) for path in zoo_folder().rglob(STYLE_FILE))
    assert [path.parts[1:] for path in held] == [(STYLE_FILE,)] * len(held)
