"""What an install without nstc-models can do, and what it says of the rest."""

from pathlib import PurePosixPath

import numpy as np
import pytest
from device_zoo import LINE, device

from nstc.core import photos, zoo
from nstc.core.bundle import open_bundle
from nstc.core.distributions import DEVICE_PHOTOS, is_of_models
from nstc.core.errors import CorruptBundleError, MissingExtraError
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
    teachers = set(zoo.zoo_names()) - set(zoo.zoo_students())
    assert {name for name, here in installed.items() if not here} == teachers


def test_nothing_is_missing_in_a_checkout() -> None:
    assert all(entry.installed for entry in zoo.list_zoo())


def test_the_samples_are_all_or_an_error(device, monkeypatch) -> None:
    """Whoever measures on a part of them would not know it."""
    monkeypatch.setattr(photos, "sample_photos", sample_photos.__wrapped__)
    with pytest.raises(MissingExtraError, match="a part of the sample photographs comes with"):
        photos_in([])
