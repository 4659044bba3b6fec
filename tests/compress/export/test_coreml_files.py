"""Core ML packages: what is in one, what is refused, and what is left where it goes wrong."""

import struct
import weakref
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from nstc.compress.export import coreml_files
from nstc.compress.export.export_model import export
from nstc.compress.graphs import coreml_operations
from nstc.compress.graphs.coreml_operations import computed
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.errors import (
    CorruptBundleError,
    ExportMismatchError,
    MemoryLimitError,
    MissingExtraError,
    NstcError,
    OptionError,
)
from nstc.models.student import Student
from nstc.runtime.coreml import (
    _MEMBERS,
    INPUT,
    OPERATIONS,
    OUTPUT,
    CoremlModel,
    coreml_size,
    kept_coreml_contract,
    read_coreml,
)
from nstc.runtime.verification import verify

SIZE = (64, 96)
NAME = "model.64x96.mlpackage.zip"
FLOAT16, FLOAT32 = 10, 11  # of Core ML's types


@pytest.mark.everywhere
@pytest.mark.parametrize("name", ["zoo:starry-night", "zoo:starry-night/fast"])
def test_a_package_takes_and_gives_pictures_and_rounds_layers_alone(
    name: str, tmp_path: Path
) -> None:
    (path,) = export(name, formats=["coreml"], size=SIZE, output=tmp_path)
    assert path.name == NAME
    model = read_coreml(path)
    spec = model.spec
    assert spec.WhichOneof("Type") == "mlProgram"
    assert spec.specificationVersion == 7  # iOS 16
    edges = [*spec.description.input, *spec.description.output]
    assert [edge.name for edge in edges] == [INPUT, OUTPUT]
    for edge in edges:
        picture = edge.type.imageType
        assert (picture.height, picture.width) == SIZE
        assert picture.colorSpace == picture.ColorSpace.Value("RGB")
    types = {
        (own.type, own.outputs[0].type.tensorType.dataType)
        for own in model.operations
        if own.type != "const"
    }
    assert {kind for kind, held in types if held == FLOAT16} <= {
        *("add", "cast", "clip", "conv", "pixel_shuffle", "relu")
    }
    assert ("conv", FLOAT32) not in types
    assert ("reduce_mean", FLOAT32) in types
    found = spec.description.metadata
    assert found.userDefined["nstc.identity"] == open_bundle(name).identity
    assert "stylises pictures of 64x96" in found.shortDescription
    again = export(name, formats=["coreml"], size=SIZE, output=tmp_path / "again")[0]
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.everywhere
def test_weights_are_those_of_the_network(student: Student, student_bundle: Bundle) -> None:
    (path,) = export(
        student_bundle, formats=["coreml"], size=SIZE, output=student_bundle.path.parent
    )
    model = read_coreml(path)
    layers = [layer for layer in student.modules() if isinstance(layer, nn.Conv2d)]
    stored = sum(
        own.attributes["val"].WhichOneof("value") == "blobFileValue" for own in model.operations
    )
    assert stored >= len(layers)
    held = torch.frombuffer(bytearray(model.weights), dtype=torch.float16)
    for layer in layers:
        values = layer.weight.data.sort().values.half()
        assert torch.isin(values.flatten(), held).all()


@pytest.mark.everywhere
def test_a_bundle_keeps_a_package_that_verify_reads(
    student_bundle: Bundle, make_network_bundle: Callable[[nn.Module, Path], Bundle], tmp_path: Path
) -> None:
    export(student_bundle, formats=["coreml"], size=SIZE)
    assert "64x96.mlpackage.zip" in open_bundle(student_bundle.path).artifacts
    found = {own.check: own for own in verify(student_bundle.path).findings if own.file == NAME}
    assert {check: own.state for check, own in found.items()} == {
        "content": "ok",
        "contract": "ok",
        "picture": "not checked",
    }
    assert "RGB pictures of 64x96" in found["contract"].detail
    assert "Apple" in found["picture"].detail

    torch.manual_seed(9)
    other = make_network_bundle(Student(16, [16]).eval(), tmp_path / "other")
    (path,) = export(other, formats=["coreml"], size=SIZE)
    for size, identity, told in (
        (SIZE, student_bundle.identity, "made of other weights"),
        ((64, 64), other.identity, "RGB pictures of 64x64"),
    ):
        with pytest.raises(NstcError, match=told):
            kept_coreml_contract(path, size, identity)


