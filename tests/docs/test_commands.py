"""The commands of README and documentation, as a reader types them, in order, page by page.

Blocks marked `sh` and `python` are run in a folder with the files that pages speak of, whichever
page has them. What needs another machine or changes this one is in `NOT_RUN`; verbs that train do
so for two steps.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from packed_students import members
from PIL import Image
from whole_copies import whole_copy

from nstc.core.bundle import Bundle
from nstc.core.photos import sample_photos
from nstc.models.architectures import load

__all__ = ["members"]  # a fixture

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TYPED = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TO_DO = [  # pages that readers follow with a terminal beside them
    ROOT / "README.md",
    *sorted(
        path for room in ("tutorials", "guides", "deploy") for path in DOCS.glob(f"{room}/*.md")
    ),
]
LOOKED_UP = [  # others that have commands all the same
    path
    for path in sorted(DOCS.rglob("*.md"))
    if path not in TO_DO and TYPED.search(path.read_text(encoding="utf-8"))
]

NOT_RUN = {
    "pip ": "changes this environment",
    "cp -r integrations/": "needs ComfyUI: tests/integrations calls the node",
    "python examples/gradio_demo.py": "serves until it is stopped: make test-integrations",
    "pre-commit ": "changes a repository of yours: make test-integrations",
    "docker ": "needs Docker",
    "sudo ": "changes this machine",
    "git ": "needs a repository of yours",
    "cd ": "belongs to git clone",
    "./build.sh ": "needs the Android SDK",
    "ssh": "needs another machine",
    "scp ": "needs another machine",
    "adb ": "needs a phone",
    "apt-get ": "changes this machine",
    "convert ": "needs ImageMagick",
    "g++ ": "needs ONNX Runtime's headers: make test-deploy builds the program",
    "./stylize ": "is built by the line above: make test-deploy runs it",
    "python -m http.server": "serves until it is stopped: make test-deploy opens the page",
    "nstc serve": "serves until it is stopped: tests/cli/test_serve.py opens the page",
    "nstc search": "takes hours: tests/compress/searching searches in small",
    "jupyter ": "serves until it is stopped: make test-notebook runs the notebook",
    "torchrun ": "tests/end_to_end trains on several processes",
    "nstc web-setup": "downloads from npm: make test-web",
    "--camera": "needs a camera",
    "--show": "opens a window: tests/runtime/video/test_displays.py opens one",
    "--ray": "needs the extra: make test-ray",
    "cluster.yaml": "needs a cloud",
    "--target ssh": "needs another machine",
    "--target 'ssh": "needs another machine",
    "--target adb": "needs a phone",
    "--target cuda": "needs a GPU",
    "--target instructions": "needs Valgrind",
    "--target web": "needs a browser: make test-web",
    "--target opencv": "needs the extra: make test-everywhere",
    "--target litert": "needs the extra: make test-everywhere",
    "--target executorch": "needs the extra: make test-executorch",
    "--format web": "needs what nstc web-setup fetches: make test-web",
    "--format coreml": "needs the extra: make test-everywhere",
    "--format litert": "needs the extra: make test-everywhere",
    "--format executorch": "needs the extra: make test-executorch",
    "hf:": "needs a hub: tests/cli/test_hub.py has one on this machine",
    "https://": "needs the network",
}
"""Parts of commands that are not run, each with the reason."""

SHORT = {
    "train": "--steps 2 --size 64 --batch 1 --style-size 128",
    "distill": "--pixel-steps 1 --steps 1 --size 64 --crops 1 --no-balance",
    "share": "--steps 1 --size 64 --no-balance",
    "restyle": "--size 64 --steps 2",
    "pack train-any": "--size 64 --steps 2 --preview-every 2",
    "zoo build": "--size 64 --steps 2",
    "optimize": "--size 64 --steps 2",
    "prune": "--steps 1 --recipe short.toml",
    "quantize": "--calibration-photos 2 --calibration-size 64 --allow-slower",
    "compress": "--recipe short.toml",
    "bench": "--rounds 3 --size 64 --optimize-steps 2",
    "baseline update": "--rounds 3",
}
"""Flags that make a command short, written after those of the page, which they override."""

CATALOGUE = """
[[styles]]
name = "field"
painting = "painting.jpg"
"""

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
    return TYPED.findall(page.read_text(encoding="utf-8"))


def name_of(page: Path) -> str:
    """Its path in the checkout, for `pytest -k`."""
    return page.relative_to(ROOT).with_suffix("").as_posix()


def commands_in(block: str) -> list[str]:
    """Of a block of shell, lines joined where a backslash ends them; comments are left out."""
    lines = block.replace("\\\n", " ").splitlines()
    return [command for line in lines if (command := line.partition("  #")[0].strip())]


def shortened(command: str) -> str:
    for verb, flags in SHORT.items():
        if command.startswith(f"nstc {verb} "):
            return f"{command} {flags}"
    return command


def is_left_out(command: str, part: str) -> bool:
    """Whether a part of `NOT_RUN`, at its start where it ends in a space, keeps it from running."""
    return command.startswith(part) if part.endswith(" ") else part in command


def is_run(command: str) -> bool:
    return not any(is_left_out(command, part) for part in NOT_RUN)


@pytest.fixture
def folder(tmp_path: Path, styled: Callable[..., Path], members: tuple[Bundle, Bundle]) -> Path:
    """The files that pages speak of."""
    for member in members:
        shutil.copytree(member.path, tmp_path / member.name)
    photos = {path.stem: path for path in sample_photos()}
    (tmp_path / "photos").mkdir()
    for name in ("chelsea", "coffee", "astronaut"):
        Image.open(photos[name]).resize((96, 80)).save(tmp_path / "photos" / f"{name}.jpg")
    for name in ("photo.jpg", "painting.jpg", "scan.jpg", "a.jpg", "b.png"):
        Image.open(photos["coffee"]).resize((160, 128)).save(tmp_path / name)
    for name in ("chelsea", "coffee"):
        (tmp_path / "paintings").mkdir(exist_ok=True)
        Image.open(photos[name]).resize((160, 128)).save(tmp_path / "paintings" / f"{name}.jpg")
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height = 64, 48
        for level in range(4):
            grey = np.full((48, 64, 3), 60 * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode(None))
    for name, source in (("teacher", "zoo:the-scream/teacher"), ("small", "zoo:the-scream")):
        whole_copy(source, tmp_path / name)
    teacher = load("zoo:the-scream/teacher")
    torch.save(teacher.state_dict(), tmp_path / "fast_neural_style.pth")
    shutil.copy(tmp_path / "small" / "model.onnx", tmp_path / "network.onnx")
    styled(tmp_path / "styles.onnx", "weights")
    styled(tmp_path / "any-style.onnx", "painting")
    (tmp_path / "short.toml").write_text(RECIPE)
    (tmp_path / "catalogue.toml").write_text(CATALOGUE)
    (tmp_path / "docs").symlink_to(DOCS)  # programs that pages copy or compile
    return tmp_path


@pytest.mark.docs
@pytest.mark.parametrize("page", [*TO_DO, *LOOKED_UP], ids=name_of)
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


@pytest.mark.parametrize("page", TO_DO, ids=name_of)
def test_pages_have_commands_that_are_run(page: Path) -> None:
    commands = [each for kind, block in blocks_of(page) for each in commands_in(block)]
    assert commands, "no block is marked sh"
    assert not re.findall(r"^ {4}nstc ", page.read_text(encoding="utf-8"), re.MULTILINE), (
        "a command that no test runs: put it into a block marked sh"
    )


def test_every_reason_is_of_a_command_that_a_page_has() -> None:
    commands = [
        command
        for page in (*TO_DO, *LOOKED_UP)
        for kind, block in blocks_of(page)
        for command in (commands_in(block) if kind == "sh" else [])
    ]
    spare = [part for part in NOT_RUN if not any(is_left_out(own, part) for own in commands)]
    assert spare == [], "nothing is left out for these reasons any more"
