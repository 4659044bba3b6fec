"""Graphs that mean harm, in a process of their own: one line each, within limits."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import hostile_graphs
import numpy as np
import onnx
import pytest
from onnx import helper

from nstc.core.errors import GraphLimitError, NstcError, OptionError, TeacherError
from nstc.core.graph_form import MOST_FORM_TEXT
from nstc.runtime.footprint import peak_bytes
from nstc.runtime.foreign.networks import open_foreign_graph
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.foreign.trial import (
    GraphFailedError,
    GraphProcess,
    RefusedGraphError,
    TrialLimits,
    current_limits,
    limited_to,
)

SMALL = TrialLimits(max_ram_bytes=300_000_000, timeout_s=60)
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux alone")
OF_TIME = {"loop", "matmul", "doubling-functions"}


@pytest.fixture
def hostile(tmp_path: Path):
    """Writes one of the graphs by its name."""

    def write(name: str) -> Path:
        make = {**hostile_graphs.LIMITED, **hostile_graphs.REFUSED}[name]
        return hostile_graphs.written(make(), tmp_path / f"{name}.onnx")

    return write


def test_a_graph_gives_what_it_gives_in_this_process(linear, tmp_path) -> None:
    process = GraphProcess(linear(tmp_path / "n.onnx", 0.5, 0.25), 1, SMALL, "")
    values = np.arange(24, dtype=np.float32).reshape(1, 3, 2, 4)
    assert (process.inputs[0].name, process.inputs[0].shape) == ("x", [1, 3, "H", "W"])
    np.testing.assert_array_equal(process.run({"x": values}), values * 0.5 + 0.25)
    with pytest.raises(GraphFailedError, match="Invalid rank"):
        process.run({"x": values[0]})
    np.testing.assert_array_equal(process.run({"x": values + 1}), (values + 1) * 0.5 + 0.25)


def test_what_onnx_runtime_refuses_is_refused_here_too(tmp_path) -> None:
    path = tmp_path / "n.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(RefusedGraphError) as caught:
        GraphProcess(path, 1, SMALL, "")
    assert "\n" not in str(caught.value)


def test_the_process_ends_with_its_object(linear, tmp_path) -> None:
    process = GraphProcess(linear(tmp_path / "n.onnx", 1, 0), 1, SMALL, "")
    number = process._process.pid
    del process
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_no_folder_for_temporary_files_is_one_line(linear, tmp_path, monkeypatch) -> None:
    path = linear(tmp_path / "n.onnx", 1, 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(NstcError, match=r"did not start \(.*No such file or directory.*gone"):
        GraphProcess(path, 1, SMALL, "")


@pytest.mark.parametrize(
    ("executable", "cause"),
    [("", "No such file"), (None, "No such file"), ("false", "exit status 1")],
)
def test_a_python_that_does_not_start_is_not_called_a_crash(
    linear, tmp_path, monkeypatch, executable, cause
) -> None:
    path = linear(tmp_path / "n.onnx", 1, 0)
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(NstcError, match=rf"did not start \(.*{cause}") as caught:
        GraphProcess(path, 1, SMALL, "")
    assert not isinstance(caught.value, GraphLimitError)
    assert str(caught.value).isprintable()


def test_a_system_without_another_process_is_named(linear, tmp_path, monkeypatch) -> None:
    def refused(*_arguments, **_options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    path = linear(tmp_path / "n.onnx", 1, 0)
    monkeypatch.setattr(subprocess, "Popen", refused)
    with pytest.raises(NstcError, match=r"did not start \(.*temporarily unavailable"):
        GraphProcess(path, 1, SMALL, "")


@ON_LINUX
@pytest.mark.parametrize("name", sorted(set(hostile_graphs.LIMITED) - OF_TIME - {"tile"}))
def test_a_graph_that_wants_more_memory_than_it_may_have(hostile, name) -> None:
    before = peak_bytes()
    with limited_to(max_ram_bytes=SMALL.max_ram_bytes), pytest.raises(GraphLimitError) as caught:
        probe_contract(hostile(name))
    assert "needs more than 0.3 GB" in str(caught.value)
    assert "--max-ram" in str(caught.value)
    assert peak_bytes() - before < 200_000_000


@ON_LINUX
def test_a_picture_that_does_not_fit_is_no_crash(linear, tmp_path) -> None:
    small = TrialLimits(max_ram_bytes=20_000_000, timeout_s=60)
    process = GraphProcess(linear(tmp_path / "n.onnx", 1, 0), 1, small, "")
    with pytest.raises(GraphLimitError, match=r"needs more than 0\.02 GB"):
        process.run({"x": np.zeros((1, 3, 2000, 4000), np.float32)})


@pytest.mark.parametrize("name", sorted(OF_TIME))
def test_a_graph_that_does_not_end(hostile, name) -> None:
    with limited_to(timeout_s=1.5), pytest.raises(GraphLimitError) as caught:
        probe_contract(hostile(name))
    assert "did not end within 1.5 s" in str(caught.value)
    assert "--timeout" in str(caught.value)


@pytest.mark.parametrize(
    "name", sorted({*hostile_graphs.REFUSED, "tile"} - {"negative", "minus-one"})
)
def test_a_graph_that_can_not_be_is_refused_in_one_line(hostile, name) -> None:
    with limited_to(max_ram_bytes=SMALL.max_ram_bytes), pytest.raises(NstcError) as caught:
        probe_contract(hostile(name))
    assert isinstance(caught.value, TeacherError | GraphLimitError)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("side", [0, 16385, 60000, 2**31, 2**40])
def test_a_side_that_no_picture_has_is_named_without_running(tmp_path, side) -> None:
    path = hostile_graphs.written(hostile_graphs.fixed(1, 3, side, 64), tmp_path / "n.onnx")
    with pytest.raises(TeacherError, match=rf"takes \[1, 3, {side}, 64\]: expected sides from 1"):
        probe_contract(path)


def test_a_thousand_nodes_are_no_harm(tmp_path) -> None:
    path = hostile_graphs.written(hostile_graphs.many_nodes(1000), tmp_path / "n.onnx")
    assert probe_contract(path).size_multiple == 1


@pytest.mark.skipif(not hasattr(signal, "SIGSEGV"), reason="this system has no signals")
def test_a_crash_is_told_by_its_signal(linear, tmp_path) -> None:
    process = GraphProcess(linear(tmp_path / "n.onnx", 1, 0), 1, SMALL, "")
    os.kill(process._process.pid, signal.SIGSEGV)
    with pytest.raises(GraphLimitError, match="crashed with signal 11"):
        process.run({"x": np.zeros((1, 3, 8, 8), np.float32)})


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no signals")
def test_whoever_kills_it_is_not_its_limit_of_memory(linear, tmp_path) -> None:
    process = GraphProcess(linear(tmp_path / "n.onnx", 1, 0), 1, SMALL, "")
    os.kill(process._process.pid, signal.SIGKILL)
    with pytest.raises(GraphLimitError, match=r"killed from outside \(signal 9\)") as caught:
        process.run({"x": np.zeros((1, 3, 8, 8), np.float32)})
    assert "needs more than" not in str(caught.value)


def test_an_output_more_than_64_times_a_picture_is_not_sent(tmp_path) -> None:
    def repeated(*times: int) -> np.ndarray:
        nodes = [helper.make_node("Tile", ["x", "times"], ["y"])]
        model = hostile_graphs.model_of(nodes, {"times": np.array([1, 1, *times], np.int64)})
        process = GraphProcess(hostile_graphs.written(model, tmp_path / "n.onnx"), 1, SMALL, "")
        return process.run({"x": np.zeros((1, 3, 1, 1), np.float32)})

    assert repeated(8, 8).shape == (1, 3, 8, 8)
    with pytest.raises(GraphFailedError, match=r"it gives \[1, 3, 5, 13\], far more"):
        repeated(5, 13)


def test_the_clock_stands_still_while_nothing_is_asked(linear, tmp_path) -> None:
    """What is made of the answers here takes its own time, which is not the graph's."""
    process = GraphProcess(linear(tmp_path / "n.onnx", 1, 0), 1, SMALL, "")
    assert not running_timers()
    left_s = process._left_s
    assert 0 < left_s < 60
    process.run({"x": np.zeros((1, 3, 8, 8), np.float32)})
    assert not running_timers()
    assert process._left_s < left_s


