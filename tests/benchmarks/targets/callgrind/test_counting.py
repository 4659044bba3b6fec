"""Counts by a stand-in for Valgrind: what is divided, repeated, refused and left behind."""

import itertools
import json
import os
import platform
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from nstc.benchmarks.targets.callgrind import counting
from nstc.benchmarks.targets.callgrind.counted import START, STOP, operators, requests
from nstc.benchmarks.targets.callgrind.counting import FedFile, agreeing, count
from nstc.benchmarks.timing.instruction_counts import InstructionCount
from nstc.core import Progress, Silent
from nstc.core.errors import TargetError


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def valgrind(stand_in, temporary):
    return stand_in("valgrind")


@pytest.fixture
def fed(linear, tmp_path):
    """Two files, one of a name that command lines would not like."""
    feeds = (np.zeros((1, 3, 8, 8), np.float32),)
    paths = (tmp_path / "models" / "one.onnx", tmp_path / "models" / "-- $(two).onnx")
    return [
        FedFile(path=linear(path, 0.5, 0.25), feeds=feeds, weights_once=False) for path in paths
    ]


def counted(fed, **options):
    return count(fed, name="instructions", progress=Silent(), **options)


def of(per_picture: int) -> InstructionCount:
    return InstructionCount(per_picture=per_picture, functions={}, operators={})


def test_a_count_is_of_one_picture_with_what_it_is_made_of(valgrind, fed):
    found = counted(fed)
    assert [own.per_picture for own in found] == [57_000_000] * 2
    assert found[0].functions == {"without a name": 57_000_000}
    assert found[0].operators == {"Conv": 4}


def test_the_process_has_an_environment_and_names_of_its_own(valgrind, fed, monkeypatch):
    monkeypatch.setenv("VALGRIND_OPTS", "--tool=memcheck")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    counted(fed)
    first, second = valgrind.calls()
    assert {"--tool=callgrind", "--instr-atstart=no", "--vgdb=no"} <= set(first["words"])
    assert first["words"] == second["words"]
    assert not [word for word in first["words"] if "two" in word]
    environment = first["environment"]
    assert (environment["PYTHONHASHSEED"], environment["OMP_NUM_THREADS"]) == ("0", "1")
    assert not environment.keys() & {"VALGRIND_OPTS", "HOME", "NSTC_CACHE"}


def test_two_counts_that_agree_do_and_the_lower_one_is_told(valgrind, fed):
    valgrind.plan(a_run={"0-0": 57_000_000, "0-1": 57_050_000})
    assert counted(fed)[0].per_picture == 57_000_000
    assert len(valgrind.calls()) == 2


def test_counts_are_repeated_until_two_agree(valgrind, fed):
    valgrind.plan(a_run={"0-0": 50_000_000, "0-1": 60_000_000, "1-0": 57_000_000})
    assert counted(fed)[0].per_picture == 57_000_000
    assert len(valgrind.calls()) == 4


def test_progress_of_a_repetition_starts_anew(valgrind, fed, temporary):
    valgrind.plan(a_run={"0-0": 50_000_000, "0-1": 60_000_000, "1-0": 57_000_000})
    stages = []
    ahead = []

    class Followed(Progress):
        def begin(self, title, steps, done):
            stages.append(steps)

        def advance(self, step, losses):
            places = f"*/{len(stages) - 1}-*/*.callgrind"  # whose files only become more
            if step > len(list(temporary.glob(places))):
                ahead.append((len(stages), step))

    count(fed, name="instructions", progress=Followed())
    assert (stages, ahead) == ([4, 4], [])  # two Valgrinds, two files


def test_counts_that_never_agree_are_an_error(valgrind, fed, temporary):
    numbers = [f"{number}-{own}" for number in range(3) for own in range(2)]
    valgrind.plan(a_run={name: 10_000_000 + 20_000 * i for i, name in enumerate(numbers)})
    with pytest.raises(TargetError, match=r"no two of 6 counts agree, .* by 0\.20%"):
        counted(fed)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("counts", "chosen"),
    [
        ([1000], 1000),
        ([1001, 1000], 1000),
        ([1002, 1000], None),
        ([900, 1000, 950, 1000.5], 1000),
    ],
)
def test_the_nearest_two_decide(counts, chosen):
    found = agreeing([of(own) for own in counts])
    assert (None if found is None else found.per_picture) == chosen


