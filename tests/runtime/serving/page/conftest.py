"""Runs modules of the page in Node, and the page in Chromium."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import live_pages
import pytest

from nstc.benchmarks.targets.web.setup import find_chromium, missing_chromium
from nstc.core import files
from nstc.runtime.serving.web_runtime import WebRuntime, install, web_runtime

HERE = Path(__file__).parent
USERS_RUNTIME = web_runtime()  # looked up before tests get a cache of their own
LOCK = HERE / "package-lock.json"
USERS_AXE = files.cached("page-tests", hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16])


@pytest.fixture
def in_node() -> Callable[..., Any]:
    """What the body of an async function gives for a value, both as JSON, with a module's exports.

    Bytes go in and out as lists of numbers.
    """

    def run(module: str, body: str, value: Any) -> Any:
        script = f"""
            import {{ text }} from "node:stream/consumers";
            const module = await import({json.dumps((live_pages.PAGE / module).as_uri())});
            const run = async (module, value) => {{ {body} }};
            const given = JSON.parse(await text(process.stdin));
            console.log(JSON.stringify(await run(module, given) ?? null));
        """
        ran = subprocess.run(
            ["node", "--input-type=module", "-e", script],
            input=json.dumps(value),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    return run


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> WebRuntime:
    """onnxruntime-web and what drives Chromium: the user's own, or from npm."""
    if (missing := missing_chromium()) is not None:
        pytest.skip(f"not run: {missing}")
    if USERS_RUNTIME.is_complete:
        return USERS_RUNTIME
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSTC_CACHE", str(tmp_path_factory.mktemp("web")))
        return install()


@pytest.fixture(scope="session")
def chromium(runtime: WebRuntime) -> Iterator[Callable[..., Any]]:
    """Runs a script, the body of an async function of `page`, `value` and `context`.

    Each has a context of its own. Gives what it returns; an error that the page did not expect
    fails the test.
    """
    executable = find_chromium()
    assert executable is not None
    with subprocess.Popen(
        ["node", str(HERE / "driver.mjs"), str(runtime.driver), executable],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None

        def run(script: str, value: Any = None, **options: Any) -> Any:
            line = json.dumps({"script": script, "value": value, "options": options})
            driver.stdin.write(f"{line}\n")
            driver.stdin.flush()
            reply = json.loads(driver.stdout.readline())
            assert "error" not in reply, reply
            assert reply["said"] == []
            return reply["value"]

        yield run
        driver.stdin.close()


@pytest.fixture
def play(chromium: Callable[..., Any]) -> Callable[..., Any]:
    """Runs a script with `live_pages.STEPS` on a page of a link."""
    return lambda script, link, **value: chromium(
        live_pages.STEPS + script, {"link": link, **value}
    )


@pytest.fixture(scope="session")
def link(runtime: WebRuntime) -> Iterator[str]:
    """Of a page without a server, as a folder of some host."""
    with live_pages.served(live_pages.page_content(runtime)) as own:
        yield own


@pytest.fixture(scope="session")
def axe(runtime: WebRuntime) -> Path:
    """The rules of axe-core as a script, from npm into the user's cache at the pinned version."""
    script = USERS_AXE / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        USERS_AXE.mkdir(parents=True, exist_ok=True)
        for path in (LOCK, LOCK.with_name("package.json")):
            shutil.copyfile(path, USERS_AXE / path.name)
        npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(npm, cwd=USERS_AXE, check=True, timeout=300)
    return script