def running_timers() -> list[threading.Timer]:
    timers = [each for each in threading.enumerate() if isinstance(each, threading.Timer)]
    return [each for each in timers if not each.finished.is_set()]


def test_a_session_of_a_file_that_nobody_probed_tries_it_first(hostile) -> None:
    with limited_to(timeout_s=1.5), pytest.raises(GraphLimitError, match="did not end"):
        open_foreign_graph(hostile("loop"))


def test_a_file_larger_than_the_limit_is_not_read(linear, tmp_path) -> None:
    path = linear(tmp_path / "n.onnx", 1, 0)
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights")
    hostile_graphs.written(model, path)
    with (tmp_path / "weights").open("wb") as stream:
        stream.truncate(10**12)  # sparse
    with pytest.raises(GraphLimitError, match=r"1e\+03 GB, more than the .* --max-ram"):
        probe_contract(path)


def test_names_that_are_not_text_are_refused(linear, tmp_path) -> None:
    path = linear(tmp_path / "n.onnx", 1, 0)
    path.write_bytes(path.read_bytes().replace(b"\n\x01x", b"\n\x01\xff"))
    with pytest.raises(TeacherError, match="can't be loaded as ONNX"):
        probe_contract(path)


def test_whatever_a_file_says_of_itself_is_short(tmp_path) -> None:
    """Else its description would not arrive, and be waited for."""
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    model = hostile_graphs.model_of(nodes, shape=(1, 3, "\u2028" * 5000, "W"))
    for number in range(500):
        kind = onnx.TensorProto.FLOAT
        model.graph.input.append(helper.make_tensor_value_info(f"{number}" * 900, kind, ["N"] * 90))
    model.metadata_props.add(key="note", value="short")
    model.metadata_props.add(key="form", value="x" * MOST_FORM_TEXT)
    model.metadata_props.add(key="long", value="x" * (MOST_FORM_TEXT + 1))
    model.metadata_props.add(key="n" * 101, value="of a long name")
    process = GraphProcess(hostile_graphs.written(model, tmp_path / "n.onnx"), 1, SMALL, "")
    assert process.metadata == {"note": "short", "form": "x" * MOST_FORM_TEXT}
    assert len(process.inputs[1].name) == 300


