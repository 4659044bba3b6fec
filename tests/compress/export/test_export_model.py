"""Exported files: what they compute, where they are written, and what happens when one is wrong."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto
from torch import nn

from nstc.compress.export import export_model
from nstc.compress.export.checking import eager_reference, sample_picture
from nstc.compress.export.export_model import export, made_artifact
from nstc.compress.export.export_request import parse_size
from nstc.compress.quantization.summary import QuantizationReport
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.errors import ArtifactError, ExportMismatchError, OptionError, PhotosError
from nstc.core.photos import PhotoSet
from nstc.models.student import Student
from nstc.models.transformer import TransformerNet
from nstc.runtime.arrays import channel_statistics
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.session import cached_artifact, open_session
from nstc.runtime.verification import verify

SIZES = [(64, 96), (67, 45), (1, 1), (5000, 40)]


def content_of(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.fixture
def wrong_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ONNX export has red and blue exchanged."""
    right = export_model.onnx_graph

    def wrong(*args: object) -> ModelProto:
        graph = right(*args)  # type: ignore[arg-type]
        nodes = graph.graph
        nodes.initializer.append(onnx.numpy_helper.from_array(np.array([2, 1, 0]), "swapped"))
        last = next(node for node in nodes.node if "stylized" in node.output)
        last.output[0] = "unswapped"
        swap = onnx.helper.make_node("Gather", ["unswapped", "swapped"], ["stylized"], axis=1)
        nodes.node.append(swap)
        return graph

    monkeypatch.setattr(export_model, "onnx_graph", wrong)


