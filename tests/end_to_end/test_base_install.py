"""What a device gets: the wheel of `nstc` alone, in an environment of its own, without torch.

And what the wheel of `nstc-models` adds to it.
"""

import json
import subprocess
import sys
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from lab.base_install import fresh_install, installed_packages
from lab.distributions import MOST_BYTES, Wheels, built_wheels
from lab.distributions import run as run_script
from PIL import Image

from nstc.core import VERSION
from nstc.core.distributions import MODELS, STAMP, is_of_models
from nstc.core.photos import sample_photos
from nstc.core.zoo import PACK, STUDENT_ROLES, zoo_names, zoo_students

pytestmark = pytest.mark.base_install

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "src/nstc": "nstc",
    "models": "nstc/models",
    "compress": "nstc/compress",
    "runtime": "nstc/runtime",
    "benchmarks": "nstc/benchmarks",
}
PHOTO = sample_photos().paths[0]
MOST_MB = 260
"""The whole install, which torch alone would exceed."""

TRAINING_LIBRARIES = ("torch", "torchvision", "onnx", "safetensors", "skimage", "torch_pruning")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Wheels:
    return built_wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module")
def device(wheels, tmp_path_factory) -> Path:
    """The `bin` folder of an environment in which only the wheel of `nstc` was installed."""
    return fresh_install(wheels.device, tmp_path_factory.mktemp("device") / "venv")


