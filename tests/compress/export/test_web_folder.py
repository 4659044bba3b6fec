"""A page in a folder that any static host serves."""

import functools
import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from packed_students import *  # noqa: F403  (fixtures)
from PIL import Image

import nstc
from nstc.benchmarks.targets.web.setup import find_chromium, missing_chromium
from nstc.compress.export import web_folder
from nstc.core import Silent
from nstc.core.errors import MissingExtraError, OptionError, OutputError
from nstc.core.photos import photos_in
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.serving import site
from nstc.runtime.serving.web_runtime import WebRuntime, install, web_runtime

UDNIE = "zoo:udnie"
# As small a page as keeps itself.
STUB = b"""<!doctype html>
<link rel="icon" href="data:,">
<script type="module">
  import { keepOffline } from "./offline.mjs";
  globalThis.kept = keepOffline({ reloadWithin: Infinity });
</script>
"""


@pytest.fixture
def runtime() -> WebRuntime:
    """Stand-ins for onnxruntime-web's files."""
    runtime = web_runtime()
    needed = (runtime.node_module, runtime.driver, *runtime.page_files, *runtime.webgpu_files)
    for path in needed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    return runtime


def export(models, folder: Path, **options: Any) -> list[Path]:
    return nstc.export(models, formats=["web"], output=folder, **options)


def names_in(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.usefixtures("runtime")
def test_the_folder_holds_these_files_and_no_others(tmp_path):
    written = export([UDNIE, "zoo:the-scream"], tmp_path / "page")
    names = names_in(tmp_path / "page")
    assert names == {path.relative_to(tmp_path / "page").as_posix() for path in written}
    assert names == {
        *site.PAGE,
        *("site.json", "nstc-web.json", "LICENSE.txt", "LICENSES.md"),
        *("models/udnie/model.int8.onnx", "models/the-scream/model.int8.onnx"),
        *(f"photos/{name}.jpg" for name in web_folder.SAMPLES),
        "photos/LICENSES.md",
        *("runtime/ort.wasm.min.mjs", "runtime/LICENSE.txt"),
        *("runtime/ort-wasm-simd-threaded.mjs", "runtime/ort-wasm-simd-threaded.wasm"),
    }
    shown = json.loads((tmp_path / "page" / "site.json").read_text())
    assert [own["title"] for own in shown["models"]] == ["Udnie", "The Scream"]
    assert shown["server"] is False


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.usefixtures("runtime")
def test_page_and_model_stay_small(tmp_path):
    page = tmp_path / "page"
    export(UDNIE, page)
    own = sum((page / name).stat().st_size for name in site.PAGE)
    assert own + size_of(page / "models") < 200 * 1024
    assert size_of(page / "photos") < 300_000


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


@pytest.mark.usefixtures("runtime")
def test_it_says_what_the_parts_weigh(tmp_path):
    notes = Notes()
    export(UDNIE, tmp_path / "page", progress=notes)
    (said,) = notes.said
    assert "MB: page" in said
    assert "models 92 KB, photographs 247 KB, onnxruntime-web 1 KB" in said


@pytest.mark.usefixtures("runtime")
def test_two_models_of_one_name_and_one_without_int8(tmp_path, make_bundle):
    own = [
        make_bundle(tmp_path / "a", artifacts=("int8",)),
        make_bundle(tmp_path / "b", artifacts=("float",)),
    ]
    export(own, tmp_path / "page")
    models = json.loads((tmp_path / "page" / "site.json").read_text())["models"]
    assert len({model["name"] for model in models}) == 2
    first, second = (model["browser"] for model in models)
    assert [file["dtype"] for file in (*first, *second)] == ["uint8", "float32"]
    for file in (*first, *second):
        assert (tmp_path / "page" / file["file"]).stat().st_size == file["bytes"]


@pytest.mark.usefixtures("runtime")
def test_every_style_of_a_pack(tmp_path, shared_pack, members):
    export(shared_pack.bundle, tmp_path / "page")
    models = json.loads((tmp_path / "page" / "site.json").read_text())["models"]
    assert [model["name"] for model in models] == ["seasons/day", "seasons/night"]
    for model, member in zip(models, members, strict=True):
        (file,) = model["browser"]
        made = (tmp_path / "page" / file["file"]).read_bytes()
        assert made == member.artifact("int8").read_bytes()


@pytest.mark.usefixtures("runtime")
def test_photographs_of_ones_own_are_small_and_say_nothing_of_their_place(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "a camera of mine"
    (tmp_path / "mine").mkdir()
    noise = np.random.default_rng(1).integers(0, 256, (40, 1500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "mine" / "A b.JPG", exif=exif)
    Image.fromarray(noise[:, :50]).save(tmp_path / "mine" / "a-b.png")
    export(UDNIE, tmp_path / "page", photos=photos_in([tmp_path / "mine"]))
    photos = tmp_path / "page" / "photos"
    assert names_in(photos) == {"a-b.jpg", "a-b-2.jpg"}
    with Image.open(photos / "a-b.jpg") as picture:
        assert picture.size == (1024, 27)
        assert not picture.getexif()
    assert b"a camera of mine" not in (photos / "a-b.jpg").read_bytes()
    licences = (tmp_path / "page" / "LICENSES.md").read_text()
    assert "photos/ | whoever made this page" in licences


def test_without_onnxruntime_web_it_says_what_fetches_it(tmp_path):
    with pytest.raises(MissingExtraError, match="nstc web-setup"):
        export(UDNIE, tmp_path / "page")
    assert not (tmp_path / "page").exists()


@pytest.mark.usefixtures("runtime")
def test_an_earlier_export_is_replaced_as_a_whole(tmp_path):
    page = tmp_path / "page"
    export(UDNIE, page)
    export("zoo:the-scream", page)
    assert names_in(page / "models") == {"the-scream/model.int8.onnx"}


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda page: (page / "CNAME").write_text("mine"), "CNAME is not of the page"),
        (lambda page: (page / "photos/mine.jpg").write_text("mine"), "photos/mine.jpg is not of"),
        (lambda page: (page / ".git").mkdir(), ".git is not of the page"),
        (lambda page: (page / "site.json").write_text("{}"), "site.json was changed since"),
        (lambda page: (page / "nstc-web.json").write_text("{}"), "not a page that nstc wrote"),
        (lambda page: (page / "nstc-web.json").unlink(), "not a page that nstc wrote"),
    ],
)
def test_what_somebody_added_is_never_lost(tmp_path, change, named):
    page = tmp_path / "page"
    export(UDNIE, page)
    change(page)
    before = {name: (page / name).read_bytes() for name in names_in(page)}
    with pytest.raises(OutputError, match=named):
        export("zoo:the-scream", page)
    assert {name: (page / name).read_bytes() for name in names_in(page)} == before


