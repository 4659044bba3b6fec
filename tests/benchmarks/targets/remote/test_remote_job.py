"""What is sent, and that the script which is sent does with it what this machine would."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nstc.benchmarks.targets.remote import remote_worker
from nstc.benchmarks.targets.remote.remote_target import Listener, make_job
from nstc.benchmarks.timing import latency
from nstc.core import Silent
from nstc.core.errors import OptionError
from nstc.core.graph_form import read_inputs
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.networks import ForeignSession
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.onnx_session import OnnxSession

RECIPE = BenchRecipe(size=16, rounds=3, seed=5)


@pytest.fixture
def picture():
    return np.random.default_rng(1).integers(0, 256, (18, 21, 3), dtype=np.uint8)


@pytest.fixture
def sessions(tmp_path, linear, negative_bytes):
    """A float graph, one of bytes, and one of others' making that takes multiples of 4."""
    float_file = linear(tmp_path / "float.onnx", 0.5, 0.25)
    bytes_file = negative_bytes(tmp_path / "a name; with $(things) in it.onnx")
    contract = probe_contract(bytes_file, size_multiple=4)
    return [
        OnnxSession(float_file, "onnx", 1),
        OnnxSession(bytes_file, "int8.onnx", 1),
        ForeignSession(bytes_file, contract, 1),
    ]


@pytest.fixture
def make(sessions, picture):
    return lambda: make_job(sessions, picture, RECIPE, threads=1)


def test_the_folder_holds_fixed_names_only(make, tmp_path):
    folder = tmp_path / "job"
    make().write(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "feed0.npy",
        "feed1.npy",
        "feed2.npy",
        "graph0.onnx",
        "graph1.onnx",
        "graph2.onnx",
        "job.json",
        "remote_worker.py",
    ]
    content = json.loads((folder / "job.json").read_text())
    assert str(tmp_path) not in json.dumps(content)
    assert np.load(folder / "feed2.npy").shape == (1, 64, 64, 3)  # the least that is tried


