"""LiteRT as a target: the file of a size, of teachers too, and what it refuses."""

import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nstc.benchmarks.subjects import Subject, find_subject
from nstc.benchmarks.targets import base, litert_target, parse_target
from nstc.benchmarks.targets.litert_target import LitertTarget
from nstc.core import Silent
from nstc.core.errors import OptionError
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.probing import probe_contract

NAME = "16x16.tflite"


class Halving:
    """Stands for LiteRT: a graph of 16x16 that halves brightness."""

    opened: list[tuple[int, set[int]]]  # threads, and the cores that they may run on

    def __init__(self, *, model_content: bytes, num_threads: int) -> None:
        Halving.opened.append((num_threads, os.sched_getaffinity(0)))
        self.edge = {"index": 0, "shape": (1, 3, 16, 16), "dtype": np.float32}

    def allocate_tensors(self) -> None: ...

    def get_input_details(self):
        return [self.edge]

    get_output_details = get_input_details

    def set_tensor(self, index, feed) -> None:
        self.feed = feed

    def invoke(self) -> None:
        self.made = self.feed / 2

    def get_tensor(self, index):
        return self.made


@pytest.fixture
def installed(monkeypatch):
    Halving.opened = []
    package = ModuleType("ai_edge_litert.interpreter")
    package.Interpreter = Halving
    monkeypatch.setitem(sys.modules, "ai_edge_litert", ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", package)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    monkeypatch.setattr(litert_target.metadata, "version", lambda _: "2.3.0")


@pytest.fixture
def target(installed, monkeypatch) -> LitertTarget:
    here = min(os.sched_getaffinity(0))
    monkeypatch.setattr(base, "usable_cores", lambda: (here, here))
    return parse_target("litert:1")


def test_it_is_as_many_threads_as_are_asked_for(target) -> None:
    assert (target.name, target.runtime) == ("litert:1", "LiteRT 2.3.0")
    assert parse_target("litert").name == "litert:2"
    for nonsense in ("litert:", "litert:0", "litert:two"):
        with pytest.raises(OptionError, match="as in litert:2"):
            parse_target(nonsense)
    with pytest.raises(OptionError, match=r"needs 3 cores.*give --target litert:2 or fewer"):
        parse_target("litert:3")


def test_teacher_and_student_are_made_for_the_size_and_timed(
    target, teacher, student, tmp_path
) -> None:
    """Each on the cores of the target, while what makes the files may use all."""
    asked = []

    def store(bundle, name, *, trust=False) -> Path:
        asked.append((bundle.name, name, os.sched_getaffinity(0)))
        (tmp_path / name).write_bytes(b"TFL3")
        return tmp_path / name

    before = os.sched_getaffinity(0)
    subjects = [find_subject(own.path, store=store) for own in (teacher, student)]
    artifact = target.reference_artifact(16)
    assert target.artifacts(subjects[1], 16) == (artifact,) == (NAME,)
    sessions = [target.open(subject, artifact, probe_contract) for subject in subjects]
    picture = np.full((16, 16, 3), 100, np.uint8)
    reading = target.measure(sessions, picture, BenchRecipe(rounds=3), Silent())
    assert asked == [("teacher", NAME, before), ("student", NAME, before)]
    assert len(reading.timings.reference_ms) == len(reading.timings.candidates_ms[0]) == 3
    assert reading.place == {"runtime": "LiteRT 2.3.0", "threads": 1}
    assert all(own == (1, set(target.cores)) for own in Halving.opened)
    assert (sessions[1].run(picture) == 50).all()


@pytest.mark.parametrize(
    "artifact", ["int8", "float", "tflite", "portable.16x16.onnx", "9x99999.tflite"]
)
def test_other_files_are_refused(target, student, artifact) -> None:
    with pytest.raises(OptionError) as caught:
        target.open(find_subject(student.path), artifact, probe_contract)
    assert str(caught.value) == (
        "target litert:1 runs LiteRT files of one size, such as 256x256.tflite, not "
        f"{artifact}: leave --artifact out."
    )


def test_a_file_of_others_is_refused_with_what_to_do(target, foreign_file) -> None:
    with pytest.raises(OptionError) as caught:
        target.open(Subject(foreign_file, None), NAME, probe_contract)
    assert str(caught.value) == (
        f"target litert:1 runs files of bundles, and {foreign_file} is an ONNX file: distill it to "
        "a bundle, time against a bundle by --against, or give --target cpu."
    )


@pytest.mark.parametrize("package", ["ai-edge-litert", "litert-torch"])
def test_where_a_package_is_missing_the_line_that_installs_it_is_told(monkeypatch, package) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: name != package.replace("-", "_") or None
    )
    with pytest.raises(
        OptionError,
        match=rf'litert can\'t run here: .* need {package}: pip install "nstc\[litert\]"',
    ):
        parse_target("litert:1")
