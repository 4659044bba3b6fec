"""What the page consists of: every file by its exact address, and site.json."""

import json
import re
from pathlib import Path

import pytest
from packed_students import *  # noqa: F403  (fixtures)

from nstc.core.bundle import Bundle, open_bundle
from nstc.core.errors import CorruptBundleError
from nstc.core.photos import sample_photos
from nstc.runtime.serving import site
from nstc.runtime.serving.site import OfferedModel
from nstc.runtime.serving.web_runtime import WebRuntime


def offered(name: str, bundle: Bundle) -> OfferedModel:
    return OfferedModel(name=name, title="Title", bundle=bundle, precisions=("int8", "float"))


@pytest.fixture(scope="module")
def udnie() -> OfferedModel:
    return offered("udnie", open_bundle("zoo:udnie"))


@pytest.fixture
def runtime(tmp_path) -> WebRuntime:
    installed = WebRuntime(tmp_path)
    for path in (*installed.page_files, *installed.webgpu_files):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    return installed


def of(models, **options):
    return site.site_content(models, **{"server": False, "runtime": None, **options})


def described(content) -> dict:
    return json.loads(content["site.json"])


WASM = {
    f"runtime/{name}"
    for name in (
        *("LICENSE.txt", "ort.wasm.min.mjs"),
        *("ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    )
}
OWN = {"LICENSES.md", "LICENSE.txt", "site.json"}
WEBGPU = {
    "runtime/ort.webgpu.min.mjs",
    "runtime/ort-wasm-simd-threaded.asyncify.mjs",
    "runtime/ort-wasm-simd-threaded.asyncify.wasm",
}


def test_a_folder_has_what_a_visitor_needs_and_no_more(udnie, runtime):
    content = of([udnie], runtime=runtime, photos=site.included_photos(["chelsea"]))
    others = {"models/udnie/model.int8.onnx", "photos/chelsea.jpg", "photos/LICENSES.md"}
    assert set(content) == set(site.PAGE) | OWN | WASM | others
    shown = described(content)
    assert shown["server"] is False
    assert shown["schema"] == "nstc.site/1"
    assert shown["runtime"]["webgpu"] is False
    assert shown["photos"] == [{"name": "chelsea", "file": "photos/chelsea.jpg"}]
    (model,) = shown["models"]
    assert (model["name"], model["title"], model["server"]) == ("udnie", "Title", [])
    assert model["browser"] == [
        {
            "precision": "int8",
            "file": "models/udnie/model.int8.onnx",
            "bytes": (udnie.bundle.path / "model.int8.onnx").stat().st_size,
            "input": "image",
            "output": "stylized",
            "dtype": "uint8",
        }
    ]


def test_a_server_offers_every_precision_and_webgpu_and_no_service_worker(udnie, runtime):
    content = of([udnie], server=True, runtime=runtime)
    models = {"models/udnie/model.int8.onnx", "models/udnie/model.onnx"}
    photos = {f"photos/{path.name}" for path in sample_photos()} | {"photos/LICENSES.md"}
    page = set(site.PAGE) - {"service-worker.js"}
    assert set(content) == page | OWN | WASM | WEBGPU | models | photos
    shown = described(content)
    assert shown["runtime"]["webgpu"] is True
    (model,) = shown["models"]
    assert model["server"] == ["int8", "float"]
    assert [own["dtype"] for own in model["browser"]] == ["uint8", "float32"]


def test_the_bench_mode_has_what_its_modules_load_and_is_on_no_other_page(udnie, runtime):
    bench = site.bench_content(runtime)
    own = {name: path.read_text() for name, path in bench.items() if "runtime/" not in name}
    loaded = {
        name
        for text in own.values()
        for name in re.findall(
            r"""(?:from |import\(|src=|href=|Calls\()"(?:\./)?([\w.-]+)\"""", text
        )
    }
    assert loaded | {"index.html"} == set(own)
    assert set(bench) - set(own) == WASM - {"runtime/LICENSE.txt"}
    assert not {"bench.mjs", "bench.html", "bench-job.mjs", "bench.css"} & set(
        of([udnie], server=True) | of([udnie])
    )


def test_without_onnxruntime_web_the_page_is_told(udnie):
    content = of([udnie], server=True)
    assert described(content)["runtime"] is None
    assert not [name for name in content if name.startswith("runtime/")]


def test_names_of_models_lead_nowhere_else(udnie):
    names = ["../../etc/passwd", "udnie", "UDNIE", "con", "Öl", "", "a/teacher", "a" * 500]
    content = of([offered(name, udnie.bundle) for name in names])
    files = [own["browser"][0]["file"] for own in described(content)["models"]]
    assert files == [
        f"models/{folder}/model.int8.onnx"
        for folder in (
            *("etc-passwd", "udnie", "udnie-2", "model-con", "l", "model", "a-teacher", "a" * 60),
        )
    ]
    assert set(files) <= set(content)
    assert [own["name"] for own in described(content)["models"]] == names


def test_bundles_of_one_name_are_offered_by_numbers_from_2_on(udnie):
    found = site.offered_models([(udnie.bundle, ("int8",))] * 3)
    assert [own.name for own in found] == ["udnie", "udnie-2", "udnie-3"]


class TestPack:
    def test_every_style_is_a_model_with_a_file_of_its_own(self, shared_pack, members):
        found = site.offered_models([(shared_pack.bundle, ("int8",))])
        assert [(own.name, own.title) for own in found] == [
            ("seasons/day", "Day, seasons"),
            ("seasons/night", "Night, seasons"),
        ]
        content = of(found)
        for member, model in zip(members, described(content)["models"], strict=True):
            (file,) = model["browser"]
            assert file["file"] == f"models/seasons-{member.name}/model.int8.onnx"
            assert content[file["file"]] == member.artifact("int8").read_bytes()
            assert file["bytes"] == len(content[file["file"]])
        for style in ("day", "night"):
            line = f"the model seasons/{style} | made with nstc; style: Nobody, 1900"
            assert line in content["LICENSES.md"].decode()

    def test_two_packs_of_one_name(self, shared_pack):
        found = site.offered_models([(shared_pack.bundle, ("int8",))] * 2)
        assert [own.name for own in found] == [
            *("seasons/day", "seasons/night", "seasons/day-2", "seasons/night-2"),
        ]

    def test_a_style_that_is_damaged(self, copy_of_pack):
        bundle = copy_of_pack()
        table = bundle.file("style-night.safetensors")
        table.write_bytes(bundle.file("style-day.safetensors").read_bytes())
        with pytest.raises(CorruptBundleError, match="style-night"):
            of(site.offered_models([(bundle, ("int8",))]))


def worker(content) -> dict:
    text = content["service-worker.js"].decode()
    (line,) = [own for own in text.splitlines() if own.startswith("const SITE = ")]
    return json.loads(line.removeprefix("const SITE = ").partition("};")[0] + "}")


def test_the_service_worker_keeps_every_other_file_and_differs_with_them(udnie):
    first, again = of([udnie]), of([udnie])
    assert worker(first) == worker(again)
    assert set(worker(first)["files"]) == set(first) - {"service-worker.js"}
    other = of([udnie], photos={"mine.jpg": b"other bytes"})
    same_names = of([udnie], photos={"mine.jpg": b"changed"})
    assert worker(other)["files"] == worker(same_names)["files"]
    assert worker(other)["version"] != worker(same_names)["version"]


def test_a_graph_for_one_size_alone_is_refused(udnie, negative_bytes, tmp_path, monkeypatch):
    fixed = negative_bytes(tmp_path / "model.int8.onnx", 32, 32)
    monkeypatch.setattr(site, "find_artifact", lambda *_: fixed)
    with pytest.raises(CorruptBundleError, match="not for pictures of any size"):
        of([udnie])


def test_a_changed_file_is_refused(make_bundle, tmp_path):
    own = make_bundle(tmp_path / "own", artifacts=("int8",))
    path = own.path / "model.int8.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CorruptBundleError, match="damaged"):
        of([offered("own", own)])


def test_licences_say_whose_a_model_is(udnie, make_bundle, tmp_path):
    own = make_bundle(tmp_path / "own", artifacts=("int8",))
    text = of([udnie, offered("own", own)])["LICENSES.md"].decode()
    assert "the model udnie | included in nstc as zoo:udnie; style: Francis Picabia" in text
    assert "the model own | made with nstc" in text
    assert Path(site.__file__).with_name("onnxruntime-web-licence.txt").read_text().count("MIT")


def test_a_folder_has_scripts_without_their_comments(udnie):
    folder, served = of([udnie]), of([udnie], server=True)
    assert b"\n/**" in site.bytes_of(served["compose.mjs"])
    for name in ("compose.mjs", "style.css", "studio.mjs"):
        lines = site.bytes_of(folder[name]).splitlines()
        assert not [line for line in lines if line.strip().startswith((b"//", b"/*"))]
        assert [line for line in site.bytes_of(served[name]).splitlines() if line in lines] == lines
