"""Fetching onnxruntime-web, with a stand-in for npm."""

import json
import os
from pathlib import Path

import pytest

from nstc.core.errors import MissingExtraError
from nstc.runtime.serving import web_runtime

FILES = """
mkdir -p node_modules/onnxruntime-web/dist node_modules/playwright-core
cd node_modules
touch onnxruntime-web/dist/ort.node.min.mjs onnxruntime-web/dist/ort.wasm.min.mjs
touch onnxruntime-web/dist/ort-wasm-simd-threaded.mjs
touch onnxruntime-web/dist/ort-wasm-simd-threaded.wasm
touch onnxruntime-web/dist/ort.webgpu.min.mjs
touch onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.mjs
touch onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.wasm
"""
PINS = Path(web_runtime.__file__).parent


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Writes a shell script that is called as npm."""

    def write(script: str) -> Path:
        path = tmp_path / "bin" / "npm"
        path.parent.mkdir()
        path.write_text(f'#!/bin/sh\necho "$@" > "{tmp_path}/asked"\n{script}', encoding="ascii")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
        return tmp_path / "asked"

    return write


def test_npm_fetches_what_is_pinned_and_only_once(npm):
    asked = npm(FILES + "touch playwright-core/index.mjs")
    assert "nstc web-setup" in (web_runtime.missing_runtime() or "")
    runtime = web_runtime.install()
    assert web_runtime.missing_runtime() is None
    assert runtime == web_runtime.web_runtime()
    assert asked.read_text().split()[:2] == ["ci", "--ignore-scripts"]
    assert (runtime.folder / "package-lock.json").read_bytes() == (
        PINS / "package-lock.json"
    ).read_bytes()
    asked.unlink()
    assert web_runtime.install() == runtime
    assert not asked.exists()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'npm error network ENOTFOUND' >&2; exit 1", "npm error network ENOTFOUND.*again"),
        ("exit 7", "exit status 7"),
        (FILES, "left files out"),
    ],
)
def test_npm_that_fails_leaves_nothing(npm, script, why):
    npm(script)
    with pytest.raises(MissingExtraError, match=why):
        web_runtime.install()
    folder = web_runtime.web_runtime().folder
    assert not folder.exists()
    assert not list(folder.parent.iterdir())


def test_npm_that_hangs(npm, monkeypatch):
    npm("exec sleep 5")
    monkeypatch.setattr(web_runtime, "_TIME_LIMIT_S", 0.1)
    with pytest.raises(MissingExtraError, match="took more than"):
        web_runtime.install()


def test_no_npm(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingExtraError, match=r"npm is not installed: install Node.js"):
        web_runtime.install()


def test_every_package_is_pinned_by_its_hash():
    lock = json.loads((PINS / "package-lock.json").read_text(encoding="utf-8"))
    wanted = json.loads((PINS / "package.json").read_text(encoding="utf-8"))
    assert lock["packages"][""]["dependencies"] == wanted["dependencies"]
    assert web_runtime.runtime_version() == wanted["dependencies"]["onnxruntime-web"]
    for name, package in lock["packages"].items():
        if name:
            assert package["integrity"].startswith("sha512-"), name
            assert "resolved" not in package, f"{name} names a registry"
    for name, version in wanted["dependencies"].items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
