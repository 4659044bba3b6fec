"""Files in ONNX Runtime's own format paint what the ONNX files paint."""

import numpy as np
import pytest

from nstc.compress import exporting
from nstc.compress.checking import sample_picture
from nstc.compress.exporting import export
from nstc.core.bundle import open_bundle
from nstc.core.errors import ExportMismatchError
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
    monkeypatch.setattr(exporting, "write_ort", lambda _, target: linear(target, -1, 1))
    with pytest.raises(ExportMismatchError):
        export(bundle, formats=["ort"])
    assert "ort" not in open_bundle(bundle.path).artifacts
