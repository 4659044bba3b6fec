"""Small photographs, sessions that are functions, and bundles with tiny graphs."""

import pytest
from small_benches import *  # noqa: F403  (fixtures)

from nstc.benchmarks.timing import latency
from nstc.core.manifest import Origin


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Latencies without pauses, and a cache of the test's own."""
    monkeypatch.setattr(latency, "PAUSE_S", 0.0)
    monkeypatch.setattr(latency, "STRETCH_S", 0.0)
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def teacher(make_bundle):
    return make_bundle("teacher", {"onnx": 0.5}, width=16)


@pytest.fixture
def student(make_bundle, teacher):
    origin = Origin(name="teacher", sha256=teacher.identity, path=str(teacher.path))
    return make_bundle("student", {"onnx": 0.5, "int8.onnx": 0.8}, teacher=origin)
