"""What a device gets: the wheel alone, in an environment of its own, without torch."""

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from nstc.core import VERSION
from nstc.core.photos import sample_photos
from nstc.core.zoo import zoo_names

pytestmark = pytest.mark.base_install

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "src/nstc": "nstc",
    "models": "nstc/models",
    "compress": "nstc/compress",
    "runtime": "nstc/runtime",
    "benchmarks": "nstc/benchmarks",
}
MOST_MB = 300
"""The whole install, which torch alone would exceed."""

TRAINING_LIBRARIES = ("torch", "torchvision", "onnx", "safetensors", "skimage", "torch_pruning")


@pytest.fixture(scope="module")
def installing() -> ModuleType:
    """The script that builds and installs."""
    spec = importlib.util.spec_from_file_location("base_install", ROOT / "lab/base_install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheel(installing, tmp_path_factory) -> Path:
    return installing.built_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def device(installing, wheel, tmp_path_factory) -> Path:
    """The `bin` folder of an environment in which only the wheel was installed."""
    return installing.fresh_install(wheel, tmp_path_factory.mktemp("device") / "venv")


@pytest.fixture
def run(device, tmp_path):
    """Runs a command of the environment, away from the checkout."""

    def _run(*command) -> subprocess.CompletedProcess[str]:
        program, *arguments = command
        return subprocess.run(
            [device / program, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={"PATH": str(device), "HOME": str(tmp_path), "NSTC_CACHE": str(tmp_path / "cache")},
        )

    return _run


def test_the_wheel_holds_every_module_and_data_file(wheel) -> None:
    expected = {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, package in PACKAGES.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not _is_scrap(path.relative_to(ROOT))
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert sorted(expected - held) == []
    assert sorted(held - expected) == []


def test_no_training_library_comes_with_it(run) -> None:
    program = (
        "from importlib.util import find_spec;"
        f"print([name for name in {TRAINING_LIBRARIES} if find_spec(name)])"
    )
    assert run("python", "-c", program).stdout.strip() == "[]"


def test_its_packages_are_listed_with_their_sizes(installing, device, wheel) -> None:
    """`make base-sizes` prints them."""
    packages = {package.name: package for package in installing.installed_packages(device)}
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
    with zipfile.ZipFile(wheel) as archive:
        unpacked_mb = sum(file.file_size for file in archive.infolist()) / 1e6
    assert unpacked_mb < packages["nstc"].size_mb < 3 * unpacked_mb
    assert sum(package.size_mb for package in packages.values()) < MOST_MB


def test_the_command_names_its_version(run) -> None:
    done = run("nstc", "--version")
    assert (done.returncode, done.stdout.split()[-1]) == (0, VERSION), done.stderr


def test_a_photograph_is_stylised(run, bundle, tmp_path) -> None:
    photo, out = sample_photos().paths[0], tmp_path / "out.png"
    done = run("nstc", "stylize", photo, "-m", bundle.path, "-o", out)
    assert done.returncode == 0, done.stderr
    assert "out.png" in done.stdout
    with Image.open(out) as painted, Image.open(photo) as original:
        np.testing.assert_array_equal(np.asarray(painted), 255 - np.asarray(original))


@pytest.mark.skipif("zoo:starry-night" not in zoo_names(), reason="no student ships yet")
def test_the_shipped_student_paints(run, tmp_path) -> None:
    photo, out = sample_photos().paths[0], tmp_path / "out.png"
    done = run("nstc", "stylize", photo, "-o", out)
    assert done.returncode == 0, done.stderr
    with Image.open(out) as painted, Image.open(photo) as original:
        assert painted.size == original.size
        change = np.abs(np.asarray(painted).astype(int) - np.asarray(original)).mean()
    assert 10 < change < 150


def test_a_verb_that_needs_torch_says_what_to_install(run, tmp_path) -> None:
    done = run("nstc", "train", "--style", sample_photos().paths[0], "-o", tmp_path / "b")
    assert done.returncode == 5, done.stderr
    assert 'pip install "nstc[compress]"' in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "b").exists()


def _is_scrap(path: Path) -> bool:
    return any(part == "__pycache__" or part.endswith(".egg-info") for part in path.parts)
