"""Portable files: which are written, what they are held to, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from nstc.compress.export import portable_files
from nstc.compress.export.export_model import export, made_artifact
from nstc.compress.quantization.summary import QuantizationReport
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.errors import ArtifactError, ExportMismatchError, OptionError
from nstc.core.portable_names import Portable, takes_bytes
from nstc.runtime.agreement import CheckPictures
from nstc.runtime.arrays import CHECK_SEED, check_picture
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.session import cached_artifact, open_session
from nstc.runtime.verification import verify

SIZE = (64, 96)


def test_names_say_size_body_and_edges() -> None:
    names = [
        "portable.64x96.onnx",
        "portable-bytes.64x96.onnx",
        "int8.portable.64x96.onnx",
        "int8.portable-bytes.64x96.onnx",
    ]
    for name in names:
        found = Portable.called(name)
        assert found is not None
        assert (found.artifact, found.size) == (name, SIZE)
        assert takes_bytes(name) == ("bytes" in name)
    for other in ("int8.64x96.onnx", "portable.0x4.onnx", "portable.onnx", "int8.onnx"):
        assert Portable.called(other) is None
    assert [takes_bytes(name) for name in ("int8.onnx", "onnx", "dynamic.onnx")] == [True, 0, 0]


def test_a_quantized_bundle_gets_both_files_and_verify_holds_them_to_the_others(
    copy_of_quantized: Callable[[], Bundle],
) -> None:
    bundle = copy_of_quantized()
    for edges in ("float", "bytes"):
        export(bundle.path, formats=["onnx", "portable"], size=SIZE, edges=edges)
    written = open_bundle(bundle.path)
    portable = [name for name in written.artifacts if Portable.called(name)]
    assert len(portable) == 4
    found = {
        own.file.removeprefix("model."): own.detail
        for own in verify(bundle.path).findings
        if own.check == "agreement"
    }
    assert found["int8.portable-bytes.64x96.onnx"] == "as model.int8.onnx, bit for bit"
    assert found["int8.portable.64x96.onnx"].startswith("as model.int8.onnx")
    assert found["portable.64x96.onnx"].startswith("as model.onnx")
    assert {own.state for own in verify(bundle.path).findings if "portable" in own.file} == {"ok"}


def test_verify_finds_a_portable_file_of_other_integers(
    copy_of_quantized: Callable[[], Bundle],
) -> None:
    """One weight of the first layer in ten is another."""
    bundle = copy_of_quantized()
    (_, path) = export(bundle.path, formats=["portable"], size=SIZE)
    session = open_session(open_bundle(bundle.path), artifact="int8.portable.64x96.onnx")
    before = session.run(check_picture(CHECK_SEED, *SIZE))
    graph = onnx.load(path)
    weight = next(own for own in graph.graph.initializer if own.dims[1:] == [3, 8, 8])
    values = onnx.numpy_helper.to_array(weight).copy()
    values.flat[::10] = -values.flat[::10]
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(graph, path)
    changed = OnnxSession(path, session.artifact)
    assert (changed.run(check_picture(CHECK_SEED, *SIZE)) != before).any()
    opened = {session.artifact: changed, "int8.onnx": open_session(bundle, artifact="int8")}
    with pytest.raises(ExportMismatchError, match="gives another picture than"):
        CheckPictures(bundle, opened).agreement(session.artifact)


def test_a_missing_file_is_made_in_the_cache(
    quantized: tuple[Bundle, Bundle, QuantizationReport], student_bundle: Bundle
) -> None:
    _, bundle, _ = quantized
    name = "int8.portable-bytes.32x32.onnx"
    assert made_artifact(bundle, name) == cached_artifact(bundle, name)
    picture = check_picture(CHECK_SEED, 32, 32)
    painted, expected = (
        open_session(bundle, artifact=own, store=made_artifact).run(picture)
        for own in (name, "int8")
    )
    assert (painted == expected).all()
    with pytest.raises(ArtifactError, match=r"holds no artifact int8\.portable"):
        made_artifact(student_bundle, "int8.portable.32x32.onnx")


@pytest.mark.parametrize("edges", ["float", "bytes"])
def test_a_file_that_differs_from_its_original_is_not_kept(
    quantized: tuple[Bundle, Bundle, QuantizationReport],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    edges: str,
) -> None:
    right = portable_files.portable_int8

    def darker(*given: object, **options: object) -> onnx.ModelProto:
        graph = right(*given, **options)  # type: ignore[arg-type]
        last = next(n for n in reversed(graph.graph.node) if n.op_type == "DequantizeLinear")
        held = next(own for own in graph.graph.initializer if own.name == last.input[1])
        value = onnx.numpy_helper.to_array(held) * np.float32(0.97)
        held.CopyFrom(onnx.numpy_helper.from_array(value, held.name))
        return graph

    monkeypatch.setattr(portable_files, "portable_int8", darker)
    with pytest.raises(ExportMismatchError, match=r"differs from model\.int8\.onnx by up to \d+"):
        export(quantized[1], formats=["portable"], size=SIZE, edges=edges, output=tmp_path / "o")
    assert [path.name for path in (tmp_path / "o").glob("*int8*")] == []


def test_a_size_that_is_no_multiple_is_refused_with_one_that_is(student_bundle: Bundle) -> None:
    with pytest.raises(OptionError, match=r"size is 250x256: .*multiples of 4 .*Give 252x256\."):
        export(student_bundle, formats=["portable"], size=(250, 256))


def test_a_teacher_is_refused(teacher_bundle: Bundle) -> None:
    with pytest.raises(OptionError, match=r"can't be portable: .*instance normalisation"):
        export(teacher_bundle, formats=["portable"], size=SIZE)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"formats": ["portable"]}, "take one size: give --size HEIGHTxWIDTH"),
        ({"formats": ["onnx"], "size": SIZE}, "give --format portable or coreml or litert"),
        ({"formats": ["onnx"], "edges": "bytes"}, "edges is of portable files"),
        ({"formats": ["portable"], "size": (0, 8)}, "size is 0x8: expected"),
        ({"formats": ["portable"], "size": SIZE, "edges": "ints"}, "expected one of float, bytes"),
        ({"formats": ["onnx", "portable"], "size": SIZE, "static": SIZE}, "no portable files"),
    ],
)
def test_options_that_can_not_be(
    student_bundle: Bundle, options: dict[str, object], told: str
) -> None:
    with pytest.raises(OptionError, match=told):
        export(student_bundle, **options)  # type: ignore[arg-type]
