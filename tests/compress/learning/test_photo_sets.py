"""Data sets by name, with a stand-in for torchvision's downloads."""

import shutil
import urllib.error
from pathlib import Path

import pytest
import torchvision

from nstc.compress.learning.photo_sets import DATA_SETS, photos_of
from nstc.core.errors import OutputError, PhotosError
from nstc.core.photos import sample_photos


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


@pytest.fixture
def downloads(monkeypatch, save_picture, pixels):
    """Stands for `torchvision.datasets.Imagenette`: unpacks three photographs; keeps its calls."""
    calls = []

    def imagenette(root, *, download, split, size):
        calls.append((split, size, download))
        for place in ("n01/b.JPEG", "n01/a.JPEG", "n02/c.JPEG"):
            made = save_picture(pixels, "made.jpg")
            target = Path(root) / "imagenette2-320" / "train" / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(made, target)

    monkeypatch.setattr(torchvision.datasets, "Imagenette", imagenette)
    return calls


def test_a_data_set_is_downloaded_once_and_named_in_the_record(cache, downloads):
    photos = photos_of([Path("imagenette")])
    assert [path.name for path in photos] == ["a.JPEG", "b.JPEG", "c.JPEG"]
    assert photos.record().sets == ("imagenette",)
    assert all(path.is_relative_to(cache / "imagenette") for path in photos)
    assert photos_of([Path("imagenette")]) == photos
    assert downloads == [("train", "320px", True)]
    assert [path.name for path in cache.iterdir()] == ["imagenette"]


def test_folders_and_data_sets_go_together(cache, downloads, save_picture, pixels):
    folder = save_picture(pixels, "holiday/d.png").parent
    photos = photos_of([folder, Path("imagenette")])
    assert photos.names == ("holiday", "imagenette")
    assert [path.name for path in photos] == ["d.png", "a.JPEG", "b.JPEG", "c.JPEG"]


def test_a_folder_goes_before_a_data_set_of_its_name(
    cache, downloads, save_picture, pixels, monkeypatch, tmp_path
):
    save_picture(pixels, "imagenette/d.png")
    monkeypatch.chdir(tmp_path)
    assert [path.name for path in photos_of([Path("imagenette")])] == ["d.png"]
    assert downloads == []


def test_without_a_network_it_is_said_in_one_line_and_nothing_stays(cache, monkeypatch):
    def unreachable(root, **_arguments):
        (Path(root) / "half").write_text("of an archive")
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torchvision.datasets, "Imagenette", unreachable)
    with pytest.raises(PhotosError, match=r"can't download imagenette: .*not known.*Give a folder"):
        photos_of([Path("imagenette")])
    assert list(cache.iterdir()) == []


def test_a_broken_archive_is_a_photos_error(cache, monkeypatch):
    def broken(root, **_arguments):
        raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr(torchvision.datasets, "Flowers102", broken)
    with pytest.raises(PhotosError, match="can't download flowers102: File not found or corr"):
        photos_of([Path("flowers102")])


def test_a_cache_that_can_not_be_written_is_an_output_error(tmp_path, monkeypatch, downloads):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="datasets"):
        photos_of([Path("imagenette")])
    assert downloads == []


def test_neither_a_folder_nor_a_data_set():
    with pytest.raises(PhotosError, match=r"no folder at imagenet: .*imagenette, flowers102"):
        photos_of([Path("imagenet")])
    with pytest.raises(PhotosError, match="no folder at photos/of/none"):
        photos_of([Path("photos/of/none")])


def test_without_a_name_the_samples_are_used():
    assert photos_of([]) == sample_photos()


@pytest.mark.parametrize("name", DATA_SETS)
def test_torchvision_has_each_of_them(name):
    builder = getattr(torchvision.datasets, DATA_SETS[name].builder)
    assert issubclass(builder, torchvision.datasets.VisionDataset)
