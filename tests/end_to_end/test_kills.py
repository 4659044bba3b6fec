"""Two hundred processes killed at any moment: nothing half-written, nothing lost, nothing left.

A kill comes at a random part of what the verb took when nobody killed it. Which moments that hits
depends on the machine; what must hold afterwards does not.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from whole_copies import whole_copy

from nstc.core.bundle import MANIFEST_FILE, STYLE_FILE, WEIGHTS_FILE, new_bundle, open_bundle
from nstc.core.manifest import Manifest, Style
from nstc.models.architectures import describe
from nstc.models.tensors import save_tensors
from nstc.models.transformer import TransformerNet

pytestmark = pytest.mark.kills

PATIENCE_S = 900
KILLS = {
    "file": 45,
    "folder": 45,
    "video": 40,
    "export": 25,
    "quantize": 20,
    "distill": 15,
    "compress": 10,
}
KILLS_BETWEEN_LOOKS = 5
"""After so many a run may end, and nothing of the killed ones may be left."""

TINY_RECIPE = """
[distill]
width = 16
blocks = 1
pixel_steps = 2
steps = 2
size = 64
perceptual_size = 64
batch = 1
perceptual_batch = 1
balance = false

[prune]
ratio = 0.5
steps = 1

[quantize]
calibration_photos = 1
calibration_size = 64

