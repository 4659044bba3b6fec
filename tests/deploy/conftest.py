"""The programs of docs/deploy, built and run, and what they should paint."""

from pathlib import Path

import numpy as np
import pytest

from nstc.runtime.arrays import check_picture
from nstc.runtime.onnx_session import OnnxSession

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def model() -> Path:
    """The shipped int8 student."""
    return ROOT / "models" / "zoo" / "starry-night" / "student" / "model.int8.onnx"


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    return check_picture(3, 61, 83)


@pytest.fixture(scope="session")
def expected(model: Path, photo: np.ndarray) -> np.ndarray:
    return OnnxSession(model, "int8.onnx", 1).run(photo)
