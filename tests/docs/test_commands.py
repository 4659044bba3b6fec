"""The commands of README, tutorials and guides, as a reader types them, in order, page by page.

Blocks marked `sh` and `python` are run in a folder with the files that pages speak of. What needs
another machine or changes this one is in `NOT_RUN`; verbs that train do so for two steps.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from nstc.core.bundle import open_bundle
from nstc.core.photos import sample_photos
from nstc.models.architectures import load

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs" / "tutorials").glob("*.md")),
    *sorted((ROOT / "docs" / "guides").glob("*.md")),
]

NOT_RUN = {
    "pip ": "changes this environment",
    "make ": "has a test of its own",
    "git ": "needs the address of a repository",
    "cd ": "belongs to git clone",
    "ssh": "needs another machine",
    "scp ": "needs another machine",
    "adb ": "needs a phone",
    "apt-get ": "changes this machine",
    "torchrun ": "tests/end_to_end trains on several processes",
    "nstc web-setup": "downloads from npm: make test-web",
    "--camera": "needs a camera",
    "--target ssh": "needs another machine",
    "--target 'ssh": "needs another machine",
    "--target adb": "needs a phone",
    "--target cuda": "needs a GPU",
    "--target web": "needs a browser: make test-web",
    "--target executorch": "needs the extra: make test-executorch",
    "--format executorch": "needs the extra: make test-executorch",
    "https://": "needs the network",
    "| display": "needs a screen",
}
"""Parts of commands that are not run, each with the reason."""

SHORT = {
    "train": "--steps 2 --size 64 --batch 1 --style-size 128",
    "distill": "--pixel-steps 1 --steps 1 --size 64 --crops 1 --no-balance",
    "prune": "--steps 1 --recipe short.toml",
    "quantize": "--calibration-photos 2 --calibration-size 64 --allow-slower",
    "compress": "--recipe short.toml",
    "bench": "--rounds 3 --size 64",
    "baseline update": "--rounds 3",
    "check": "--rounds 3 --max-rounds 3",
}
"""Flags that make a command short, written after those of the page, which they override."""

RECIPE = """
[distill]
width = 8
blocks = 1
pixel_steps = 1
steps = 1
size = 64
crops = 1
balance = false
[prune]
ratio = 0.25
steps = 1
round_to = 1
[quantize]
calibration_photos = 2
calibration_size = 64
[bench]
rounds = 3
size = 64
"""


def blocks_of(page: Path) -> list[tuple[str, str]]:
    """Language and text of each block that is run."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```(sh|python)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands_in(block: str) -> list[str]:
    """Of a block of shell, lines joined where a backslash ends them; comments are left out."""
    lines = block.replace("\\\n", " ").splitlines()
    return [command for line in lines if (command := line.partition("  #")[0].strip())]


def shortened(command: str) -> str:
    for verb, flags in SHORT.items():
        if command.startswith(f"nstc {verb} "):
            return f"{command} {flags}"
    return command


def is_run(command: str) -> bool:
    return not any(
        command.startswith(part) if part.endswith(" ") else part in command for part in NOT_RUN
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that pages speak of."""
    photos = {path.stem: path for path in sample_photos()}
    (tmp_path / "photos").mkdir()
    for name in ("chelsea", "coffee", "astronaut"):
        Image.open(photos[name]).resize((96, 80)).save(tmp_path / "photos" / f"{name}.jpg")
    for name in ("photo.jpg", "painting.jpg", "scan.jpg", "a.jpg", "b.png"):
        Image.open(photos["coffee"]).resize((160, 128)).save(tmp_path / name)
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height = 64, 48
        for level in range(4):
            grey = np.full((48, 64, 3), 60 * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode(None))
    for name, source in (("teacher", "zoo:the-scream/teacher"), ("small", "zoo:the-scream")):
        shutil.copytree(open_bundle(source).path, tmp_path / name)
    teacher = load("zoo:the-scream/teacher")
    torch.save(teacher.state_dict(), tmp_path / "fast_neural_style.pth")
    shutil.copy(tmp_path / "small" / "model.onnx", tmp_path / "network.onnx")
    (tmp_path / "short.toml").write_text(RECIPE)
    return tmp_path


@pytest.mark.docs
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_says_to_type_works(page: Path, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "NSTC_CACHE": str(folder / "cache")}
    for language, block in blocks_of(page):
        if language == "python":
            commands = [shlex.join([sys.executable, "-c", block])]
        else:
            commands = [shortened(each) for each in commands_in(block) if is_run(each)]
        for command in commands:
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=600,
            )
            # too noisy a machine to say
            expected = {0, 73} if command.startswith("nstc check ") else {0}
            assert done.returncode in expected, f"{command}\n{done.stdout}\n{done.stderr}"


def test_pages_have_commands_that_are_run() -> None:
    for page in PAGES:
        commands = [each for kind, block in blocks_of(page) for each in commands_in(block)]
        assert commands, f"{page.name} has no block marked sh"
        assert not re.findall(r"^ {4}nstc ", page.read_text(encoding="utf-8"), re.MULTILINE), (
            f"{page.name} has a command that no test runs: put it into a block marked sh"
        )