[bench]
size = 64
rounds = 3
targets = ["cpu:1"]
quality_photos = 1
"""


@dataclass
class Verb:
    """A command line, and what it may find and leave.

    Attributes:
        arguments: Of `nstc`.
        place: Everything that it reads and writes, its cache and temporary files among it.
        before: Restores what was there before a run.
        always: Files or bundles that are there at every moment, the old or the new.
    """

    arguments: list[str]
    place: Path
    before: Callable[[], None] = lambda: None
    always: tuple[str, ...] = ()
    took_s: float = field(default=0.0, init=False)

    def start(self) -> "subprocess.Popen[bytes]":
        caches = {"NSTC_CACHE": self.place / "cache", "TMPDIR": self.place / "tmp"}
        return subprocess.Popen(
            [sys.executable, "-m", "nstc", *self.arguments],
            cwd=self.place,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                **{name: str(path) for name, path in caches.items()},
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self) -> None:
        """To its end."""
        self.before()
        started = time.monotonic()
        with self.start() as process:
            _, told = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, told.decode(errors="replace")
        self.took_s = time.monotonic() - started

    def kill(self, part: float) -> bool:
        """After that part of its time, with all its children; False if it had ended before."""
        self.before()
        with self.start() as process:
            try:
                process.communicate(timeout=part * self.took_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        return process.returncode == -signal.SIGKILL

    def names(self) -> set[str]:
        return {str(path.relative_to(self.place)) for path in self.place.rglob("*")}


def check(verb: Verb) -> None:
    """Whatever has the name it was to get is whole."""
    for name in verb.always:
        assert (verb.place / name).exists(), f"{name} is gone"
    for path in verb.place.rglob("*"):
        inner = path.relative_to(verb.place)
        if any(part.startswith(".") for part in inner.parts) or inner.parts[0] == "tmp":
            continue  # drafts
        if path.suffix in {".png", ".jpg"}:
            with Image.open(path) as picture:
                picture.load()
        elif path.suffix == ".mp4":
            assert frames_of(path) == FRAMES
        elif path.suffix == ".json" and path.stat().st_size:
            json.loads(path.read_text(encoding="utf-8"))
        elif path.is_dir() and (path / MANIFEST_FILE).exists():
            bundle = open_bundle(path)
            for name in bundle.manifest.files:
                bundle.file(name)
        elif path.is_dir() and path.parent == verb.place and path.name in {"student", "small"}:
            pytest.fail(f"{path} holds no manifest")


FRAMES = 6


def frames_of(path: Path) -> int:
    import av

    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture
def place(tmp_path) -> Path:
    for name in ("cache", "tmp"):
        (tmp_path / name).mkdir()
    return tmp_path


def photo(path: Path, seed: int, size: tuple[int, int] = (48, 64)) -> Path:
    rgb = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(rgb).save(path)
    return path


def stylize(place: Path, inputs: str, output: str) -> list[str]:
    return ["stylize", inputs, "-m", "zoo:starry-night", "-o", output]


@pytest.fixture
def file(place) -> Verb:
    photo(place / "a.png", 1, (480, 640))
    photo(place / "out.png", 2)
    return Verb(stylize(place, "a.png", "out.png"), place, always=("out.png",))


@pytest.fixture
def folder(place) -> Verb:
    for number in range(8):
        photo(place / "in" / f"{number}.png", number, (240, 320))
        photo(place / "out" / f"{number}.png", number)
    made = tuple(f"out/{number}.png" for number in range(8))
    return Verb(stylize(place, "in", "out"), place, always=made)


@pytest.fixture
def video(place) -> Verb:
    av = pytest.importorskip("av")
    with av.open(str(place / "in.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        rng = np.random.default_rng(0)
        for _ in range(FRAMES):
            rgb = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb)))
        container.mux(stream.encode())
    shutil.copy(place / "in.mp4", place / "vo.mp4")
    return Verb(stylize(place, "in.mp4", "vo.mp4"), place, always=("vo.mp4",))


def shipped(place: Path, name: str) -> Path:
    return whole_copy("zoo:starry-night", place / name)


@pytest.fixture
def export(place) -> Verb:
    shipped(place, "student")
    arguments = ["export", "student", "--format", "onnx", "--static", "64x64"]
    return Verb(arguments, place, always=("student",))


@pytest.fixture
def quantize(place) -> Verb:
    shipped(place, "student")
    shipped(place, "small")
    arguments = ["quantize", "student", "-o", "small", "--mode", "weights"]
    return Verb(arguments, place, always=("small",))


def teacher(place: Path) -> Path:
    """One that computes next to nothing, in the shipped style."""
    torch.manual_seed(3)
    network = TransformerNet((8, 8, 8), (), (8, 8))
    architecture, contract = describe(network)
    style = Style(name="noise", source="painting")
    manifest = Manifest(
        name="t", stage="trained", architecture=architecture, contract=contract, style=style
    )
    with new_bundle(place / "teacher", manifest) as draft:
        save_tensors(network.state_dict(), draft / WEIGHTS_FILE)
        shutil.copy(open_bundle("zoo:starry-night/teacher").file(STYLE_FILE), draft / STYLE_FILE)
    photo(place / "photos" / "a.png", 1, (128, 128))
    photo(place / "photos" / "b.png", 2, (128, 128))
    (place / "recipe.toml").write_text(TINY_RECIPE, encoding="utf-8")
    return place / "teacher"


def learning(place: Path, verb: str, output: str) -> list[str]:
    teacher(place)
    return [verb, "teacher", "-o", output, "--photos", "photos", "--recipe", "recipe.toml"]


@pytest.fixture
def distill(place) -> Verb:
    shipped(place, "small")

    def without_cached_pictures() -> None:
        shutil.rmtree(place / "cache" / "teacher-outputs", ignore_errors=True)

    return Verb(learning(place, "distill", "small"), place, without_cached_pictures, ("small",))


@pytest.fixture
def compress(place) -> Verb:
    def from_the_beginning() -> None:
        """Every other time; a run that was killed is gone on with the other times."""
        if rng.random() < 0.5:
            shutil.rmtree(place / "out", ignore_errors=True)

    rng = random.Random(0)  # noqa: S311
    return Verb(learning(place, "compress", "out"), place, from_the_beginning)


@pytest.mark.parametrize("name", KILLS)
def test_nothing_is_half_written_lost_or_left(name, request) -> None:
    verb: Verb = request.getfixturevalue(name)
    verb.run()
    check(verb)
    expected = verb.names()
    rng = random.Random(name)  # noqa: S311
    killed = 0
    while killed < KILLS[name]:
        if not verb.kill(rng.random()):
            continue  # it was faster this time
        killed += 1
        check(verb)
        if killed % KILLS_BETWEEN_LOOKS == 0:
            verb.run()
            check(verb)
            assert verb.names() == expected
    print(f"{name}: killed {killed} times")  # noqa: T201  (shown by -s)
