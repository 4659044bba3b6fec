import time
from pathlib import Path

import numpy as np
import pytest

from nstc.benchmarks.subjects import find_subject
from nstc.benchmarks.targets import base, cpu, parse_target
from nstc.benchmarks.targets.cpu import CpuTarget
from nstc.benchmarks.timing import latency
from nstc.benchmarks.timing.machine import usable_cores
from nstc.core import Silent
from nstc.core.errors import OptionError
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.networks import ForeignSession
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.onnx_session import OnnxSession


@pytest.fixture
def four_cores(monkeypatch):
    for module in (cpu, base):
        monkeypatch.setattr(module, "usable_cores", lambda: (2, 3, 5, 7))


@pytest.mark.usefixtures("four_cores")
def test_a_target_takes_as_many_cores_as_threads():
    assert parse_target("cpu:2") == CpuTarget(name="cpu:2", threads=2, cores=(2, 3))


@pytest.mark.usefixtures("four_cores")
def test_cpu_alone_is_all_cores_and_says_how_many():
    assert parse_target("cpu") == CpuTarget(name="cpu:4", threads=4, cores=(2, 3, 5, 7))


@pytest.mark.usefixtures("four_cores")
def test_more_threads_than_cores_name_the_limit():
    with pytest.raises(OptionError, match=r"5 cores.*may use 4.*--target cpu:4 or fewer"):
        parse_target("cpu:5")


@pytest.mark.usefixtures("four_cores")
def test_mobile_is_one_core_and_reports_memory():
    target = parse_target("mobile")
    assert target == CpuTarget(name="mobile", threads=1, cores=(2,), reports_memory=True)
    with pytest.raises(OptionError, match="one thread"):
        parse_target("mobile:2")


def test_every_turn_is_of_a_session_opened_anew_and_foreign_files_too(
    make_bundle, foreign_file, monkeypatch
):
    monkeypatch.setattr(latency, "PAUSE_S", 0.0)
    monkeypatch.setattr(latency, "STRETCH_S", 0.0)
    monkeypatch.setattr(latency, "drifting", lambda _: [])
    opened = []
    for kind in (OnnxSession, ForeignSession):
        original = kind.reopened

        def reopened(self, original=original):
            opened.append(self.path.name)
            fresh = original(self)
            assert fresh is not self
            assert type(fresh) is type(self)
            return fresh

        monkeypatch.setattr(kind, "reopened", reopened)
    target = parse_target("cpu:1")
    bundle = make_bundle("student", {"onnx": 0.5})
    sessions = [
        target.open(find_subject(path), "onnx", probe_contract)
        for path in (bundle.path, foreign_file)
    ]
    picture = np.zeros((32, 32, 3), np.uint8)
    recipe = BenchRecipe(size=32, rounds=4, targets=("cpu:1",))
    reading = target.measure(sessions, picture, recipe, Silent())
    assert sorted(opened) == ["foreign.onnx"] * 4 + ["model.onnx"] * 4
    (foreign,) = reading.rows
    assert foreign.provider is None
    assert foreign.throughput is not None
    assert foreign.throughput.graph_batch == "unknown"


class _Waiting:
    """A session that needs the processor for nothing: something else has it meanwhile."""

    def __init__(self) -> None:
        self.path = Path("model.onnx")

    def prepare(self, rgb):
        return rgb

    def infer(self, feed):
        time.sleep(0.002)
        return feed


@pytest.mark.parametrize(("threads", "counts"), [(1, False), (2, True)])
def test_what_a_thread_waits_for_counts_on_several_threads_alone(threads, counts, monkeypatch):
    monkeypatch.setattr(latency, "STRETCH_S", 0.0)
    monkeypatch.setattr(latency, "drifting", lambda _: [])
    target = CpuTarget(name=f"cpu:{threads}", threads=threads, cores=usable_cores()[:1])
    recipe = BenchRecipe(size=32, rounds=3)
    picture = np.zeros((32, 32, 3), np.uint8)
    reading = target.measure([_Waiting(), _Waiting()], picture, recipe, Silent())
    assert all((own > 1.9) is counts for own in reading.timings.candidates_ms[0])
    [row] = reading.rows  # whose other figures are of the same meaning of time
    assert (row.throughput.frames_per_second < 1000 / 1.9) is counts


@pytest.mark.parametrize("threads", [1, 2])
def test_a_rooflines_peaks_are_timed_by_the_clock_of_its_files(threads, monkeypatch):
    clocks = []
    monkeypatch.setattr(latency, "STRETCH_S", 0.0)
    monkeypatch.setattr(base, "alternate_sessions", lambda *given: clocks.append(given[-1]))
    monkeypatch.setattr(cpu, "measure_peaks", lambda _, clock: clocks.append(clock))
    target = CpuTarget(name=f"cpu:{threads}", threads=threads, cores=usable_cores()[:1])
    recipe = BenchRecipe(size=32, rounds=3, roofline=True)
    target.measure([_Waiting()], np.zeros((32, 32, 3), np.uint8), recipe, Silent())
    files, peaks = clocks
    assert files is peaks


def test_a_session_opened_anew_computes_the_same_on_as_many_threads(make_bundle):
    path = make_bundle("student", {"onnx": 0.5}).path / "model.onnx"
    session = OnnxSession(path, "onnx", 2)
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    fresh = session.reopened()
    assert (fresh.run(picture) == session.run(picture)).all()
    assert fresh._session.get_session_options().intra_op_num_threads == 2
    assert (session.batch, session.provider) == (1, "CPUExecutionProvider")