@pytest.fixture(scope="module")
def exported(
    student: Student,
    teacher: TransformerNet,
    make_network_bundle: Callable[[nn.Module, Path], Bundle],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("exported")
    bundles = {}
    for name, network in (("student", student), ("teacher", teacher)):
        bundle = make_network_bundle(network, folder / name)
        export(bundle)
        bundles[name] = open_bundle(bundle.path)
    return bundles


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("artifact", ["onnx", "ts"])
@pytest.mark.parametrize("name", ["student", "teacher"])
def test_files_paint_what_the_network_paints_at_any_size(
    exported: dict[str, Bundle],
    student: Student,
    teacher: TransformerNet,
    name: str,
    artifact: str,
    size: tuple[int, int],
) -> None:
    bundle = exported[name]
    network = {"student": student, "teacher": teacher}[name]
    picture = sample_picture(*size)
    expected = eager_reference(network, bundle.manifest.contract)(picture)
    painted = open_session(bundle, artifact=artifact).run(picture)
    assert painted.shape == picture.shape
    assert np.abs(painted.astype(int) - expected).max() <= 1
    assert size == (1, 1) or expected.std() > 5


def test_the_onnx_file_says_what_it_takes_in_plain_words(exported: dict[str, Bundle]) -> None:
    graph = onnx.load(exported["student"].artifact("onnx")).graph
    for value, name in ((graph.input[0], "image"), (graph.output[0], "stylized")):
        tensor = value.type.tensor_type
        dims = [d.dim_param or d.dim_value for d in tensor.shape.dim]
        assert (value.name, tensor.elem_type) == (name, onnx.TensorProto.FLOAT)
        assert dims == [1, 3, "height", "width"]


@pytest.mark.parametrize("artifact", ["onnx", "ts"])
def test_files_hold_no_folders_of_the_machine_that_made_them(
    exported: dict[str, Bundle], artifact: str
) -> None:
    content = exported["student"].artifact(artifact).read_bytes()
    assert b"site-packages" not in content
    assert os.fsencode(Path(export_model.__file__).parent) not in content


def test_export_into_a_bundle_keeps_its_other_files(student_bundle: Bundle) -> None:
    before = content_of(student_bundle.path)
    (written,) = export(student_bundle.path, formats=["onnx"])
    after = open_bundle(student_bundle.path)
    assert written == student_bundle.path / "model.onnx"
    assert after.artifacts == ("onnx",)
    assert after.identity == student_bundle.identity
    assert after.artifact("float") == written
    kept = content_of(student_bundle.path)
    assert kept["weights.safetensors"] == before["weights.safetensors"]
    assert set(kept) == {"checks.json", "manifest.json", "model.onnx", "weights.safetensors"}


def test_export_to_a_folder_leaves_the_bundle_alone(student_bundle: Bundle, tmp_path: Path) -> None:
    before = content_of(student_bundle.path)
    written = export(student_bundle, output=tmp_path / "device")
    assert written == [tmp_path / "device" / name for name in ("model.onnx", "model.ts")]
    assert sorted(content_of(tmp_path / "device")) == ["model.onnx", "model.ts"]
    assert content_of(student_bundle.path) == before


@pytest.mark.usefixtures("wrong_graph")
def test_a_file_that_differs_is_not_kept(student_bundle: Bundle, tmp_path: Path) -> None:
    before = content_of(student_bundle.path)
    with pytest.raises(ExportMismatchError, match=r"onnx differs from the network by up to \d+"):
        export(student_bundle)
    assert content_of(student_bundle.path) == before
    assert [p.name for p in student_bundle.path.parent.iterdir()] == ["student"]
    with pytest.raises(ExportMismatchError):
        export(student_bundle, output=tmp_path / "device")
    assert content_of(tmp_path / "device") == {}


def test_a_failed_export_keeps_the_file_of_an_earlier_one(
    student_bundle: Bundle, request: pytest.FixtureRequest
) -> None:
    export(student_bundle, formats=["onnx"])
    before = content_of(student_bundle.path)
    request.getfixturevalue("wrong_graph")
    with pytest.raises(ExportMismatchError):
        export(student_bundle.path, formats=["onnx"])
    assert content_of(student_bundle.path) == before
    open_bundle(student_bundle.path).artifact("onnx")


def test_a_file_that_does_not_run_is_not_kept(
    student_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_model, "onnx_graph", lambda *args: ModelProto())
    with pytest.raises(ExportMismatchError, match="was written but does not run"):
        export(student_bundle, formats=["onnx"])
    assert open_bundle(student_bundle.path).artifacts == ()


def test_a_static_file_takes_one_size_only(student_bundle: Bundle, student: Student) -> None:
    (written,) = export(student_bundle, static=(40, 62))
    assert written.name == "model.40x62.onnx"
    session = open_session(student_bundle.path, artifact="40x62.onnx")
    picture = sample_picture(40, 62)
    expected = eager_reference(student, student_bundle.manifest.contract)(picture)
    assert np.abs(session.run(picture).astype(int) - expected).max() <= 1
    with pytest.raises(OptionError, match="40x62"):
        session.run(sample_picture(62, 40))
    operators = {node.op_type for node in onnx.load(written).graph.node}
    assert "Shape" not in operators


def test_a_static_file_that_takes_other_sizes_is_not_kept(
    student_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = export_model.onnx_graph
    monkeypatch.setattr(
        export_model, "onnx_graph", lambda network, contract, size: right(network, contract, None)
    )
    with pytest.raises(ExportMismatchError, match="should take one size only"):
        export(student_bundle, static=(64, 64))


def test_a_quantized_bundle_gets_a_static_file_of_each_kind(
    copy_of_quantized: Callable[[], Bundle],
) -> None:
    bundle = copy_of_quantized()
    written = export(bundle, static=(64, 96))
    assert [p.name for p in written] == ["model.64x96.onnx", "model.int8.64x96.onnx"]
    after = open_bundle(bundle.path)
    assert set(after.artifacts) == {"onnx", "int8.onnx", "64x96.onnx", "int8.64x96.onnx"}
    picture = sample_picture(64, 96)
    fixed, free = (
        open_session(after, artifact=name).run(picture).astype(int)
        for name in ("int8.64x96.onnx", "int8")
    )
    assert np.mean(fixed != free) < 0.02


def test_a_teachers_onnx_file_is_made_in_the_cache_once(teacher_bundle: Bundle) -> None:
    before = content_of(teacher_bundle.path)
    cached = made_artifact(teacher_bundle, "float")
    assert cached == cached_artifact(teacher_bundle, "onnx")
    made = cached.stat()
    assert sorted(content_of(cached.parent)) == ["model.onnx"]
    assert content_of(teacher_bundle.path) == before
    assert made_artifact(teacher_bundle, "onnx") == cached
    assert cached.stat().st_mtime_ns == made.st_mtime_ns
    assert open_session(teacher_bundle, artifact="float").path == cached


@pytest.mark.usefixtures("wrong_graph")
def test_a_cached_file_is_checked_like_any_other(teacher_bundle: Bundle) -> None:
    with pytest.raises(ExportMismatchError):
        made_artifact(teacher_bundle, "onnx")
    assert not cached_artifact(teacher_bundle, "onnx").exists()


def test_what_no_format_gives_is_missed_as_usual(teacher_bundle: Bundle) -> None:
    with pytest.raises(ArtifactError, match=r"holds no artifact int8\.onnx; it holds none"):
        made_artifact(teacher_bundle, "int8")


def test_nothing_is_cached_for_a_bundle_that_holds_the_file(exported: dict[str, Bundle]) -> None:
    student = exported["student"]
    assert made_artifact(student, "onnx") == student.path / "model.onnx"
    assert not cached_artifact(exported["student"], "onnx").exists()


@pytest.fixture(scope="module")
def programs(
    student: Student,
    teacher: TransformerNet,
    photos: PhotoSet,
    make_network_bundle: Callable[[nn.Module, Path], Bundle],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Bundle]:
    """A student with both ExecuTorch programs, and a teacher with the float one."""
    folder = tmp_path_factory.mktemp("programs")
    bundles = {}
    formats = {"student": ["executorch", "executorch-int8"], "teacher": ["executorch"]}
    for name, network in (("student", student), ("teacher", teacher)):
        bundle = make_network_bundle(network, folder / name)
        export(bundle, formats=formats[name], photos=photos)
        bundles[name] = open_bundle(bundle.path)
    return bundles


@pytest.mark.executorch
@pytest.mark.parametrize("size", [(64, 96), (67, 45), (1, 1), (300, 20)])
@pytest.mark.parametrize("name", ["student", "teacher"])
def test_programs_paint_what_the_network_paints_at_any_size(
    programs: dict[str, Bundle],
    student: Student,
    teacher: TransformerNet,
    name: str,
    size: tuple[int, int],
) -> None:
    bundle = programs[name]
    network = {"student": student, "teacher": teacher}[name]
    picture = sample_picture(*size)
    expected = eager_reference(network, bundle.manifest.contract)(picture)
    painted = open_session(bundle, artifact="pte").run(picture)
    assert painted.shape == picture.shape
    assert np.abs(painted.astype(int) - expected).max() <= 1
    assert size == (1, 1) or expected.std() > 5


@pytest.mark.executorch
def test_an_int8_program_is_smaller_and_near_the_float_one(
    programs: dict[str, Bundle], photos: PhotoSet
) -> None:
    bundle = programs["student"]
    assert set(bundle.artifacts) == {"pte", "int8.pte"}
    whole, small = (bundle.artifact(name).stat().st_size for name in bundle.artifacts[::-1])
    assert small < whole
    picture = sample_picture(200, 120)
    painted, quantized = (
        open_session(bundle, artifact=name).run(picture).astype(float)
        for name in ("pte", "int8.pte")
    )
    error = np.sqrt(np.mean((painted - quantized) ** 2))
    assert 0 < error < 255 / 10 ** (30 / 20)
    step = bundle.manifest.history[-1]
    assert (step.verb, step.recipe["format"]) == ("export", "executorch-int8")
    assert step.photos == photos.record()


@pytest.mark.executorch
@pytest.mark.parametrize("form", ["executorch", "executorch-int8"])
def test_a_program_of_another_network_is_not_kept(
    student_bundle: Bundle,
    programs: dict[str, Bundle],
    form: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = programs["teacher"].artifact("pte").read_bytes()
    monkeypatch.setattr(export_model, "executorch_program", lambda *_: other)
    before = content_of(student_bundle.path)
    with pytest.raises(ExportMismatchError, match=r"pte differs .*the network"):
        export(student_bundle, formats=[form])
    assert content_of(student_bundle.path) == before


@pytest.mark.executorch
def test_a_program_that_is_missing_is_made_in_the_cache(teacher_bundle: Bundle) -> None:
    made_artifact(teacher_bundle, "pte")
    assert sorted(content_of(cached_artifact(teacher_bundle, "pte").parent)) == ["model.pte"]
    assert open_session(teacher_bundle, artifact="pte").path.parent != teacher_bundle.path


@pytest.mark.executorch
def test_an_int8_program_needs_photographs(student_bundle: Bundle) -> None:
    with pytest.raises(PhotosError, match="--photos"):
        export(student_bundle, formats=["executorch-int8"], photos=PhotoSet((), ()))
    assert open_bundle(student_bundle.path).artifacts == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formats": ["onnx", "tflite"]}, "format is tflite: expected some of onnx, torchscript"),
        ({"formats": []}, "format is empty"),
        ({"formats": ["executorch"], "static": (64, 64)}, "static writes ONNX files only"),
        ({"formats": ["torchscript"], "static": (64, 64)}, "static writes ONNX files only"),
        ({"static": (0, 64)}, "static is 0x64"),
        ({"static": (64, 99999)}, "from 1 to 16384"),
    ],
)
def test_options_out_of_range_are_refused(
    student_bundle: Bundle, options: dict[str, object], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        export(student_bundle, **options)  # type: ignore[arg-type]


def test_a_size_is_height_by_width() -> None:
    assert parse_size("480x640") == (480, 640)


@pytest.mark.parametrize("text", ["512", "x512", "512x", "1.5x2", "-1x2", "axb", ""])
def test_a_text_that_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="expected HEIGHTxWIDTH"):
        parse_size(text)


def test_a_quantized_student_gets_a_file_for_tiles(
    quantized: tuple[Bundle, Bundle, QuantizationReport], tmp_path: Path
) -> None:
    _, made, _ = quantized
    (path,) = export(made, formats=["tiles"], output=tmp_path)
    assert path == tmp_path / "model.int8.tiles.onnx"
    session = OnnxSession(path, "int8.tiles.onnx", 1)
    picture = sample_picture(96, 128)
    whole = OnnxSession(made.artifact("int8"), "int8.onnx", 1)
    assert session.takes_statistics
    assert not whole.takes_statistics
    assert np.abs(session.run(picture).astype(int) - whole.run(picture)).max() <= 1
    statistics = channel_statistics(picture)
    brighter = session.run_tile(picture, statistics - np.float32([[0.2], [0]]))
    assert np.abs(brighter.astype(int) - session.run(picture)).mean() > 1


def test_a_global_network_gets_no_file_for_tiles(teacher_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"can't be cut into tiles.*locality global"):
        export(teacher_bundle, formats=["tiles"], output=tmp_path)
    assert list(tmp_path.glob("*.onnx")) == []


def test_tiles_need_the_int8_file(student_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="by quantizing"):
        export(student_bundle, formats=["tiles"], output=tmp_path)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc here")
def test_a_bundle_in_a_folder_whose_name_is_not_utf_8(
    student_bundle: Bundle, tmp_path: Path
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    moved = student_bundle.path.rename(folder / "b")
    export(moved, formats=("onnx", "torchscript", "ort"))
    export(moved, formats=("onnx",), static=(32, 32))
    assert verify(moved, trust=True).errors == ()
    assert len(open_bundle(moved).artifacts) == 4
