import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from nstc.core.errors import CorruptBundleError, ImageError, MissingExtraError
from nstc.runtime.programs import TorchScriptSession


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    """A trace of 2x - 0.5, which leaves the range at both ends."""
    import torch

    path = tmp_path_factory.mktemp("ts") / "model.ts"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.* is deprecated")
        traced = torch.jit.trace(lambda x: 2 * x - 0.5, torch.rand(1, 3, 8, 8))
        torch.jit.save(traced, str(path))
    return path


def test_a_trace_runs_at_any_size_and_is_clipped(script) -> None:
    session = TorchScriptSession(script, "ts")
    rgb = np.array([[[0, 255, 102], [102, 102, 102]]], dtype=np.uint8)  # 2 * 0.4 - 0.5 = 0.3
    assert session.run(rgb).tolist() == [[[0, 255, 76], [76, 76, 76]]]
    assert session.run(np.zeros((5, 40, 3), np.uint8)).shape == (5, 40, 3)


def test_a_damaged_file_is_one_line(script, tmp_path) -> None:
    damaged = tmp_path / "model.ts"
    damaged.write_bytes(script.read_bytes()[:100])
    with pytest.raises(CorruptBundleError, match=r"model\.ts can't be loaded") as caught:
        TorchScriptSession(damaged, "ts")
    assert "\n" not in str(caught.value)


def test_an_array_that_is_no_picture_is_refused(script) -> None:
    with pytest.raises(ImageError, match="uint8"):
        TorchScriptSession(script, "ts").run(np.zeros((4, 4), np.uint8))


def test_without_torch_it_says_what_to_install(script, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'pip install "nstc\[compress\]"'):
        TorchScriptSession(script, "ts")


def test_the_module_itself_loads_no_torch() -> None:
    program = "import sys, nstc.runtime.programs; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
