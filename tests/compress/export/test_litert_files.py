"""LiteRT files: what they compute, what is refused, and what is left where it goes wrong."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from torch import nn

from nstc.compress.export import litert_files
from nstc.compress.export.checking import sample_picture, stylise_with
from nstc.compress.export.export_model import bench, export, made_artifact, network_of
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.errors import CorruptBundleError, MissingExtraError, OptionError
from nstc.core.photos import PhotoSet
from nstc.core.recipe import BenchRecipe
from nstc.models.student import Student
from nstc.runtime import litert
from nstc.runtime.arrays import Difference
from nstc.runtime.litert import LitertSession
from nstc.runtime.verification import verify

SIZE = (64, 96)
NAME = "model.64x96.tflite"


@pytest.mark.everywhere
def test_a_bundle_keeps_a_file_that_verify_runs(student_bundle: Bundle) -> None:
    """Compared with the network before it is kept, and with model.onnx by verify."""
    export(student_bundle, formats=["onnx", "litert"], size=SIZE)
    assert "64x96.tflite" in open_bundle(student_bundle.path).artifacts
    found = {own.check: own for own in verify(student_bundle.path).findings if own.file == NAME}
    assert {own.state for own in found.values()} == {"ok"}
    assert found["contract"].detail == "float32 NCHW in and out, pictures of 64x96 only"
    assert found["agreement"].detail.startswith("as model.onnx")


@pytest.mark.everywhere
def test_what_is_no_file_of_litert_is_refused(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes(b"TFL3" * 20)
    with pytest.raises(CorruptBundleError, match="can't be loaded as a LiteRT file"):
        LitertSession(path, "64x96.tflite")


@pytest.mark.parametrize(
    ("taken", "given"),
    [
        (((2, 3, 64, 96), np.float32), ((2, 3, 64, 96), np.float32)),
        (((1, 4, 64, 96), np.float32), ((1, 4, 64, 96), np.float32)),
        (((1, 3, 64, 96), np.float32), ((1, 3, 32, 48), np.float32)),
        (((1, 3, 64, 96), np.uint8), ((1, 3, 64, 96), np.float32)),
        (((1, 3, 64, 96), np.float32), ((1, 3, 64, 96), np.int8)),
        (((96,), np.float32), ((96,), np.float32)),
    ],
)
def test_both_edges_are_one_float_picture(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    taken: tuple[object, type],
    given: tuple[object, type],
) -> None:
    details = [{"shape": shape, "dtype": dtype} for shape, dtype in (taken, given)]
    graph = SimpleNamespace(
        allocate_tensors=lambda: None,
        get_input_details=lambda: details[:1],
        get_output_details=lambda: details[1:],
    )
    package = ModuleType("ai_edge_litert.interpreter")
    package.Interpreter = lambda **_: graph  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ai_edge_litert", ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", package)
    monkeypatch.setattr(litert, "missing_litert", lambda: None)
    path = tmp_path / NAME
    path.write_bytes(b"TFL3")
    with pytest.raises(CorruptBundleError, match="can't be loaded as a LiteRT file"):
        LitertSession(path, "64x96.tflite")
    for edge in details:
        edge |= {"shape": (1, 3, *SIZE), "dtype": np.float32}
    assert LitertSession(path, "64x96.tflite").fixed_size == SIZE


def test_a_conversion_that_breaks_leaves_nothing(
    student_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(network: nn.Module, size: tuple[int, int]) -> bytes:
        raise RuntimeError("no lowering of aten.frobnicate\n" + "a long trace " * 200)

    monkeypatch.setattr(litert_files, "_converted", broken)
    monkeypatch.setattr(litert_files, "missing_litert", lambda *_: None)
    with pytest.raises(OptionError) as caught:
        export(student_bundle, formats=["litert"], size=SIZE, output=tmp_path / "files")
    told = str(caught.value)
    assert "litert-torch can't convert" in told
    assert "no lowering of aten.frobnicate a long trace" in told
    assert len(told) < 600
    assert list((tmp_path / "files").iterdir()) == []


@pytest.mark.parametrize("package", ["ai-edge-litert", "litert-torch"])
def test_without_its_packages_it_says_what_to_install(
    student_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: name != package.replace("-", "_") or None
    )
    with pytest.raises(MissingExtraError, match=rf'need {package}: pip install "nstc\[litert\]"'):
        export(student_bundle, formats=["litert"], size=SIZE)


def test_a_size_that_is_no_multiple_is_refused(
    teacher_bundle: Bundle, student_bundle: Bundle
) -> None:
    for bundle in (teacher_bundle, student_bundle):
        with pytest.raises(OptionError, match=r"size is 250x256: litert .*of 4 .*Give 252x256\."):
            export(bundle, formats=["litert"], size=(250, 256))


def test_a_litert_that_does_not_load_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that the file is damaged."""
    monkeypatch.setitem(sys.modules, "ai_edge_litert", ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setattr(litert, "missing_litert", lambda: None)
    with pytest.raises(MissingExtraError, match=r"LiteRT can't be loaded: .*Install ai-edge"):
        LitertSession(tmp_path / NAME, "64x96.tflite")


@pytest.fixture
def normalising_bundle(
    make_network_bundle: Callable[[nn.Module, Path], Bundle], tmp_path: Path
) -> Bundle:
    """A student that normalises inside, by every picture's statistics."""
    return make_network_bundle(Student(8, [8], "plain", norm="instance"), tmp_path / "normalising")


@pytest.mark.parametrize("of", ["student", "normalising", "teacher"])
def test_what_is_converted_gives_the_picture_of_the_network(
    of: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of any network, whose file is made in the cache where it is asked for by its size."""
    bundle, given = request.getfixturevalue(f"{of}_bundle"), []

    def broken(module: nn.Module, size: tuple[int, int]) -> bytes:
        given.append((module, size))
        raise RuntimeError("enough")

    monkeypatch.setattr(litert_files, "_converted", broken)
    monkeypatch.setattr(litert_files, "missing_litert", lambda *_: None)
    with pytest.raises(OptionError, match=r"enough.*Install another version of litert-torch; a st"):
        made_artifact(bundle, "64x96.tflite")
    ((module, size),) = given
    picture = sample_picture(*SIZE)
    off = Difference.between(stylise_with(module)(picture), network_of(bundle)(picture))
    assert (size, off.worst <= 1, module.training) == (SIZE, True, False)


@pytest.mark.everywhere
def test_a_benchmark_times_a_student_and_its_teacher_in_litert(
    normalising_bundle: Bundle, teacher_bundle: Bundle, photos: PhotoSet
) -> None:
    """Both are converted, and their pictures compared with the network's before they are kept."""
    recipe = BenchRecipe(rounds=3, size=64, targets=("litert:1",), quality_photos=1)
    result = bench([normalising_bundle], against=teacher_bundle, photos=photos, recipe=recipe)
    (row,), (reference,) = result.rows, result.references
    assert row.artifact == reference.artifact == "64x64.tflite"
    assert row.quality is not None
    assert str(reference.place["runtime"]).startswith("LiteRT 2.")
