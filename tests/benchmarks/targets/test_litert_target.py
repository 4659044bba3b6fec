"""LiteRT as a target: the file of a size, of teachers too, and what it refuses."""

import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nstc.benchmarks.bench import bench
from nstc.benchmarks.subjects import Subject, find_subject
from nstc.benchmarks.targets import base, litert_target, parse_target, portable_target
from nstc.benchmarks.targets.litert_target import LitertTarget
from nstc.core import Silent
from nstc.core.errors import OptionError, TargetError
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.probing import probe_contract

NAME = "16x16.tflite"


class Halving:
    """Stands for LiteRT: a graph of 16x16 that halves brightness."""

    opened: list[tuple[int, tuple[int, ...]]]  # threads, and the cores that they are pinned to
    cores: tuple[int, ...]

    def __init__(self, *, model_content: bytes, num_threads: int) -> None:
        Halving.opened.append((num_threads, Halving.cores))
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
    @contextmanager
    def pinned(cores):
        Halving.cores = cores
        yield
        Halving.cores = ()

    Halving.opened, Halving.cores = [], ()
    for module in (litert_target, portable_target):
        monkeypatch.setattr(module, "pinned", pinned)
    whole = ModuleType("ai_edge_litert")
    whole.__version__ = "2.3.0"
    package = ModuleType("ai_edge_litert.interpreter")
    package.Interpreter = Halving
    monkeypatch.setitem(sys.modules, "ai_edge_litert", whole)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", package)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: True)


@pytest.fixture
def target(installed, monkeypatch) -> LitertTarget:
    monkeypatch.setattr(base, "usable_cores", lambda: (3, 5))
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
    target, teacher, student, tmp_path, recipe
) -> None:
    """Each on the cores of the target, while what makes the files may use all."""
    asked = []

    def store(bundle, name, *, trust=False) -> Path:
        asked.append((bundle.name, name, Halving.cores))
        (tmp_path / name).write_bytes(b"TFL3")
        return tmp_path / name

    subjects = [find_subject(own.path, store=store) for own in (teacher, student)]
    artifact = target.reference_artifact(16)
    assert target.artifacts(subjects[1], 16) == (artifact,) == (NAME,)
    sessions = [target.open(subject, artifact, probe_contract) for subject in subjects]
    picture = np.full((16, 16, 3), 100, np.uint8)
    reading = target.measure(sessions, picture, recipe, Silent())
    assert asked == [("teacher", NAME, ()), ("student", NAME, ())]
    assert len(reading.timings.reference_ms) == len(reading.timings.candidates_ms[0]) == 3
    assert reading.place == {"runtime": "LiteRT 2.3.0", "threads": 1}
    assert len(Halving.opened) > 2, "each is opened anew for a turn"
    assert set(Halving.opened) == {(1, (3,))}
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


@pytest.mark.usefixtures("target")
@pytest.mark.parametrize(
    ("artifact", "told"),
    [
        ("int8", r"runs LiteRT files of one size.*not int8: leave --artifact out"),
        ("32x32.tflite", r"pictures of 32x32 .*only, .*16x16: give --size 32, or leave --artifact"),
        ("16x32.tflite", r"pictures of 16x32 .*only, .*16x16: leave --artifact out"),
    ],
)
def test_a_file_that_can_not_be_timed_is_refused_before_any_is_made(
    student, teacher, photo_set, artifact, told
) -> None:
    with pytest.raises(OptionError, match=told):
        bench(
            [student.path],
            against=teacher.path,
            artifacts=[artifact],
            photos=photo_set(1),
            recipe=BenchRecipe(size=16, targets=("litert:1",)),
            quality=False,
            store=lambda *_, **__: pytest.fail("made"),
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


@pytest.mark.usefixtures("installed")
def test_a_package_that_does_not_load_is_said_in_one_line(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(TargetError, match=r"LiteRT can't be loaded: .*Install ai-edge-litert\."):
        parse_target("litert:1")
