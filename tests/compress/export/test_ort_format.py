"""Files in ONNX Runtime's own format paint what the ONNX files paint."""

import errno
import os

import numpy as np
import pytest

from nstc.compress.export import export_model, mobile_formats
from nstc.compress.export.checking import sample_picture
from nstc.compress.export.export_model import export
from nstc.compress.export.mobile_formats import write_ort
from nstc.core.bundle import open_bundle
from nstc.core.errors import ExportMismatchError, OutputError
from nstc.runtime.onnx_session import ORT_ERRORS
from nstc.runtime.session import open_session
from nstc.runtime.verification import verify


def test_both_files_paint_what_their_onnx_files_paint(copy_of_quantized) -> None:
    bundle = copy_of_quantized()
    export(bundle, formats=["onnx", "ort"])
    written = open_bundle(bundle.path)
    assert {"ort", "int8.ort"} <= set(written.artifacts)
    assert written.artifact("ort").read_bytes()[4:8] == b"ORTM"
    for size in ((64, 96), (67, 45)):
        photo = sample_picture(*size)
        int8, of_int8 = (open_session(written, artifact=a).run(photo) for a in ("int8", "int8.ort"))
        np.testing.assert_array_equal(of_int8, int8)
        whole, of_whole = (open_session(written, artifact=a).run(photo) for a in ("onnx", "ort"))
        assert np.abs(of_whole.astype(int) - whole).max() <= 1
    pictures = [own for own in verify(bundle.path).findings if own.check == "picture"]
    checked = {own.file for own in pictures if own.state == "ok"}
    assert {"model.ort", "model.int8.ort", "model.onnx"} <= checked


def test_a_file_that_paints_otherwise_is_not_kept(copy_of_quantized, monkeypatch, linear) -> None:
    bundle = copy_of_quantized()
    monkeypatch.setattr(export_model, "write_ort", lambda _, target: linear(target, -1, 1))
    with pytest.raises(ExportMismatchError):
        export(bundle, formats=["ort"])
    assert "ort" not in open_bundle(bundle.path).artifacts


def test_a_full_disk_is_named_and_the_old_file_stays(
    copy_of_quantized, monkeypatch, tmp_path
) -> None:
    def full(_source, target):
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    bundle = copy_of_quantized()
    monkeypatch.setattr(mobile_formats.shutil, "copyfile", full)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.ort").write_bytes(b"old")
    with pytest.raises(OutputError, match=r"cannot write .*/out/model\.ort: No space left"):
        export(bundle, formats=["ort"], output=tmp_path / "out")
    assert (tmp_path / "out" / "model.ort").read_bytes() == b"old"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.ort"]


def test_a_full_temporary_folder_is_named_too(copy_of_quantized, monkeypatch, tmp_path) -> None:
    def full(*_arguments, **_options):
        raise ORT_ERRORS[1]("Failed to save ORT format model")

    bundle = copy_of_quantized()
    monkeypatch.setattr(mobile_formats.onnxruntime, "InferenceSession", full)
    with pytest.raises(OutputError, match=r"cannot write .*Set TMPDIR"):
        write_ort(bundle.file("model.onnx"), tmp_path / "model.ort")
