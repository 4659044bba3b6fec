"""Processors that this machine is not, under QEMU's user emulation."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
ARM64_TREE = ROOT / "runs" / "emulators" / "arm64"
PROGRAM = Path(__file__).with_name("run_graphs.py")

Results = Mapping[str, Mapping[str, np.ndarray]]
"""What each graph gave for each picture."""


@dataclass(frozen=True)
class Machine:
    """A processor, and the command that runs Python on it."""

    name: str
    python: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def run_graphs(self, folder: Path, output: Path) -> Results:
        """Run a folder's graphs, see `run_graphs.py`."""
        output.mkdir()
        done = subprocess.run(
            [*self.python, str(PROGRAM), str(folder), str(output)],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", **self.environment},
        )
        assert done.returncode == 0, f"{self.name}: {done.returncode}\n{done.stderr[-3000:]}"
        results = {}
        for file in sorted(output.glob("*.npz")):
            with np.load(file) as arrays:
                results[file.stem] = dict(arrays)
        return results


THIS = Machine("this machine", (sys.executable,))

AVX2 = Machine("x86 with AVX2 alone", ("qemu-x86_64-static", "-cpu", "Haswell-v4", sys.executable))

ARM = Machine(
    "Arm",
    (
        *("qemu-aarch64-static", "-cpu", "cortex-a76", "-L", str(ARM64_TREE)),
        str(ARM64_TREE / "usr" / "bin" / "python3.11"),
    ),
    {"PYTHONPATH": str(ARM64_TREE / "site")},
)


def require(machine: Machine) -> None:
    """Fail, with what to do, where a machine is not set up; skip what can't be set up here."""
    if machine is AVX2 and platform.machine() != "x86_64":
        pytest.skip("needs an x86 machine: its own Python is what is emulated")
    if shutil.which(machine.python[0]) is None or not Path(machine.python[-1]).exists():
        pytest.fail(f"{machine.name} is not set up: run `make emulators`")
