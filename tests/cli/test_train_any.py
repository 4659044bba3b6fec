"""`nstc pack train-any`, and paintings in `nstc stylize`."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from any_paintings import for_any, paintings, photos, train_tiny
from packed_students import *  # noqa: F403  (fixtures)
from recipe_flags import rows_of

from nstc.cli.style_flags import StyleFlags
from nstc.core.bundle import Bundle
from nstc.core.images import Picture, read_picture, write_picture
from nstc.core.photos import PhotoSet
from nstc.core.recipe import AnyRecipe
from nstc.runtime.packs.any_painting import ReadPainting, painting_of
from nstc.runtime.packs.style_pack import Pack
from nstc.runtime.stylizer import Stylizer

__all__ = ["for_any", "paintings", "photos", "train_tiny"]  # fixtures
FOR_THE_VERB = [
    ("--name", "small", "name", "small"),
    ("--init", "first", "init", "first"),
    ("--vgg", "torchvision", "vgg", "torchvision"),
    ("--preview-every", "5", "preview_every", 5),
    ("--resume", None, "resume", True),
]


@pytest.fixture
def train(nstc, record, paintings: PhotoSet, tmp_path: Path):
    """What `nstc pack train-any` asks of the library."""
    made = SimpleNamespace(path=Path("made"))
    calls = record("nstc.compress.predicting.train_any.train_any", made)
    folder = paintings.paths[0].parent

    def run(*arguments):
        done = nstc("pack", "train-any", "-o", tmp_path / "out", "--paintings", folder, *arguments)
        assert (done.code, done.out) == (0, "wrote made\n"), done.err
        return calls[-1]

    return run


@pytest.fixture
def photo(tmp_path: Path, pixels: np.ndarray) -> Path:
    write_picture(tmp_path / "photo.png", Picture(rgb=pixels))
    return tmp_path / "photo.png"


@pytest.mark.parametrize(("words", "field", "value"), rows_of(AnyRecipe))
def test_each_setting_arrives_in_the_recipe(train, words, field, value) -> None:
    assert train(*words)["recipe"] == AnyRecipe(**{field: value})


@pytest.mark.parametrize(("flag", "text", "field", "value"), FOR_THE_VERB)
def test_each_other_flag_arrives(train, flag, text, field, value) -> None:
    assert train(*([flag] if text is None else [flag, text]))[field] == value


def test_paintings_arrive_folder_by_folder(train, paintings: PhotoSet) -> None:
    assert train()["paintings"].paths == paintings.paths


def test_a_folder_without_paintings(nstc, tmp_path: Path) -> None:
    done = nstc("pack", "train-any", "-o", tmp_path / "out", "--paintings", tmp_path)
    assert done.code == 11
    assert f"no paintings in {tmp_path}" in done.error
    missing = tmp_path / "missing"
    done = nstc("pack", "train-any", "-o", tmp_path / "out", "--paintings", missing)
    assert "--paintings takes a folder of paintings" in done.error


def test_it_is_no_pack_of_styles(nstc, for_any: Bundle, paintings: PhotoSet, tmp_path) -> None:
    extract = ("extract", for_any.path, "-o", tmp_path / "one.onnx", "--style", paintings.paths[0])
    for words in (extract, ("show", for_any.path)):
        done = nstc("pack", *words)
        assert (done.code, "is for any painting, and no pack" in done.error) == (3, True), done.err


class TestStylize:
    def test_a_painting_is_a_style(
        self, nstc, for_any: Bundle, paintings: PhotoSet, photo: Path, tmp_path: Path
    ) -> None:
        style, output = paintings.paths[1], tmp_path / "out.png"
        asked = ("stylize", photo, "-o", output, "-m", for_any.path, "--threads", 1)
        done = nstc(*asked, "--style", style, "--json")
        assert done.code == 0, done.err
        assert json.loads(done.out)["strength_by"] == "pixels"
        expected = Stylizer(for_any, style=style, threads=1)(read_picture(photo).rgb)
        np.testing.assert_array_equal(read_picture(output).rgb, expected)

    def test_other_machines_get_the_paintings_pixels(
        self, for_any: Bundle, paintings: PhotoSet
    ) -> None:
        path = paintings.paths[1]
        flags = StyleFlags(style=str(path))
        chosen = flags.chosen_in_strength(for_any, 1.0, live=False)
        assert isinstance(chosen.style, ReadPainting)
        np.testing.assert_array_equal(chosen.style.pixels, painting_of(path))
        assert (chosen.style.name, chosen.painting) == (path.name, path)

    def test_the_painting_is_not_overwritten(
        self, nstc, for_any: Bundle, paintings: PhotoSet, photo: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "out"
        folder.mkdir()
        style = folder / photo.name
        content = paintings.paths[1].read_bytes()
        style.write_bytes(content)
        asked = ("-m", for_any.path, "--threads", 1, "--style", style)
        several = (photo, paintings.paths[0])
        video = ("--camera", "0", "--show", "-o", style)
        for words in ((photo, "-o", style), (*several, "-o", folder), video):
            done = nstc("stylize", *words, *asked)
            assert (done.code, "is the painting itself" in done.error) == (3, True), done.err
            assert style.read_bytes() == content

    def test_what_can_not_be(
        self, nstc, for_any: Bundle, shared_pack: Pack, photo: Path, tmp_path: Path
    ) -> None:
        asked = ("stylize", photo, "-o", tmp_path / "out.png", "-m")
        done = nstc(*asked, for_any.path, "--style", "missing.png")
        assert (done.code, "missing.png" in done.error) == (10, True)
        done = nstc(*asked, for_any.path, "--blend", "a=1,b=1")
        assert done.code == 3
        assert "this bundle is for any painting: give one, by --style" in done.error
        done = nstc(*asked, shared_pack.bundle.path, "--style", photo)
        assert done.code == 3
        assert "has no style" in done.error
        assert not (tmp_path / "out.png").exists()
