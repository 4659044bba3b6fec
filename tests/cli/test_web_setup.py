"""nstc web-setup."""

from pathlib import Path

from nstc.runtime.serving import web_runtime
from nstc.runtime.serving.web_runtime import WebRuntime


def test_it_says_where_the_runtime_is(nstc, monkeypatch) -> None:
    runtime = WebRuntime(Path("cache/web/pins"))
    monkeypatch.setattr(web_runtime, "install", lambda: runtime)
    done = nstc("web-setup")
    assert done.code == 0
    assert done.out.startswith("onnxruntime-web 1.")
    assert done.out.endswith("is in cache/web/pins\n")


def test_without_npm_it_says_what_to_install(nstc, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = nstc("web-setup")
    assert done.code == 5
    assert "npm is not installed: install Node.js" in done.error
