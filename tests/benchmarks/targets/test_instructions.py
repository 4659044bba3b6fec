"""The target, whose counts are made up."""

import numpy as np
import pytest

from nstc.benchmarks.subjects import find_subject
from nstc.benchmarks.targets import instructions, parse_target
from nstc.benchmarks.targets.callgrind import counting
from nstc.benchmarks.targets.cpu import CpuTarget
from nstc.benchmarks.timing import latency
from nstc.benchmarks.timing.instruction_counts import InstructionCount
from nstc.benchmarks.timing.machine import machine_class
from nstc.core import Silent
from nstc.core.errors import OptionError
from nstc.core.graph_form import read_inputs
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.networks import ForeignSession
from nstc.runtime.foreign.probing import probe_contract


@pytest.fixture(autouse=True)
def _quick(monkeypatch, stand_in):
    stand_in("valgrind")
    monkeypatch.setattr(latency, "PAUSE_S", 0.0)
    monkeypatch.setattr(latency, "STRETCH_S", 0.0)
    monkeypatch.setattr(latency, "drifting", lambda _: [])


@pytest.fixture
def counted(monkeypatch):
    """What was given to be counted; the reference takes 1000 instructions, each file 40 or 50."""
    calls = []

    def count(fed, *, name, progress, single=False):
        calls.append((fed, single))
        numbers = [1000] if single else [40, 50]
        return [
            InstructionCount(per_picture=number, functions={}, operators={})
            for number, _ in zip(numbers, fed, strict=True)
        ]

    monkeypatch.setattr(counting, "count", count)
    return calls


@pytest.fixture
def measured(make_bundle, foreign_file, counted):
    """The reading of a float file and of one that others made, against a float file."""

    def measure(name):
        target = parse_target(name)
        bundle = make_bundle("student", {"onnx": 0.5})
        paths = (bundle.path, bundle.path, foreign_file)
        sessions = [target.open(find_subject(path), "onnx", probe_contract) for path in paths]
        picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        recipe = BenchRecipe(size=32, rounds=3)
        return target.measure(sessions, picture, recipe, Silent()), sessions, picture

    return measure


def test_rows_have_counts_and_each_file_is_given_what_its_graph_takes(measured, counted):
    reading, sessions, picture = measured("instructions")
    assert [row.instructions.per_picture for row in reading.rows] == [40, 50]
    assert [row.instructions.fewer for row in reading.rows] == [None, None]
    [([own, foreign], single)] = counted
    assert not single
    assert (own.path, foreign.path) == (sessions[1].path, sessions[2].path)
    (feed,) = own.feeds
    assert (feed.shape, feed.dtype) == ((1, 3, 32, 32), np.float32)
    (feed,) = foreign.feeds
    np.testing.assert_array_equal(feed[0, :32, :32], picture)


def test_the_reference_is_counted_where_it_is_asked_for(measured, counted):
    reading, sessions, _ = measured("instructions:reference")
    assert [row.instructions.fewer for row in reading.rows] == [25.0, 20.0]
    [fed] = counted[1][0]
    assert (fed.path, counted[1][1]) == (sessions[0].path, True)


def test_rows_have_one_name_whether_the_reference_is_counted_or_not():
    assert parse_target("instructions:reference").name == "instructions"


@pytest.mark.parametrize(
    ("int8", "known"),
    [(["avx2", "avx512_vnni"], "avx2"), (["avx512bw"], "no-int8"), (["asimd", "sve"], "asimd")],
)
def test_its_class_is_of_the_instructions_that_valgrind_knows(measured, monkeypatch, int8, known):
    facts = {"arch": "a", "int8": int8, "tools": {"onnxruntime": "1.31.0"}}
    monkeypatch.setattr(instructions, "machine_facts", lambda: facts)
    reading, _, _ = measured("instructions")
    assert machine_class(facts, reading.place) == f"a/{known}/onnxruntime-1.31.0"


@pytest.mark.parametrize("text", ["instructions:2", "instructions:", "instructions:Reference"])
def test_it_takes_no_number_of_threads(text):
    with pytest.raises(OptionError, match="expected instructions, or instructions:reference"):
        parse_target(text)


@pytest.mark.parametrize("artifact", ["ts", "pte", "int8.pte"])
def test_programs_are_refused(make_bundle, artifact):
    subject = find_subject(make_bundle("student", {"onnx": 0.5}).path)
    with pytest.raises(OptionError, match=f"runs ONNX files, not {artifact}: give --artifact"):
        parse_target("instructions").open(subject, artifact, probe_contract)


def test_a_graph_that_takes_more_than_a_picture_is_refused_before_anything_is_timed(
    styled, counted, tmp_path, monkeypatch
):
    path = styled(tmp_path / "net.onnx", "index")
    contract = probe_contract(path, input_range=1, inputs=read_inputs(["style=1"]))
    session = ForeignSession(path, contract, 1)
    timed = []
    monkeypatch.setattr(CpuTarget, "measure", lambda *_: timed.append(1))
    with pytest.raises(OptionError, match=r"net\.onnx also takes style, .*--target cpu"):
        parse_target("instructions").measure(
            [session] * 2, np.zeros((32, 32, 3), np.uint8), BenchRecipe(size=32), Silent()
        )
    assert (timed, counted) == ([], [])


def test_without_valgrind_it_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(OptionError, match=r"there is no valgrind on the PATH: .*apt install"):
        parse_target("instructions")


def test_elsewhere_than_on_linux_it_is_not_available(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(OptionError, match="counts on Linux alone"):
        parse_target("instructions")


@pytest.mark.parametrize(("machine", "largest"), [("riscv64", 2**63 - 1), ("x86_64", 2**31 - 1)])
def test_on_another_architecture_it_is_not_available(monkeypatch, machine, largest):
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("sys.maxsize", largest)
    with pytest.raises(OptionError, match="counts on x86_64 and aarch64 alone"):
        parse_target("instructions")
