"""Results as `nstc bench --json` writes them, made by hand."""

import copy
import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from nstc.benchmarks.report.stored_results import Run, read_results
from nstc.benchmarks.result import SCHEMA


def spread(median: float) -> dict[str, float]:
    return {"median": median, "low": median * 0.9, "high": median * 1.1}


def quality(style_ratio: float, **changes: Any) -> dict[str, Any]:
    metrics = {"style_ratio": style_ratio, "ssim": 0.72, "psnr_db": None}
    return {
        **metrics,
        "intervals": {
            "style_ratio": {"low": style_ratio * 0.9, "high": style_ratio * 1.2},
            "ssim": {"low": 0.7, "high": 0.74},
            "psnr_db": {"low": 30.0, "high": None},
        },
        "photos": 12,
        "few_photos": True,
        "sampled_photos": {},
        "teacher": "zoo:dusk/teacher",
        "style_source": "painting",
        **changes,
    }


def row(faster: float = 40.0, style_ratio: float = 1.25, **changes: Any) -> dict[str, Any]:
    return {
        "model": "zoo:dusk",
        "artifact": "int8.onnx",
        "target": "cpu:2",
        "size": 64,
        "latency_ms": {"median": 5.0, "iqr": 1.0, "samples": [4.0, 6.0, 5.0]},
        "speedup": spread(faster),
        "params": 33_000,
        "macs": 540_000_000,
        "bytes": 56_000,
        "quality": quality(style_ratio),
        **changes,
    }


def result(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    content = {
        "schema": SCHEMA,
        "machine": {"arch": "x86_64", "cpu": "Clockwork", "cores": 2, "tools": {"python": "3.11"}},
        "protocol": {
            "id": "0123456789ab",
            "rounds": 3,
            "size": 64,
            "photos": {"count": 12, "sets": ["holiday"], "list_sha256": "ab" * 32},
            "seed": 0,
            "vgg": "cd" * 32,
            "reference": "ef" * 32,
        },
        "references": [
            {
                "model": "zoo:dusk/teacher",
                "artifact": "onnx",
                "target": "cpu:2",
                "latency_ms": {"median": 200.0, "iqr": 15.0, "samples": [200.0, 200.0, 230.0]},
            }
        ],
        "rows": list(rows or (row(),)),
    }
    return copy.deepcopy({**content, **changes})


class Page(HTMLParser):
    """What a page holds: its tags with their attributes, its words, and the words of a section."""

    VOID = frozenset({"meta", "img", "input", "link", "br"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, str] = {}
        self._open: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append((tag, dict(attrs).get("id")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self._open.pop()
        assert opened == tag, f"<{opened}> is closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        for tag, name in self._open:
            if tag in {"section", "script", "header"}:
                key = name or tag
                self.sections[key] = self.sections.get(key, "") + data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.tags if name == tag]


@pytest.fixture
def make_row() -> Callable[..., dict[str, Any]]:
    return row


@pytest.fixture
def make_quality() -> Callable[..., dict[str, Any]]:
    return quality


@pytest.fixture
def make_result() -> Callable[..., dict[str, Any]]:
    return result


@pytest.fixture
def page_of() -> type[Page]:
    return Page


@pytest.fixture
def write_result(tmp_path: Path) -> Callable[..., Path]:
    """Writes a result, or any text, to a file of the test's folder."""

    def write(content: dict[str, Any] | str, name: str = "monday.json") -> Path:
        path = tmp_path / name
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def read(write_result: Callable[..., Path]) -> Callable[..., Run]:
    """The run of some rows."""

    def make(*rows: dict[str, Any], name: str = "monday", **changes: Any) -> Run:
        return read_results(write_result(result(*rows, **changes), f"{name}.json"))

    return make