def test_limits_hold_while_their_block_lasts() -> None:
    usual = current_limits()
    assert usual.max_ram_bytes <= 4_000_000_000
    assert usual.timeout_s == 120
    with limited_to(max_ram_bytes=5), limited_to(timeout_s=7):
        assert current_limits() == TrialLimits(max_ram_bytes=5, timeout_s=7)
    assert current_limits().timeout_s == 120


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(timeout_s) -> None:
    with pytest.raises(OptionError, match="timeout is"), limited_to(timeout_s=timeout_s):
        pass


@ON_LINUX
def test_nothing_is_left_of_a_graph_whose_parent_is_killed(hostile, tmp_path) -> None:
    path = str(hostile("loop"))
    code = f"from nstc.runtime.foreign.probing import *; probe_contract(Path({path!r}))"
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        deadline = time.monotonic() + 60
        while not children.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        (child,) = map(int, children.read_text().split())
        limits = Path(f"/proc/{child}/limits")  # set when the kernel knows to end it
        while time.monotonic() < deadline and "data size             unl" in limits.read_text():
            time.sleep(0.02)
        parent.kill()
    while cmdline(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not cmdline(child)


def cmdline(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@pytest.mark.skipif(sys.platform == "win32", reason="has no such limits")
@pytest.mark.parametrize(("asked_s", "left"), [(250, (100, 200)), (50, (50, 200))])
def test_a_limit_of_cpu_time_that_the_user_set_is_never_raised(asked_s, left) -> None:
    program = (
        "import resource; from nstc.runtime.foreign.graph_child import limit_this_process\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (100, 200))\n"
        f"limit_this_process(10**9, {asked_s})\n"
        "print(resource.getrlimit(resource.RLIMIT_CPU))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.stdout.strip(), ran.stderr) == (str(left), "")
