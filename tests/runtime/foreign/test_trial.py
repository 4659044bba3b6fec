"""Files of others, each tried once."""

import subprocess
import sys

import pytest
from whole_copies import whole_copy

from nstc.core.bundle import open_bundle
from nstc.core.zoo import zoo_names
from nstc.runtime.foreign import trial
from nstc.runtime.foreign.trial import GraphProcess, limited_to


@pytest.fixture
def free_memory(tmp_path, monkeypatch):
    """Says how many bytes the machine has free; the default limit is chosen anew."""
    table = tmp_path / "meminfo"
    monkeypatch.setattr(trial, "_MEMINFO", table)

    def set_to(free_bytes: int) -> None:
        table.write_text(f"MemAvailable: {free_bytes // 1024} kB\n", encoding="ascii")

    trial.default_limits.cache_clear()
    yield set_to
    trial.default_limits.cache_clear()


@pytest.fixture
def opened(monkeypatch):
    """The files that were tried."""
    tried = []

    def counted(path, *rest):
        tried.append(path)
        return GraphProcess(path, *rest)

    monkeypatch.setattr(trial, "GraphProcess", counted)
    return tried


def test_a_file_that_held_is_not_tried_again_where_less_is_free(
    linear, tmp_path, free_memory, opened
) -> None:
    path = linear(tmp_path / "n.onnx", 0.125, 0.375)
    free_memory(2_000_000_000)
    trial.ensure_tried(path)
    free_memory(1_000_000_000)
    trial.ensure_tried(path)
    assert opened == [path]
    with limited_to(max_ram_bytes=500_000_000):
        trial.ensure_tried(path)
    assert opened == [path, path]


_OPENED_MANIFESTS = """
import sys
opened = []
def note(event, arguments):
    if event == "open" and str(arguments[0]).endswith("manifest.json"):
        opened.append(arguments[0])
sys.addaudithook(note)
from nstc import Stylizer
Stylizer(sys.argv[1])
print(len(opened))
"""


def _manifests_opened_for(model) -> int:
    command = [sys.executable, "-c", _OPENED_MANIFESTS, str(model)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_a_shipped_model_is_known_by_its_own_manifest() -> None:
    assert _manifests_opened_for("zoo:starry-night") == 1


def test_a_copy_of_a_shipped_model_is_known_by_the_zoos(tmp_path) -> None:
    copy = whole_copy("zoo:udnie", tmp_path / "mine")
    assert _manifests_opened_for(copy) == 1 + len(zoo_names())
    assert trial.is_ours(open_bundle(copy).manifest.files["model.int8.onnx"].sha256)