@pytest.fixture(scope="module")
def whole(device, wheels, tmp_path_factory) -> Path:
    """That of one with both wheels, which borrows the other packages of the device's."""
    folder = tmp_path_factory.mktemp("whole") / "venv"
    venv.create(folder)
    install = (sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install")
    run_script(*install, "--quiet", "--no-deps", *map(str, (wheels.device, wheels.models)))
    [own] = folder.glob("lib/python*/site-packages")
    [borrowed] = device.parent.glob("lib/python*/site-packages")
    (own / "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
    return folder / "bin"


def ran_in(programs: Path, home: Path, *command) -> subprocess.CompletedProcess[str]:
    """Run a command of an environment, away from the checkout."""
    program, *arguments = command
    return subprocess.run(
        [programs / program, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=home,
        env={"PATH": str(programs), "HOME": str(home), "NSTC_CACHE": str(home / "cache")},
    )


@pytest.fixture
def run(device, tmp_path):
    """Runs a command of the device's environment."""
    return lambda *command: ran_in(device, tmp_path, *command)


@pytest.fixture
def run_whole(whole, tmp_path):
    """Runs a command of the environment with both wheels."""
    return lambda *command: ran_in(whole, tmp_path, *command)


def held_by(wheel: Path) -> set[str]:
    """The files that a wheel installs, without its own records."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def metadata_of(wheel: Path):
    """What a wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [own for own in archive.namelist() if own.endswith(".dist-info/METADATA")]
        return HeaderParser().parsestr(archive.read(name).decode())


def test_each_module_and_data_file_is_in_one_of_the_wheels(wheels) -> None:
    expected = {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, package in PACKAGES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not _is_scrap(path.relative_to(ROOT))
    }
    rest = {name for name in expected if is_of_models(PurePosixPath(name).relative_to("nstc"))}
    assert sorted(held_by(wheels.models) ^ rest) == [f"nstc/{STAMP}"]
    assert sorted(held_by(wheels.device) ^ (expected - rest)) == []


def test_the_wheel_of_a_device_is_small(wheels) -> None:
    assert wheels.device.stat().st_size <= MOST_BYTES


def test_the_wheels_need_each_other_in_one_version(wheels) -> None:
    device, models = metadata_of(wheels.device), metadata_of(wheels.models)
    assert (device["Version"], models["Version"]) == (VERSION, VERSION)
    assert f'{MODELS}=={VERSION}; extra == "compress"' in device.get_all("Requires-Dist")
    assert models.get_all("Requires-Dist") == [f"nstc=={VERSION}"]
    assert "models/data/LICENSE-VGG16.md" in str(models.get_all("License-File"))
    assert "LICENSE-VGG16" not in str(device.get_all("License-File"))


def test_no_training_library_comes_with_it(run) -> None:
    program = (
        "from importlib.util import find_spec;"
        f"print([name for name in {TRAINING_LIBRARIES} if find_spec(name)])"
    )
    assert run("python", "-c", program).stdout.strip() == "[]"


def test_its_packages_are_listed_with_their_sizes(device, wheels) -> None:
    """`make base-sizes` prints them."""
    packages = {package.name: package for package in installed_packages(device)}
    asked_for = {
        "nstc",
        "numpy",
        "pillow",
        "onnxruntime",
        "typer",
        "rich",
        "platformdirs",
        "filelock",
    }
    assert asked_for <= set(packages)
    assert not {"pip", "setuptools"} & set(packages)
    assert packages["nstc"].version == VERSION
    with zipfile.ZipFile(wheels.device) as archive:
        unpacked_mb = sum(file.file_size for file in archive.infolist()) / 1e6
    assert unpacked_mb < packages["nstc"].size_mb < 3 * unpacked_mb
    assert sum(package.size_mb for package in packages.values()) < MOST_MB


def test_the_command_names_its_version(run) -> None:
    done = run("nstc", "--version")
    assert (done.returncode, done.stdout.split()[-1]) == (0, VERSION), done.stderr


def test_a_photograph_is_stylised(run, bundle, tmp_path) -> None:
    out = tmp_path / "out.png"
    done = run("nstc", "stylize", PHOTO, "-m", bundle.path, "-o", out)
    assert done.returncode == 0, done.stderr
    assert "out.png" in done.stdout
    with Image.open(out) as painted, Image.open(PHOTO) as original:
        np.testing.assert_array_equal(np.asarray(painted), 255 - np.asarray(original))


def test_the_shipped_student_paints(run, tmp_path) -> None:
    out = tmp_path / "out.png"
    done = run("nstc", "stylize", PHOTO, "-o", out)
    assert done.returncode == 0, done.stderr
    with Image.open(out) as painted, Image.open(PHOTO) as original:
        assert painted.size == original.size
        change = np.abs(np.asarray(painted).astype(int) - np.asarray(original)).mean()
    assert 10 < change < 150


def test_every_shipped_student_is_verified(run) -> None:
    done = run("nstc", "verify", *zoo_students(), "--json")
    assert done.returncode == 0, done.stderr
    found = {own["model"]: own["findings"] for own in json.loads(done.stdout)}
    assert sorted(found) == sorted(zoo_students())
    for findings in found.values():
        states = {(own["file"], own["check"]): own["state"] for own in findings}
        assert states["model.int8.onnx", "picture"] == "ok"
        assert states["model.int8.tiles.onnx", "picture"] == "ok"
        assert states["model.onnx", "content"] == "not checked"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("verify", "zoo:udnie/teacher"), "zoo:udnie/teacher"),
        (("stylize", PHOTO, "--precision", "float", "-o", "o.png"), "model.onnx of zoo:"),
    ],
)
def test_what_the_second_wheel_has_is_said_to_come_with_it(run, run_whole, arguments, wanted):
    done = run("nstc", *arguments)
    assert done.returncode == 5, done.stderr
    assert done.stderr.startswith(f"nstc: {wanted}")
    assert done.stderr.count("\n") == 1
    assert f'run  pip install "nstc-models=={VERSION}"' in done.stderr

    with_both = run_whole("nstc", *arguments)
    assert with_both.returncode == 0, with_both.stderr


def test_the_second_wheel_completes_the_models(run, run_whole) -> None:
    def installed(runs):
        done = runs("nstc", "models", "--json")
        assert done.returncode == 0, done.stderr
        return {own["name"] for own in json.loads(done.stdout) if own["installed"]}

    assert installed(run) == set(zoo_names((*STUDENT_ROLES, PACK)))
    assert installed(run_whole) == set(zoo_names())
    program = "from nstc.core.photos import sample_photos; print(len(sample_photos()))"
    assert run_whole("python", "-c", program).stdout.strip() == str(len(sample_photos()))


def test_a_verb_that_needs_torch_says_what_to_install(run, tmp_path) -> None:
    done = run("nstc", "train", "--style", PHOTO, "-o", tmp_path / "b")
    assert done.returncode == 5, done.stderr
    assert 'pip install "nstc[compress]"' in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "b").exists()


def _is_scrap(path: Path) -> bool:
    return any(part == "__pycache__" or part.endswith(".egg-info") for part in path.parts)
