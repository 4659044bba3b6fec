"""Files of others, each tried once."""

import pytest

from nstc.runtime import graph_process, trial
from nstc.runtime.graph_process import GraphProcess, limited_to


@pytest.fixture
def free_memory(tmp_path, monkeypatch):
    """Says how many bytes the machine has free; the default limit is chosen anew."""
    table = tmp_path / "meminfo"
    monkeypatch.setattr(graph_process, "_MEMINFO", table)

    def set_to(free_bytes: int) -> None:
        table.write_text(f"MemAvailable: {free_bytes // 1024} kB\n", encoding="ascii")

    graph_process._default_limits.cache_clear()
    yield set_to
    graph_process._default_limits.cache_clear()


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
