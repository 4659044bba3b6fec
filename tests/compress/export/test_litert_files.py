"""LiteRT files: what they compute, what is refused, and what is left where it goes wrong."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from torch import nn

from nstc.compress.export import litert_files
from nstc.compress.export.export_model import export
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.errors import CorruptBundleError, MissingExtraError, OptionError
from nstc.runtime import litert
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


def test_a_teacher_and_a_size_that_is_no_multiple_are_refused(
    teacher_bundle: Bundle, student_bundle: Bundle
) -> None:
    with pytest.raises(OptionError, match=r"can't be litert: .*instance normalisation"):
        export(teacher_bundle, formats=["litert"], size=SIZE)
    with pytest.raises(OptionError, match=r"size is 250x256: litert .*of 4 .*Give 252x256\."):
        export(student_bundle, formats=["litert"], size=(250, 256))
