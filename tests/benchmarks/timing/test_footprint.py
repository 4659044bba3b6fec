import json
import subprocess
import sys

import onnxruntime
import pytest

from nstc.core.bundle import artifact_file
from nstc.core.errors import ArtifactError
from nstc.runtime import footprint
from nstc.runtime.footprint import measure_footprint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs VmHWM of /proc")

MIB = 1024 * 1024


@pytest.fixture
def graph(make_bundle):
    return make_bundle("plain", {"onnx": 0.5}).path / artifact_file("onnx")


def test_a_larger_picture_needs_more_memory_by_about_its_floats(graph):
    small = measure_footprint(graph, size=64, threads=1)
    large = measure_footprint(graph, size=1024, threads=1)

    one_tensor = 3 * 1024 * 1024 * 4
    assert large.network_bytes - small.network_bytes >= 2 * one_tensor
    assert large.network_bytes < 20 * one_tensor
    assert large.network_bytes < large.peak_bytes < 500 * MIB


def test_a_cold_start_is_told_in_milliseconds(graph, monkeypatch, capsys):
    clock = iter([7.0, 7.25])  # s
    monkeypatch.setattr(footprint.time, "perf_counter", lambda: next(clock, 9.0))
    monkeypatch.setattr(onnxruntime, "set_default_logger_severity", lambda _severity: None)
    footprint._main(str(graph), "16", "1")
    assert json.loads(capsys.readouterr().out)["cold_start_ms"] == 250


def test_what_this_process_holds_is_not_counted(graph):
    alone = measure_footprint(graph, size=64, threads=1)
    held = bytearray(400 * MIB)
    held[::4096] = b"x" * len(held[::4096])
    beside = measure_footprint(graph, size=64, threads=1)

    assert beside.peak_bytes < alone.peak_bytes + 50 * MIB


def test_neither_torch_nor_the_rest_of_nstc_is_loaded():
    code = "import sys, nstc.runtime.footprint; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert not loaded & {"torch", "skimage", "scipy", "onnx"}


def test_a_file_that_does_not_run_says_why(tmp_path):
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"no graph")

    with pytest.raises(ArtifactError, match=r"new process: .*model\.onnx"):
        measure_footprint(broken, size=64, threads=1)


def test_one_that_hangs_is_stopped(graph, monkeypatch):
    monkeypatch.setattr(footprint, "_TIME_LIMIT_S", 0.01)

    with pytest.raises(ArtifactError, match=r"took more than 0\.01 s"):
        measure_footprint(graph, size=64, threads=1)


def test_the_arena_grows_with_the_picture(make_bundle):
    """The graph holds one tensor beside its input: the output, 12 bytes a pixel."""
    path = make_bundle("tensors", {"onnx": 0.5}).path / artifact_file("onnx")
    small = measure_footprint(path, size=64, threads=1).arena_bytes
    large = measure_footprint(path, size=1024, threads=1).arena_bytes
    assert small is not None
    assert large is not None
    assert 12 * 1024 * 1024 <= large < 3 * 12 * 1024 * 1024
    assert small < large / 4