def test_of_a_large_network_one_picture_is_counted_once(valgrind, fed):
    [found] = counted(fed[:1], single=True)
    assert (found.per_picture, found.operators) == (57_000_000, {})
    assert len(valgrind.calls()) == 1


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (
            {"log": "==7== valgrind: Unrecognised instruction at address 0x5.", "errors": "x"},
            "the processor has instructions that this Valgrind does not know. Install a newer",
        ),
        ({"errors": "graph 1: RuntimeError: no memory\n"}, "RuntimeError: no memory. Does"),
        ({"errors": "graph 1: it crashed, by signal SIGSEGV\n"}, "by signal SIGSEGV. Does"),
        ({"errors": "valgrind: \x1b[2Jmmap failed\n", "status": 9}, r"valgrind: \[2Jmmap failed"),
        ({"errors": "", "status": 3}, "the files can't be counted: exit status 3"),
        ({"errors": "", "status": 0}, "No such file"),
        ({"lines": 6}, "callgrind's file is not whole"),
        ({"a_run": {"0-0": 0}}, "0 instructions a picture"),
        ({"a_run": {"0-1": 10**18}}, "callgrind's file has a line '0 2000"),
        ({"answer": "[]"}, "0 counts of 2 files"),
        ({"answer": "[" * 100_000}, "can't be counted: "),
        ({"answer": json.dumps([{"process": "../../x", "operators": {}}] * 2)}, "proc"),
        ({"answer": json.dumps([{"process": 7, "operators": {}}] * 2)}, "No such file"),
    ],
)
def test_what_goes_wrong_is_told_in_one_line(valgrind, fed, temporary, plan, said):
    valgrind.plan(**plan)
    with pytest.raises(TargetError, match=said) as caught:
        counted(fed)
    message = str(caught.value)
    assert message.startswith("instructions: ")
    assert message.isprintable()
    if "graph 1" in plan.get("errors", ""):
        assert f"{fed[1].path} can't be counted" in message
    assert list(temporary.iterdir()) == []


def test_ctrl_c_ends_the_process_and_leaves_nothing(valgrind, fed, temporary):
    valgrind.plan(waits=True)

    class Stopped(Progress):
        def advance(self, step, losses):
            if (valgrind.folder / "process").exists():
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count(fed, name="instructions", progress=Stopped())
    with pytest.raises(ProcessLookupError):
        os.kill(int((valgrind.folder / "process").read_text()), 0)
    assert list(temporary.iterdir()) == []


def test_one_that_never_ends_is_ended(valgrind, fed, monkeypatch):
    monkeypatch.setattr(counting, "WHOLE_S", 0)
    valgrind.plan(waits=True)
    with pytest.raises(TargetError, match=r"took more than 0 s\. Give a smaller --size"):
        counted(fed)


def test_operators_are_those_that_ran():
    events = [
        {"cat": "Session", "name": "model_loading", "args": {}},
        {"cat": "Node", "name": "a_fence_before", "args": {"op_name": "Conv"}},
        {"cat": "Node", "name": "a_kernel_time", "args": {"op_name": "Conv"}},
        {"cat": "Node", "name": "b_kernel_time", "args": {"op_name": "Clip"}},
        {"cat": "Node", "name": "c_kernel_time", "args": {"op_name": "Conv"}},
    ]
    assert operators(events) == {"Conv": 2, "Clip": 1}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="what was written may be run at once")
def test_requests_are_answered_by_nobody_outside_valgrind():
    request = requests()
    assert [request(number) for number in (START, STOP)] == [0, 0]


def deeper(path: Path, write_graph, more: int) -> Path:
    """A square root of a square root of ..., with so many more of them."""
    names = ["x", *(f"t{number}" for number in range(2 + more)), "y"]
    pairs = itertools.pairwise(names)
    nodes = [helper.make_node("Sqrt", [given], [made]) for given, made in pairs]
    return write_graph(path, nodes)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="not installed: valgrind")
def test_one_more_operator_is_counted_and_a_refused_file_is_named(write_graph, tmp_path, temporary):
    values = np.random.default_rng(0).random((1, 3, 256, 256), dtype=np.float32)
    paths = [deeper(tmp_path / f"{more}.onnx", write_graph, more) for more in (0, 0, 1)]
    fed = [FedFile(path=path, feeds=(values,), weights_once=False) for path in paths]
    first, same, more = counted(fed)
    added = more.per_picture - first.per_picture
    assert added > values.size / 8
    assert abs(same.per_picture - first.per_picture) < 0.1 * added
    assert more.operators["Sqrt"] == first.operators["Sqrt"] + 1
    assert list(temporary.iterdir()) == []
    onnx_file = onnx.load(paths[0])
    onnx_file.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(onnx_file, paths[1])
    with pytest.raises(TargetError, match=r"0\.onnx can't be counted: .*NoSuchOperator"):
        counted(fed)
    assert list(temporary.iterdir()) == []
