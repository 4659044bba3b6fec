"""Runs modules of the page in Node."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nstc.runtime.serving

PAGE = Path(nstc.runtime.serving.__file__).parent / "page"


@pytest.fixture
def in_node() -> Callable[..., Any]:
    """What the body of an async function gives for a value, both as JSON, with a module's exports.

    Bytes go in and out as lists of numbers.
    """

    def run(module: str, body: str, value: Any) -> Any:
        script = f"""
            import {{ text }} from "node:stream/consumers";
            const module = await import({json.dumps((PAGE / module).as_uri())});
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