@pytest.mark.usefixtures("runtime")
def test_an_export_that_fails_leaves_the_folder_as_it_was(tmp_path, monkeypatch):
    page = tmp_path / "page"
    export(UDNIE, page)
    before = {name: (page / name).read_bytes() for name in names_in(page)}

    def fail(content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(web_folder, "bytes_of", fail)
    with pytest.raises(OutputError, match="No space left"):
        export("zoo:the-scream", page)
    assert {name: (page / name).read_bytes() for name in names_in(page)} == before
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ([], {}, "0 models are given"),
        ([UDNIE], {"formats": ["web", "onnx"]}, "web is written alone"),
        ([UDNIE], {"output": None}, "web is written alone"),
        ([UDNIE], {"static": (64, 64)}, "web is written alone"),
        ([UDNIE, UDNIE], {"formats": ["onnx"]}, "2 models are given, and onnx takes one"),
    ],
)
def test_options_that_do_not_fit(tmp_path, models, options, message):
    given = {"formats": ["web"], "output": tmp_path / "page", **options}
    with pytest.raises(OptionError, match=message):
        nstc.export(models, **given)


class Host(http.server.SimpleHTTPRequestHandler):
    """A plain host, which sends no header of its own."""

    extensions_map: ClassVar = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
    }

    def log_message(self, *_: object) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def host(tmp_path) -> Iterator[http.server.ThreadingHTTPServer]:
    handler = functools.partial(Host, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.web
def test_the_second_visit_needs_no_network(tmp_path, host, monkeypatch):
    """In a folder of its host, and isolated from others, so that it has threads."""
    if (missing := missing_chromium()) is not None:
        pytest.skip(f"not run: {missing}")
    runtime = install()
    stub = tmp_path / "stub.html"
    stub.write_bytes(STUB)
    monkeypatch.setattr(site, "PAGE", {**site.PAGE, "index.html": stub})
    export(UDNIE, tmp_path / "some" / "where")
    link = f"http://127.0.0.1:{host.server_address[1]}/some/where/"
    driver = Path(__file__).with_name("web_folder.mjs")
    words = [driver, runtime.driver, find_chromium(), tmp_path / "profile", link]
    with subprocess.Popen(
        ["node", *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        first = json.loads(node.stdout.readline())
        host.shutdown()
        host.socket.close()
        node.stdin.write("gone\n")
        node.stdin.flush()
        second = json.loads(node.stdout.readline())
    rgb = (np.arange(24 * 32 * 3) * 7 % 256).astype(np.uint8).reshape(24, 32, 3)
    here = OnnxSession(nstc.open_bundle(UDNIE).artifact("int8"), "int8.onnx", 1).run(rgb)
    for seen in (first, second):
        assert seen["kept"] is True
        assert seen["threads"] == 2
        assert seen["elsewhere"] == []
        assert seen["photos"] == [True] * len(web_folder.SAMPLES)
        there = np.array(seen["output"]).reshape(here.shape)
        assert (np.abs(there - here.astype(int)) <= 1).mean() >= 0.999