def test_weights_beside_a_graph_are_sent_with_it(
    weights_beside, linear, sessions, picture, tmp_path, monkeypatch
):
    monkeypatch.setattr(latency, "PAUSE_S", 0.0)
    path = weights_beside(linear(tmp_path / "split.onnx", 0.5, 0.25))
    session = ForeignSession(path, probe_contract(path, input_range=1), 1)
    job = make_job([sessions[0], session], picture, RECIPE, threads=1)
    folder = tmp_path / "job"
    job.write(folder)
    assert {path.name for path in (folder / "graph1").iterdir()} == {
        "model.onnx",
        "split.onnx.data",
    }
    command = [sys.executable, "-I", str(folder / "remote_worker.py")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    listener = Listener("ssh://board", job, Silent())
    for line in ran.stdout.splitlines():
        listener.hear(line)
    _, pictures = listener.answer({})
    np.testing.assert_array_equal(pictures[1], session.run(picture))


def test_a_graph_that_takes_more_than_a_picture_is_not_sent(sessions, styled, picture, tmp_path):
    path = styled(tmp_path / "net.onnx", "index")
    session = ForeignSession(
        path, probe_contract(path, input_range=1, inputs=read_inputs(["style=1"])), 1
    )
    with pytest.raises(OptionError, match=r"net\.onnx also takes style, .*--target cpu"):
        make_job([sessions[0], session], picture, RECIPE, threads=1)


def test_every_job_has_a_token_of_its_own(make):
    assert make().token != make().token


def test_a_picture_that_a_graph_does_not_take_is_refused_before_anything_is_sent(
    negative_bytes, tmp_path, picture
):
    session = OnnxSession(negative_bytes(tmp_path / "fixed.onnx", 32, 32), "int8.onnx", 1)
    with pytest.raises(OptionError, match="32x32"):
        make_job([session, session], picture, RECIPE, threads=1)


def test_the_script_alone_gives_the_pictures_that_this_machine_gives(
    make, sessions, picture, tmp_path, monkeypatch
):
    monkeypatch.setattr(latency, "PAUSE_S", 0.0)
    job = make()
    folder = tmp_path / "job"
    job.write(folder)
    (tmp_path / "temporary").mkdir()
    ran = subprocess.run(  # -I: neither this folder nor PYTHONPATH helps it
        [sys.executable, "-I", str(folder / "remote_worker.py")],
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(ran.stdout) < job.answer_bytes
    assert list((tmp_path / "temporary").iterdir()) == []
    listener = Listener("ssh://board", job, Silent())
    for line in ran.stdout.splitlines():
        listener.hear(line)
    answer, pictures = listener.answer({})
    assert len(pictures) == len(sessions)
    for position, session in enumerate(sessions):
        np.testing.assert_array_equal(pictures[position], session.run(picture))
    assert len(answer.timings.reference_ms) == 3
    assert answer.place["onnxruntime"].count(".") == 2
    assert answer.place["pinned"] == 1
    peaks = [facts.footprint.peak_bytes for facts in answer.rows]
    assert len(peaks) == 2
    assert all(20e6 < peak < 500e6 for peak in peaks)


def test_what_goes_wrong_there_is_said_in_the_jobs_words(make, tmp_path):
    job = make()
    folder = tmp_path / "job"
    job.write(folder)
    (folder / "graph1.onnx").write_bytes(b"cut off")
    command = [sys.executable, "-I", str(folder / "remote_worker.py")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    listener = Listener("ssh://board", job, Silent())
    for line in ran.stdout.splitlines():
        listener.hear(line)
    assert ran.returncode == 1
    assert "graph1.onnx" in listener.error


class FakeTime:
    """Time that passes only in graphs' runs and in sleep; those are written down."""

    def __init__(self):
        self.ns = 0
        self.log = []

    def perf_counter_ns(self):
        return self.ns

    def sleep(self, seconds):
        self.log.append(("sleep", seconds))
        self.ns += int(seconds * 1e9)


class FakeGraph:
    """Slower at first, then of a speed that changes from run to run."""

    def __init__(self, name, ms, clock):
        self.name, self.ms, self.clock, self.runs = name, ms, clock, 0

    def infer(self):
        self.runs += 1
        self.clock.log.append((self.name, self.runs))
        self.clock.ns += int(1e6 * self.ms * (1 + (self.runs * 7 % 5) / 10))

    timed_ms = remote_worker.FedGraph.timed_ms


def test_the_far_side_measures_as_this_machine_does(monkeypatch, make):
    job = make()
    content = {
        "token": job.token,
        "orders": job.orders,
        "pause_s": latency.PAUSE_S,
        "turn_ms": latency.TURN_MS,
        "fewest_repeats": latency.FEWEST_REPEATS,
        "most_repeats": latency.MOST_REPEATS,
        "max_warm_ups": latency.MAX_WARM_UPS,
        "steady": latency.STEADY,
    }

    def graphs(clock):
        return [FakeGraph(name, ms, clock) for name, ms in (("a", 40), ("b", 3), ("c", 9.5))]

    far = FakeTime()
    monkeypatch.setattr(remote_worker, "time", far)
    far_samples = remote_worker.timed(content, graphs(far))

    near = FakeTime()
    runs = [graph.infer for graph in graphs(near)]
    timings = latency.alternate(
        runs[0],
        runs[1:],
        rounds=RECIPE.rounds,
        seed=RECIPE.seed,
        clock=latency.RunClock(now_ns=near.perf_counter_ns, sleep=near.sleep),
    )
    assert far.log == near.log
    assert list(map(tuple, far_samples)) == [timings.reference_ms, *timings.candidates_ms]


def test_the_script_needs_nothing_but_numpy_and_onnxruntime_and_reads_as_python_3_8():
    source = Path(remote_worker.__file__).read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 8))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported - sys.stdlib_module_names == {"numpy", "onnxruntime"}


def test_a_boards_processor_is_found_by_the_name_it_has_there():
    fields = remote_worker.processor_fields(
        "processor\t: 0\nFeatures\t: fp asimd asimddp\nprocessor\t: 1\nFeatures\t: fp\n"
        "Hardware\t: Some SoC\n"
    )
    assert remote_worker.processor_name(fields) == "Some SoC"
    assert remote_worker.int8_of(fields, ["avx2", "asimd", "asimddp"]) == ["asimd", "asimddp"]


def test_the_fastest_cores_are_taken(monkeypatch):
    speeds = {0: 1_800_000, 1: 1_800_000, 2: 2_400_000, 3: 2_800_000}
    taken = []
    monkeypatch.setattr(remote_worker.os, "sched_getaffinity", lambda _: set(speeds))
    monkeypatch.setattr(remote_worker.os, "sched_setaffinity", lambda _, cores: taken.append(cores))
    monkeypatch.setattr(remote_worker, "top_speed", speeds.__getitem__)
    assert remote_worker.pin(1) == [3]
    assert remote_worker.pin(3) == [3, 2, 0]
    assert taken == [[3], [3, 2, 0]]