@pytest.mark.everywhere
def test_a_program_that_gives_another_picture_is_not_kept(
    student_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = coreml_files._converted

    def with_other_weights(network: nn.Module, size: tuple[int, int]) -> tuple[Any, bytes]:
        spec, weights = right(network, size)  # type: ignore[arg-type]
        blobs = [
            own.attributes["val"].blobFileValue.offset
            for own in CoremlModel(spec, weights).operations
            if own.attributes["val"].WhichOneof("value") == "blobFileValue"
        ]
        _, _, length, start = struct.unpack_from("<IIQQ", weights, blobs[0])
        negated = -np.frombuffer(weights[start : start + length], np.float16)
        return spec, weights[:start] + negated.tobytes() + weights[start + length :]

    monkeypatch.setattr(coreml_files, "_converted", with_other_weights)
    with pytest.raises(ExportMismatchError, match="differs from the network"):
        export(student_bundle, formats=["coreml"], size=SIZE, output=tmp_path / "files")
    assert list((tmp_path / "files").iterdir()) == []


@pytest.mark.everywhere
def test_operations_that_students_lack_are_named(student_bundle: Bundle, tmp_path: Path) -> None:
    (path,) = export(student_bundle, formats=["coreml"], size=SIZE, output=tmp_path)
    model = read_coreml(path)
    model.operations[-1].type = "custom_layer"
    with pytest.raises(NstcError, match="the operation custom_layer is not one of add,"):
        computed(model, torch.zeros(1, 3, *SIZE))
    identity, content = student_bundle.identity, model.spec.SerializeToString()
    coreml_files._write_package(path, path.name, content, model.weights)
    with pytest.raises(NstcError, match=r"operations that students lack \(custom_layer\)"):
        kept_coreml_contract(path, SIZE, identity)
    model.spec.mlProgram.functions.clear()
    content = model.spec.SerializeToString()
    coreml_files._write_package(path, path.name, content, model.weights)
    with pytest.raises(NstcError, match="has no program"):
        kept_coreml_contract(path, SIZE, identity)


def test_operations_that_are_kept_are_those_that_can_be_computed() -> None:
    assert {*coreml_operations._OPERATIONS, "const"} == OPERATIONS


@pytest.mark.everywhere
def test_values_are_dropped_after_their_last_use(
    student_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = export(student_bundle, formats=["coreml"], size=SIZE, output=tmp_path)
    seen: list[weakref.ref[torch.Tensor]] = []
    alive = []

    def watched(right: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def operation(**given: Any) -> torch.Tensor:
            known = {id(own()) for own in seen}
            seen.extend(
                weakref.ref(own)
                for own in given.values()
                if isinstance(own, torch.Tensor) and own.numel() > 3000 and id(own) not in known
            )
            alive.append(sum(own() is not None for own in seen))
            return right(**given)

        return operation

    for name, right in [*coreml_operations._OPERATIONS.items()]:
        monkeypatch.setitem(coreml_operations._OPERATIONS, name, watched(right))
    computed(read_coreml(path), torch.rand(1, 3, *SIZE) * 255)
    assert len(seen) > 6
    assert max(alive) <= 4


@pytest.mark.everywhere
@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"no zip file"])
def test_what_is_no_package_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / NAME
    path.write_bytes(content)
    with pytest.raises(NstcError, match="is no Core ML package"):
        read_coreml(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("Manifest.json", "Data/com.apple.CoreML/model.mlmodel", "../away"):
            archive.writestr(f"model/{name}", b"x")
    with pytest.raises(NstcError, match="does not hold exactly Manifest"):
        read_coreml(path)


@pytest.mark.everywhere
@pytest.mark.parametrize("damage", ["overwritten", "LZMA", "cut"])
def test_a_package_with_damaged_files_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / NAME
    packed = {"overwritten": zipfile.ZIP_DEFLATED, "LZMA": zipfile.ZIP_LZMA}
    with zipfile.ZipFile(path, "w", packed.get(damage, zipfile.ZIP_STORED)) as archive:
        for name in _MEMBERS:
            archive.writestr(f"model/{name}", bytes(range(256)) * 4)
    content = bytearray(path.read_bytes())
    stream = 30 + len("model/Manifest.json")  # after the header of the first file
    if damage == "cut":
        sizes = content.index(b"PK\x01\x02") + 20  # of the first file, packed and not
        struct.pack_into("<II", content, sizes, 10_000_000, 10_000_000)
    else:
        content[stream + 10 : stream + 40] = b"\xff" * 30
    path.write_bytes(content)
    with pytest.raises(CorruptBundleError, match="is no Core ML package"):
        read_coreml(path)


def test_a_conversion_that_breaks_leaves_nothing(
    student_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(network: nn.Module, size: tuple[int, int]) -> object:
        raise NotImplementedError("Unsupported fx node\n" + "alias " * 200)

    monkeypatch.setattr(coreml_files, "_converted", broken)
    monkeypatch.setattr(coreml_files.coreml, "missing_coremltools", lambda: None)
    with pytest.raises(OptionError) as caught:
        export(student_bundle, formats=["coreml"], size=SIZE, output=tmp_path / "files")
    told = str(caught.value)
    assert "coremltools can't convert" in told
    assert "Unsupported fx node alias alias" in told
    assert "64x96.mlpackage.zip was not written" in told
    assert len(told) < 600
    assert "\n" not in told
    assert list((tmp_path / "files").iterdir()) == []


def test_a_conversion_without_memory_says_so(
    student_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(network: nn.Module, size: tuple[int, int]) -> object:
        raise MemoryError

    monkeypatch.setattr(coreml_files, "_converted", exhausted)
    monkeypatch.setattr(coreml_files.coreml, "missing_coremltools", lambda: None)
    with pytest.raises(MemoryLimitError, match="not enough memory"):
        export(student_bundle, formats=["coreml"], size=SIZE, output=tmp_path / "files")


def test_without_coremltools_it_says_what_to_install(
    student_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'pip install "nstc\[coreml\]"'):
        export(student_bundle, formats=["coreml"], size=SIZE)


def test_a_teacher_and_a_size_that_is_no_multiple_are_refused(
    teacher_bundle: Bundle, student_bundle: Bundle
) -> None:
    with pytest.raises(OptionError, match=r"can't be coreml: .*instance normalisation"):
        export(teacher_bundle, formats=["coreml"], size=SIZE)
    with pytest.raises(OptionError, match=r"size is 250x256: coreml .*of 4 .*Give 252x256\."):
        export(student_bundle, formats=["coreml"], size=(250, 256))
    with pytest.raises(OptionError, match="coreml files take one size: give --size"):
        export(student_bundle, formats=["coreml"])


def test_names_say_the_size() -> None:
    assert coreml_size("64x96.mlpackage.zip") == SIZE
    for other in ("0x4.mlpackage.zip", "64x96.onnx", "99999x4.mlpackage.zip", "mlpackage.zip"):
        assert coreml_size(other) is None
