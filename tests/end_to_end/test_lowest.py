"""The lowest versions that pyproject.toml declares, in an environment of their own."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nstc.cli.app import VERBS
from nstc.core import VERSION
from nstc.core.photos import sample_photos

pytestmark = pytest.mark.lowest

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("heif", "report", "video")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PHOTO = sample_photos().paths[0]


@pytest.fixture(scope="module")
def lowest(tmp_path_factory) -> Path:
    """The `bin` folder of the environment."""
    folder = tmp_path_factory.mktemp("lowest")
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    subprocess.run(
        [sys.executable, "-m", "lab.lowest_install", folder, *extras], check=True, cwd=ROOT
    )
    return folder / "venv" / "bin"


@pytest.fixture
def run(lowest, tmp_path):
    """Runs a command of the environment, away from the checkout; every warning is an error."""

    def _run(program, *arguments):
        done = subprocess.run(
            [lowest / program, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "NSTC_CACHE": str(tmp_path / "cache"),
                "COLUMNS": "200",
            },
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return _run


def test_it_holds_the_lowest_versions(run) -> None:
    """Else nothing of what follows says anything of them."""
    program = (
        "import json; from importlib.metadata import distributions;"
        "print(json.dumps({own.metadata['Name']: own.version for own in distributions()}))"
    )
    found = json.loads(run("python", "-I", "-c", program).stdout)
    held = {name.lower().replace("_", "-"): version for name, version in found.items()}
    named = [*PROJECT["dependencies"]]
    for extra in EXTRAS:
        named += PROJECT["optional-dependencies"][extra]
    for requirement in named:
        name, bound = re.match(r"([a-z0-9-]+)(?:\[[a-z,]+\])?>=([0-9.]+)", requirement).groups()
        assert (name, held[name]) == (name, _full(bound, held[name]))


def _full(bound: str, like: str) -> str:
    """18 as 18.0.0, where that is how the package counts."""
    parts = bound.split(".")
    return ".".join([*parts, *["0"] * (like.count(".") + 1 - len(parts))])


def test_the_version(run) -> None:
    assert run("nstc", "--version").stdout == f"nstc {VERSION}\n"


def test_help_and_mistakes(run) -> None:
    assert "distill" in run("nstc", "--help").stdout
    assert run("nstc").returncode == 2
    assert run("nstc", "stylize", PHOTO, "--fast").returncode == 2
    assert run("nstc", "verify", "nothing").returncode == 20


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(run, verb) -> None:
    done = run("nstc", *verb.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"nstc {verb}" in done.stdout


def test_what_is_there_is_listed(run) -> None:
    assert len(json.loads(run("nstc", "models", "--json").stdout)) > 4
    assert run("nstc", "targets").returncode == 0
    assert "onnxruntime" in run("nstc", "doctor").stdout
    done = run("nstc", "verify", "zoo:starry-night")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", ["--max-ram", "400MB"]),
        ("a.tiff", ["--precision", "float"]),
        ("a.jpg", ["--strength", "0.5"]),
        ("a.webp", []),
        ("a.heic", []),
    ],
)
def test_pictures(run, tmp_path, name, options) -> None:
    """The same as with the newest versions, but for what encoders lose."""
    options += ["--size", "128"]
    done = run("nstc", "stylize", PHOTO, "-o", tmp_path / name, *options)
    assert done.returncode == 0, done.stderr
    back = run("nstc", "stylize", tmp_path / name, "--strength", "0", "-o", tmp_path / "b.png")
    assert back.returncode == 0, back.stderr
    subprocess.run(
        [sys.executable, "-m", "nstc", "stylize", PHOTO, "-o", tmp_path / "here.png", *options],
        check=True,
        capture_output=True,
    )
    with Image.open(tmp_path / "b.png") as there, Image.open(tmp_path / "here.png") as here:
        difference = np.asarray(there.convert("RGB")).astype(int) - np.asarray(here)
    assert np.abs(difference).mean() < (1 if name in {"a.png", "a.tiff"} else 12)


def test_a_video(run, tmp_path) -> None:
    make = (
        "import av, numpy as np\n"
        "with av.open('in.mp4', 'w') as film:\n"
        "    stream = film.add_stream('libx264', rate=25)\n"
        "    stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'\n"
        "    for value in range(5):\n"
        "        picture = np.full((48, 64, 3), 40 * value, np.uint8)\n"
        "        film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, 'rgb24')))\n"
        "    film.mux(stream.encode())\n"
    )
    assert run("python", "-c", make).returncode == 0
    done = run("nstc", "stylize", tmp_path / "in.mp4", "-o", tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    assert "5 frames" in done.stdout


def test_a_report(run, tmp_path) -> None:
    done = run(
        "nstc", "report", ROOT / "docs" / "reports" / "zoo-report.json", "-o", tmp_path / "r.html"
    )
    assert done.returncode == 0, done.stderr
    assert "<svg" in (tmp_path / "r.html").read_text(encoding="utf-8")
