"""The demo's function, and its page where Gradio is installed."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from nstc.runtime.stylizer import Stylizer

DEMO = Path(__file__).resolve().parents[2] / "examples" / "gradio_demo.py"


@pytest.fixture
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gradio_demo", DEMO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_demo_is_short() -> None:
    assert len(DEMO.read_text(encoding="utf-8").splitlines()) <= 30


def test_a_photograph_is_stylised_as_asked(demo, pixels) -> None:
    made = demo.stylized(pixels, "zoo:udnie", 0.5, True)
    expected = Stylizer("zoo:udnie")(pixels, strength=0.5, preserve_color=True)
    np.testing.assert_array_equal(made, expected)
    assert demo.opened("zoo:udnie") is demo.opened("zoo:udnie")


def test_without_a_photograph_there_is_no_picture(demo) -> None:
    assert demo.stylized(None, "zoo:udnie", 1.0, False) is None


@pytest.mark.integrations
@pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="make test-integrations installs it"
)
def test_the_page_answers(tmp_path, pixels) -> None:
    from gradio_client import Client, handle_file

    Image.fromarray(pixels).save(tmp_path / "photo.png")
    environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, DEMO], stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment
    ) as server:
        try:
            assert server.stdout is not None
            said = next(line for line in server.stdout if "http://" in line)
            client = Client(re.search(r"http://\S+", said)[0], verbose=False)
            photo = handle_file(tmp_path / "photo.png")
            made = client.predict(photo, "zoo:udnie", 1.0, False, api_name="/stylized")
        finally:
            server.terminate()
    np.testing.assert_array_equal(np.asarray(Image.open(made)), Stylizer("zoo:udnie")(pixels))
