"""The command line as a user meets it: what is printed, and what the process exits with."""

import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from export_memory import exported_once
from short_turns import short_turns
from torch import nn

from nstc.cli.app import main, verb_command
from nstc.core.bundle import STYLE_FILE, WEIGHTS_FILE, Bundle, new_bundle, open_bundle
from nstc.core.manifest import Manifest, Style
from nstc.models.architectures import describe
from nstc.models.student import Student
from nstc.models.style import StyleStatistics
from nstc.models.tensors import save_tensors
from nstc.models.transformer import TransformerNet

__all__ = ["exported_once", "short_turns"]  # fixtures of every test here


@dataclass(frozen=True)
class Ended:
    """What a run left: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line that says what went wrong, the last one; lines of progress stand before."""
        assert "Traceback" not in self.err
        last = self.err.splitlines()[-1]
        assert last.startswith("nstc: ")
        assert self.err.count("nstc: ") == 1
        return last


Nstc = Callable[..., Ended]
Record = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def nstc(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nstc:
    """Runs a command line in this process."""
    monkeypatch.setenv("NSTC_DEBUG", "")  # what --debug sets ends with the test
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["nstc", *map(str, arguments)])
        capsys.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        assert isinstance(code, int)
        return Ended(code, out, err)

    return run


@pytest.fixture
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths land in the test's own folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    """Puts a stand-in for a function of the library, which keeps its arguments by name."""

    def replace(target: str, result: object = None) -> list[dict[str, Any]]:
        module, _, name = target.rpartition(".")
        signature = inspect.signature(getattr(importlib.import_module(module), name))
        calls: list[dict[str, Any]] = []

        def stand_in(*args: Any, **kwargs: Any) -> object:
            calls.append(dict(signature.bind(*args, **kwargs).arguments))
            if isinstance(result, BaseException):
                raise result
            return result

        monkeypatch.setattr(target, stand_in)
        return calls

    return replace


@pytest.fixture(scope="session")
def flags_of() -> Callable[[str], set[str]]:
    """The long names of a verb's options, as they are typed.

    Without those that hold for a whole verb before it begins: see test_limits_of_files.py.
    """

    def flags(verb: str) -> set[str]:
        parameters = [each for each in verb_command(verb).params if not each.name.startswith("_")]
        names = {name for parameter in parameters for name in parameter.opts}
        return {name for name in names if name.startswith("--")} - {"--help"}

    return flags


@pytest.fixture
def made() -> SimpleNamespace:
    """What stands for a bundle that a stand-in made."""
    return SimpleNamespace(path=Path("made"))


@pytest.fixture
def recipe_file(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a recipe."""

    def write(text: str) -> Path:
        path = tmp_path / "recipe.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def _bundle_of(network: nn.Module, path: Path, *, styled: bool) -> Bundle:
    architecture, contract = describe(network)
    style = Style(name="noise", source="painting", credit="Nobody") if styled else None
    manifest = Manifest(
        name=path.name, stage="trained", architecture=architecture, contract=contract, style=style
    )
    with new_bundle(path, manifest) as draft:
        save_tensors(network.state_dict(), draft / WEIGHTS_FILE)
        if styled:
            save_tensors(_statistics_of_noise().packed(), draft / STYLE_FILE)
    return open_bundle(path)


def _statistics_of_noise() -> StyleStatistics:
    channels = {"relu1_2": 64, "relu2_2": 128, "relu3_3": 256, "relu4_3": 512}
    generator = torch.Generator().manual_seed(4)
    noise = {name: torch.randn(c, 20, generator=generator) for name, c in channels.items()}
    return StyleStatistics({512: {name: x @ x.T / x.numel() for name, x in noise.items()}})


@pytest.fixture
def student_bundle(tmp_path: Path) -> Bundle:
    """A student of random weights, not exported yet."""
    torch.manual_seed(1)
    network = Student(16, [16]).eval()
    nn.init.normal_(network.head.weight, std=0.05)
    return _bundle_of(network, tmp_path / "student", styled=False)


@pytest.fixture
def teacher_bundle(tmp_path: Path) -> Bundle:
    """A tiny full-size network of random weights that brings its style."""
    torch.manual_seed(1)
    network = TransformerNet((8, 8, 16), (8,), (8, 8))
    network.prepare_for_training()
    return _bundle_of(network.eval(), tmp_path / "teacher", styled=True)


@pytest.fixture
def photo_folder(save_picture: Callable[..., Path], pixels: Any, tmp_path: Path) -> Path:
    """A folder of two photographs."""
    save_picture(pixels, "photos/a.png")
    save_picture(pixels[:, ::-1], "photos/b.png")
    return tmp_path / "photos"
