"""Other runtimes as targets: which files, which sizes, and what is told where one fails."""

import dataclasses
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import numpy as np
import pytest

from nstc.benchmarks.subjects import Subject, find_subject
from nstc.benchmarks.targets import base, parse_target
from nstc.benchmarks.targets.ncnn import load as load_ncnn
from nstc.benchmarks.targets.portable_target import PortableTarget
from nstc.core import Silent
from nstc.core.errors import CorruptBundleError, OptionError, TargetError
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.session import cached_artifact

FLOAT, INT8 = "portable.16x16.onnx", "int8.portable.16x16.onnx"


@pytest.fixture
def subject(student) -> Subject:
    """A quantized bundle with both portable files in the cache, of any content."""
    for artifact in (FLOAT, INT8):
        path = cached_artifact(student, artifact)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return find_subject(student.path)


def target(load=lambda path, threads: lambda picture: picture / 2) -> PortableTarget:
    return PortableTarget(
        name="opencv:1", runtime="OpenCV 5", cores=(0,), load=load, draws_on="opencv"
    )


def test_it_runs_the_float_file_and_that_of_the_integers(subject, teacher) -> None:
    assert target().artifacts(subject, 16) == (FLOAT, INT8)
    assert target().artifacts(find_subject(teacher.path), 16) == (FLOAT,)
    assert target().reference_artifact(16) == "onnx"


def test_pictures_are_timed_in_it_beside_the_references_float_file(subject, teacher) -> None:
    opened = []

    def load(path, threads):
        opened.append((path.name, threads))
        return lambda picture: picture / 2

    own = target(load)
    sessions = [
        own.open(find_subject(teacher.path), "float", probe_contract),
        own.open(subject, FLOAT, probe_contract),
    ]
    picture = np.full((16, 16, 3), 100, np.uint8)
    reading = own.measure(sessions, picture, BenchRecipe(rounds=3), Silent())
    assert len(reading.timings.candidates_ms[0]) == 3
    assert reading.place == {"runtime": "OpenCV 5", "threads": 1}
    assert set(opened) == {("model.onnx", 1), (f"model.{FLOAT}", 1)}
    assert (sessions[1].run(picture) == 50).all()


def test_other_files_and_sizes_are_refused(subject, foreign_file) -> None:
    for artifact in ("int8", "portable-bytes.16x16.onnx"):
        with pytest.raises(OptionError, match=f"edges of floats, not {artifact}: leave --art"):
            target().open(subject, artifact, probe_contract)
    with pytest.raises(OptionError, match=r"foreign\.onnx is an ONNX file"):
        target().open(find_subject(foreign_file), "onnx", probe_contract)
    session = target().open(subject, FLOAT, probe_contract)
    with pytest.raises(OptionError, match=r"takes pictures of 16x16 .* only, this one is 8x16"):
        session.run(np.zeros((8, 16, 3), np.uint8))


def test_one_without_integers_runs_the_float_file_alone(subject) -> None:
    own = dataclasses.replace(target(), runs_integers=False)
    assert own.artifacts(subject, 16) == (FLOAT,)
    with pytest.raises(OptionError, match="that are not quantized, not int8"):
        own.open(subject, INT8, probe_contract)


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("echo no such operator >&2; exit 3", "pnnx ended with code 3 and said: no such operator"),
        ("echo done > model.ncnn.param", "pnnx ended with code 0 and said: nothing"),
    ],
)
def test_a_converter_that_breaks_is_told_and_nothing_half_written_is_left(
    subject, monkeypatch, tmp_path, program, told
) -> None:
    """It exits with an error, or leaves one of its two files out."""
    (tmp_path / "pnnx").write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
    (tmp_path / "pnnx").chmod(0o755)
    pnnx, ncnn = ModuleType("pnnx"), MagicMock()
    pnnx.EXEC_PATH = str(tmp_path / "pnnx")
    monkeypatch.setitem(sys.modules, "pnnx", pnnx)
    monkeypatch.setitem(sys.modules, "ncnn", ncnn)
    kept = cached_artifact(subject.bundle, FLOAT).parent
    before = sorted(kept.iterdir())
    session = target(load_ncnn).open(subject, FLOAT, probe_contract)
    with pytest.raises(TargetError, match=told):
        session.run(np.zeros((16, 16, 3), np.uint8))
    assert sorted(kept.iterdir()) == before


def test_a_runtime_that_can_not_run_a_file_is_told_in_its_own_words(subject) -> None:
    def breaks(path, threads):
        raise ValueError("no layer Frobnicate\n" + "of a long trace\n" * 99)

    with pytest.raises(TargetError, match=r"^OpenCV 5 can't run model\.portable.*Frobnicate$"):
        target(breaks).open(subject, FLOAT, probe_contract)
    cut = target(lambda path, threads: lambda picture: picture[..., :4])
    with pytest.raises(CorruptBundleError, match="expected a picture of the same size"):
        cut.open(subject, FLOAT, probe_contract).run(np.zeros((16, 16, 3), np.uint8))


@pytest.mark.parametrize("name", ["opencv", "openvino", "ncnn"])
def test_where_it_is_not_installed_the_line_that_installs_it_is_told(monkeypatch, name) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(
        OptionError, match=rf'target {name} can\'t run here: .*pip install "nstc\[everywhere\]"'
    ):
        parse_target(f"{name}:1")


def test_opencv_takes_the_threads_that_are_asked_for(monkeypatch, subject) -> None:
    """Of the processes' own, as OpenCV has no others."""
    asked: list[object] = []

    class Network:
        def setInput(self, picture):  # noqa: N802
            self.picture = picture

        def forward(self):
            return self.picture / 2

    cv2 = ModuleType("cv2")
    cv2.__version__ = "5.0.0"
    cv2.setNumThreads = asked.append
    cv2.dnn = ModuleType("dnn")
    cv2.dnn.readNetFromONNX = lambda path: asked.append(Path(path).name) or Network()
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    monkeypatch.setattr(base, "usable_cores", lambda: (0, 1))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
    made = parse_target("opencv:1")
    session = made.open(subject, FLOAT, probe_contract)
    assert (made.name, made.runtime, made.draws_on) == ("opencv:1", "OpenCV 5.0.0", "opencv")
    assert asked == [1, f"model.{FLOAT}"]
    assert (session.run(np.full((16, 16, 3), 100, np.uint8)) == 50).all()
