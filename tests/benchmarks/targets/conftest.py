"""Stand-ins for ssh and adb: small programs on the PATH that speak their command lines."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nstc.benchmarks.timing import latency
from nstc.core.recipe import BenchRecipe
from nstc.runtime.onnx_session import OnnxSession

STAND_INS = Path(__file__).resolve().parent / "stand_ins"


@dataclass
class StandIn:
    """A program in place of one that talks to another machine.

    Attributes:
        folder: Where it keeps `plan.json`, which says how to behave, and `calls.jsonl`.
    """

    folder: Path

    def plan(self, **settings: Any) -> None:
        """How it is to behave from now on."""
        (self.folder / "plan.json").write_text(json.dumps(settings), encoding="utf-8")

    def calls(self) -> list[list[str]]:
        """The arguments of all calls."""
        log = self.folder / "calls.jsonl"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        return [json.loads(line) for line in lines]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], StandIn]:
    """Puts one on the PATH, before everything else."""

    def install(name: str) -> StandIn:
        folder = tmp_path / "stand-in"
        folder.mkdir()
        program = folder / name
        source = (STAND_INS / f"{name}.py").read_text(encoding="utf-8")
        program.write_text(f"#!{sys.executable} -IS\n{source}", encoding="utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        found = StandIn(folder)
        found.plan()
        return found

    return install


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> BenchRecipe:
    """Three quick rounds."""
    monkeypatch.setattr(latency, "PAUSE_S", 0.0)
    return BenchRecipe(size=16, rounds=3)


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (16, 16, 3), dtype=np.uint8)


@pytest.fixture
def sessions(tmp_path: Path, linear: Any, negative_bytes: Any) -> tuple[OnnxSession, OnnxSession]:
    """A reference and a candidate."""
    reference = linear(tmp_path / "models" / "teacher.onnx", 0.5, 0.25)
    candidate = negative_bytes(tmp_path / "models" / "it's $(a) name.onnx")
    return OnnxSession(reference, "onnx", 1), OnnxSession(candidate, "int8.onnx", 1)
