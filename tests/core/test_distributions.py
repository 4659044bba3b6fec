"""What an install without nstc-models can do, and what it says of the rest."""

from importlib import resources
from pathlib import PurePosixPath

import numpy as np
import pytest
from device_zoo import LINE, device

from nstc.core import VERSION, distributions, photos, zoo
from nstc.core.bundle import Bundle, open_bundle, read_manifest
from nstc.core.distributions import DEVICE_PHOTOS, STAMP, is_of_models
from nstc.core.errors import CorruptBundleError, MissingExtraError, PhotosError
from nstc.core.photos import installed_samples, photos_in, sample_photos
from nstc.runtime.stylizer import Stylizer
from nstc.runtime.verification import verify

__all__ = ["device"]  # a fixture


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("models/data/LICENSE-VGG16.md", True),
        ("models/zoo/udnie/style.safetensors", True),
        ("models/zoo/udnie/student/model.onnx", True),
        ("models/zoo/udnie/teacher/weights.safetensors", True),
        ("core/samples/grass.jpg", True),
        ("models/zoo/udnie/teacher/manifest.json", False),
        ("models/zoo/udnie/fast/model.int8.tiles.onnx", False),
        ("models/zoo/seasons/pack/styles.json", False),
        ("models/zoo/seasons/pack/style-night.safetensors", False),
        ("models/zoo/seasons/pack/preview.jpg", True),
        ("core/samples/astronaut.jpg", False),
        ("core/samples/LICENSES.md", False),
        ("models/vgg.py", False),
        ("compress/card.py", False),
    ],
)
def test_each_file_is_of_one_distribution(path, expected) -> None:
    assert is_of_models(PurePosixPath(path)) is expected


def test_the_photographs_of_a_device_are_samples() -> None:
    assert {path.stem for path in installed_samples()} > set(DEVICE_PHOTOS)


@pytest.mark.parametrize("name", zoo.zoo_students())
def test_a_student_runs_and_is_verified(device, name) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)

    assert open_bundle(name).artifacts == ("int8.onnx", "int8.tiles.onnx")
    assert Stylizer(name)(rgb).shape == rgb.shape
    found = verify(name)
    assert found.errors == ()
    states = {own.file: own.state for own in found.findings if own.check == "content"}
    assert states["model.int8.onnx"] == "ok"
    assert states["model.onnx"] == states["weights.safetensors"] == "not checked"


def test_a_teacher_is_known_and_says_what_brings_it(device) -> None:
    expected = f"zoo:udnie/teacher {LINE}"
    with pytest.raises(MissingExtraError) as opened:
        open_bundle("zoo:udnie/teacher")
    assert str(opened.value) == expected
    with pytest.raises(MissingExtraError) as verified:
        verify("zoo:udnie/teacher")
    assert str(verified.value) == expected


def test_a_file_says_what_brings_it(device) -> None:
    bundle = open_bundle("zoo:udnie")
    with pytest.raises(MissingExtraError) as weights:
        bundle.file("weights.safetensors")
    assert str(weights.value) == f"weights.safetensors of zoo:udnie {LINE}"
    with pytest.raises(MissingExtraError) as of_style:
        bundle.file("style.safetensors")
    assert str(of_style.value) == f"style.safetensors of zoo:udnie {LINE}"
    with pytest.raises(MissingExtraError) as floats:
        Stylizer("zoo:udnie", precision="float")
    assert str(floats.value) == f"model.onnx of zoo:udnie {LINE}"


def test_what_every_install_has_is_damaged_if_it_is_missing(device) -> None:
    (device / "udnie" / "student" / "model.int8.onnx").unlink()
    with pytest.raises(CorruptBundleError, match=r"model\.int8\.onnx of zoo:udnie is missing"):
        open_bundle("zoo:udnie")


def test_the_list_knows_what_is_not_here(device) -> None:
    installed = {entry.name: entry.installed for entry in zoo.list_zoo()}
    teachers = set(zoo.zoo_names((zoo.TEACHER, zoo.PRUNED_TEACHER)))
    assert {name for name, here in installed.items() if not here} == teachers


def test_nothing_is_missing_in_a_checkout() -> None:
    assert all(entry.installed for entry in zoo.list_zoo())


def test_the_samples_are_all_or_an_error(device, monkeypatch) -> None:
    """Whoever measures on a part of them would not know it."""
    monkeypatch.setattr(photos, "sample_photos", sample_photos.__wrapped__)
    told = r"^7 of the 12 sample photographs come with nstc-models.*or give --photos FOLDER$"
    with pytest.raises(MissingExtraError, match=told):
        photos_in([])


def test_a_sample_that_is_missing_is_no_smaller_set(monkeypatch) -> None:
    monkeypatch.setattr(photos, "installed_samples", lambda: installed_samples()[1:])
    with pytest.raises(PhotosError, match="11 of the 12 sample photographs are here: install nstc"):
        sample_photos.__wrapped__()


@pytest.fixture
def of_version(tmp_path, monkeypatch):
    """Puts nstc-models there in a version, or as a checkout has it (None)."""

    def put(version: str | None) -> None:
        (tmp_path / "data").mkdir()
        if version is not None:
            (tmp_path / STAMP.relative_to("models")).write_text(f"{version}\n")
        monkeypatch.setattr(resources, "files", lambda _package: tmp_path)

    return put


@pytest.mark.parametrize(
    ("version", "expected"), [(VERSION, True), (None, True), ("0.0.9", False), ("", False)]
)
def test_the_files_of_another_version_are_none(of_version, version, expected) -> None:
    of_version(version)
    assert distributions.has_models() is expected


def test_an_older_nstc_models_is_named(device, monkeypatch) -> None:
    monkeypatch.setattr(distributions, "models_version", lambda: "0.0.9")
    monkeypatch.setattr(photos, "sample_photos", sample_photos.__wrapped__)
    told = rf"version '0\.0\.9' of it is installed, where {VERSION} is needed: run  pip install"
    for ask in (
        lambda: open_bundle("zoo:udnie/teacher"),
        lambda: open_bundle("zoo:udnie").file("model.onnx"),
        sample_photos.__wrapped__,
    ):
        with pytest.raises(MissingExtraError, match=told):
            ask()


def test_a_damaged_file_says_which_of_the_two_replaces_it(device, of_version, monkeypatch) -> None:
    monkeypatch.setattr(distributions, "models_version", lambda: VERSION)
    (device / "udnie" / "student" / "model.int8.onnx").write_bytes(b"")
    of_version(VERSION)
    student = Bundle(device / "udnie" / "student", read_manifest("zoo:udnie"))
    for name, package in (("model.int8.onnx", "nstc"), ("weights.safetensors", "nstc-models")):
        line = rf'run  pip install --force-reinstall --no-deps "{package}=={VERSION}"'
        with pytest.raises(CorruptBundleError, match=f"{line}$"):
            student.file(name)
