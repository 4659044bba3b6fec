"""The schema of a result's JSON, and how older ones are brought up to it."""

import json
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, Final

SCHEMA: Final = "nstc.bench/2"
"""What this nstc writes."""

Content = Mapping[str, Any]


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `SCHEMA`, for whoever reads results without nstc."""
    file = resources.files("nstc.benchmarks") / f"bench-{SCHEMA.rpartition('/')[2]}.schema.json"
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def migrated(content: Content) -> dict[str, Any]:
    """A result of any known schema in the newest form.

    Nothing is checked: keys that are missing stay missing, for the reader to complain of.

    Args:
        content: The JSON; its schema is a key of `MIGRATIONS`, or the newest.
    """
    current = dict(content)
    while (step := MIGRATIONS.get(current["schema"])) is not None:
        current = step(current)
    return current


def _with_one_reference_a_target(content: Content) -> dict[str, Any]:
    """`nstc.bench/1` knew one target a run, and so one reference."""
    left = {key: value for key, value in content.items() if key != "reference"}
    references = [content["reference"]] if "reference" in content else []
    return {**left, "schema": "nstc.bench/2", "references": references}


MIGRATIONS: Final[Mapping[str, Callable[[Content], dict[str, Any]]]] = {
    "nstc.bench/1": _with_one_reference_a_target,
}
"""From each older schema to the next."""
