"""The web page in headless Chromium, with onnxruntime-web as npm gives it."""

import functools
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

import nstc
from nstc.benchmarks.targets.web.setup import find_chromium, missing_chromium
from nstc.runtime.serving.web_runtime import WebRuntime, install

pytestmark = pytest.mark.deploy

PAGE = Path(__file__).resolve().parents[2] / "docs" / "deploy" / "web" / "index.html"


class Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map: ClassVar = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
    }

    def log_message(self, *_: object) -> None:
        """Keeps the test's output clean."""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> WebRuntime:
    missing = missing_chromium()
    if missing is not None:
        pytest.skip(f"not run: {missing}")
    return install()


@pytest.fixture
def link(runtime: WebRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NSTC_CACHE", str(runtime.folder.parents[1]))
    folder = tmp_path / "page"
    folder.mkdir()
    for path in (PAGE, PAGE.with_name("stylize-worker.mjs")):
        shutil.copyfile(path, folder / path.name)
    nstc.export("zoo:starry-night", formats=["web"], output=folder / "stylize")
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/index.html"
        server.shutdown()
        thread.join()


def shown(runtime: WebRuntime, link: str, photo: np.ndarray, folder: Path) -> tuple[str, Path]:
    """What the page says in the end of a photograph, and a file of the RGBA bytes that it shows."""
    Image.fromarray(photo).save(folder / "photo.png")
    driver = Path(__file__).with_name("deploy_page.mjs")
    chromium = find_chromium()
    assert chromium is not None
    files = [folder / "photo.png", folder / "out.rgba"]
    command = ["node", str(driver), str(runtime.driver), chromium, link, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), files[1]


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("models/starry-night/model.int8.onnx", "failed: "),
        ("runtime/ort.wasm.min.mjs", "failed: the worker can't be started"),
    ],
)
def test_a_file_that_is_missing_is_said(link, runtime, photo, tmp_path, missing, said) -> None:
    (tmp_path / "page" / "stylize" / missing).unlink()
    assert shown(runtime, link, photo, tmp_path)[0].startswith(said)


def test_it_paints_what_python_paints(link, runtime, photo, expected, tmp_path) -> None:
    said, out = shown(runtime, link, photo, tmp_path)
    assert said == "done"
    rgba = np.fromfile(out, np.uint8).reshape(*photo.shape[:2], 4)
    # The mean and the deviation in front of the integers are floats, and WebAssembly adds those in
    # another order: what docs/explanation/portable-int8.md promises of such graphs is asked.
    near = np.abs(rgba[..., :3].astype(int) - expected) <= 1
    assert near.mean() >= 0.999
