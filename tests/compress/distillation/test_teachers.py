"""Anything that can teach, and the style of a teacher that came without a painting."""

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from stub_hub import StubHub, stub_hub
from torch import Tensor, nn

from nstc.compress.distillation import teachers
from nstc.compress.distillation.teachers import (
    Teacher,
    TeacherOptions,
    open_teacher,
    style_of_teacher,
)
from nstc.core.bundle import Bundle
from nstc.core.errors import CorruptBundleError, OptionError, TeacherError, UnsafeFileError
from nstc.core.files import sha256_of
from nstc.core.graph_form import GraphForm, read_inputs
from nstc.core.images import Pixels
from nstc.core.manifest import Origin, Style
from nstc.core.photos import sample_photos
from nstc.core.zoo import resolve_model_path
from nstc.models.style import STYLE_SIZES, mean_grams
from nstc.models.transformer import TransformerNet
from nstc.models.vgg import VggFeatures

__all__ = ["stub_hub"]  # a fixture


class Negative(nn.Module):
    """The negative of a picture whose white is `white`."""

    def __init__(self, white: float) -> None:
        super().__init__()
        self.white = white

    def forward(self, images: Tensor) -> Tensor:
        return self.white - images


def torchscript(path: Path, white: float) -> Path:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.* is deprecated")
        torch.jit.trace(Negative(white), torch.zeros(1, 3, 8, 8)).save(str(path))
    return path


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def test_a_bundle_brings_its_name_hash_and_style(styled_teacher: Bundle) -> None:
    teacher = open_teacher(styled_teacher.path)
    assert teacher.origin.sha256 == styled_teacher.identity
    assert teacher.origin.path == str(styled_teacher.path.resolve())
    assert teacher.style.record.credit == "Nobody"
    assert teacher.stylize(picture()).shape == (20, 30, 3)


def test_the_zoos_teacher_is_remembered_by_its_zoo_name() -> None:
    origin = open_teacher("zoo:starry-night/teacher").origin
    assert origin.zoo == "zoo:starry-night/teacher"
    assert origin.path is None


def test_a_checkpoint_teaches_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(TransformerNet().state_dict(), tmp_path / "net.pth")
    teacher = open_teacher(tmp_path / "net.pth")
    assert teacher.origin.sha256 == sha256_of(tmp_path / "net.pth")
    assert teacher.style is None
    assert teacher.stylize(picture()).shape == (20, 30, 3)


def test_torchscript_is_a_program_and_must_be_trusted(tmp_path: Path) -> None:
    path = torchscript(tmp_path / "net.pt", 1)
    with pytest.raises(UnsafeFileError, match="--trust"):
        open_teacher(path)


@pytest.mark.parametrize("white", [1, 255])
def test_the_range_of_torchscript_is_found_by_trying(tmp_path: Path, white: int) -> None:
    path = torchscript(tmp_path / "net.pt", white)
    teacher = open_teacher(path, TeacherOptions(trust=True))
    assert np.abs(teacher.stylize(picture()).astype(int) - (255 - picture())).max() <= 1
    assert "--input-range" in teacher.note


def test_a_teacher_whose_weights_lie_beside_its_graph_is_told_by_them(
    linear: Callable[..., Path], weights_beside: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Else two of them share one cache of pictures, and the second student learns the first."""
    path = weights_beside(linear(tmp_path / "model.onnx", 0.9, 0.05))
    plain = TeacherOptions(input_range=1)
    first, graph = open_teacher(path, plain), path.read_bytes()
    weights_beside(linear(path, 0.8, 0.1))  # trained again, and exported to the same place
    second = open_teacher(path, plain)
    assert path.read_bytes() == graph
    assert first.origin.sha256 != second.origin.sha256
    assert first.key != second.key


def test_a_file_of_a_hub_is_a_teacher_by_its_commit(
    linear: Callable[..., Path],
    weights_beside: Callable[[Path], Path],
    stub_hub: StubHub,
    tmp_path: Path,
) -> None:
    path = weights_beside(linear(tmp_path / "theirs" / "model.onnx", 0.9, 0.05))
    commit = stub_hub.holds("them/mosaic", path.parent)
    plain = TeacherOptions(input_range=1)
    teacher = open_teacher("hf:them/mosaic/model.onnx", plain)
    assert teacher.origin.zoo == f"hf:them/mosaic/model.onnx@{commit}"
    assert teacher.origin.path is None
    assert teacher.key == open_teacher(path, plain).key
    np.testing.assert_array_equal(
        teacher.stylize(picture()), open_teacher(path, plain).stylize(picture())
    )


def test_a_checkpoint_of_a_hub_teaches_and_pickled_code_does_not(
    stub_hub: StubHub, tmp_path: Path
) -> None:
    network = TransformerNet((8, 8, 16), (8,), (8, 8))
    torch.save(network, tmp_path / "whole.pth")
    full = TransformerNet()
    full.prepare_for_training()
    torch.save(full.state_dict(), tmp_path / "mosaic.pth")
    files = {name: (tmp_path / name).read_bytes() for name in ("whole.pth", "mosaic.pth")}
    stub_hub.holds("them/mosaic", files)
    assert open_teacher("hf:them/mosaic/mosaic.pth").origin.name == "mosaic"
    with pytest.raises(UnsafeFileError):
        open_teacher("hf:them/mosaic/whole.pth")


def test_nothing_there_names_the_flag(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="--teacher"):
        open_teacher(tmp_path / "missing.onnx")


def test_how_a_file_was_fed_is_kept_and_serves_again(
    tmp_path: Path, student_bundle: Bundle
) -> None:
    path = torchscript(tmp_path / "net.pt", 2)
    told = TeacherOptions(trust=True, input_range=-1, output_range=-1, mean=(-1.0, -1.0, -1.0))
    first = open_teacher(path, told)
    assert first.origin.form is not None
    assert first.origin.form.mean == (-1, -1, -1)
    student = dataclasses.replace(
        student_bundle,
        manifest=dataclasses.replace(student_bundle.manifest, teacher=first.origin),
    )
    again = open_teacher(path, TeacherOptions(trust=True), student=student)
    assert (again.origin, again.key) == (first.origin, first.key)
    assert open_teacher(path, dataclasses.replace(told, output_range=1)).key != first.key


def test_two_styles_of_one_file_are_two_teachers(
    styled: Callable[..., Path], student_bundle: Bundle, tmp_path: Path
) -> None:
    """Else they share one cache of pictures, and the second student learns the first style."""
    path, grey = styled(tmp_path / "net.onnx", "weights"), np.full((64, 64, 3), 200, np.uint8)
    first, second = (
        open_teacher(path, TeacherOptions(input_range=1, inputs=read_inputs([f"style={style}"])))
        for style in ("0", "0,0,1")
    )
    assert first.origin.sha256 == second.origin.sha256
    assert first.key != second.key
    taught = dataclasses.replace(student_bundle.manifest, teacher=second.origin)
    again = open_teacher(path, student=dataclasses.replace(student_bundle, manifest=taught))
    assert again.key == second.key
    assert [int(one.stylize(grey).max()) for one in (first, second, again)] == [100, 180, 180]


def test_the_teacher_of_another_painting_is_another(
    styled: Callable[..., Path], save_picture: Callable[..., Path], tmp_path: Path
) -> None:
    path, keys = styled(tmp_path / "net.onnx", "painting"), set()
    for level in (120, 180):
        painting = save_picture(np.full((40, 50, 3), level, np.uint8), "painting.png")
        options = TeacherOptions(input_range=1, inputs=read_inputs([f"style={painting}"]))
        keys.add(open_teacher(path, options).key)
    assert len(keys) == 2


@pytest.mark.parametrize("kind", ["bundle", "zoo:starry-night/teacher", "checkpoint"])
def test_only_onnx_files_of_others_have_inputs(
    styled_teacher: Bundle, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "net.pth").write_bytes(b"weights")
    places = {"bundle": str(styled_teacher.path), "checkpoint": str(tmp_path / "net.pth")}
    options = TeacherOptions(inputs=read_inputs(["style=7"]))
    with pytest.raises(OptionError, match=r"input is style=7, and .* leave it out"):
        open_teacher(places.get(kind, kind), options)


two_photographs = pytest.mark.usefixtures("_two_photographs")


@pytest.fixture
def _two_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teachers, "_PHOTOS", 2)
    monkeypatch.setattr(teachers, "STYLE_SIZES", (64, 96))


def negative(rgb: Pixels) -> Pixels:
    return 255 - rgb


def foreign(
    stylize: Callable[[Pixels], Pixels] = negative, form: GraphForm | None = None
) -> Teacher:
    origin = Origin(name="net", sha256="ab" * 32, form=form or GraphForm(layout="NCHW"))
    return Teacher(origin=origin, stylize=stylize)


def style(teacher: Teacher, told: object, painting: Path | None = None):
    return style_of_teacher(teacher, painting, credit=None, vgg="shipped", progress=told)


@two_photographs
def test_it_is_the_mean_gram_of_its_own_pictures(vgg: VggFeatures, recorder: type) -> None:
    source = style(foreign(), recorder())
    pictures = [negative(square) for square in sample_photos().take(2).squares(64)]

    assert source.record == Style(name="net", source="outputs")
    assert set(source.statistics.grams) == {64, 96}
    for name, gram in mean_grams(pictures, vgg).items():
        kept = source.statistics.grams[64][name]
        torch.testing.assert_close(kept, gram, rtol=2e-3, atol=2e-3 * float(gram.abs().max()))


@two_photographs
def test_it_is_worked_out_once_for_a_network_fed_in_one_way(recorder: type) -> None:
    asked: list[tuple[int, ...]] = []

    def counting(rgb: Pixels) -> Pixels:
        asked.append(rgb.shape)
        return negative(rgb)

    told = recorder()
    first = style(foreign(counting), told)
    again = style(foreign(counting), recorder())
    assert len(asked) == 4
    assert told.begun == [("style of the teacher's pictures", 4, 0)]
    assert torch.equal(first.statistics.grams[96]["relu1_2"], again.statistics.grams[96]["relu1_2"])
    style(foreign(counting, form=GraphForm(layout="NHWC")), recorder())
    assert len(asked) == 8


@two_photographs
def test_a_damaged_file_in_the_cache_is_named(
    recorder: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path))
    style(foreign(), recorder())
    (file,) = (tmp_path / "teacher-styles").iterdir()
    file.write_bytes(b"half a file")
    with pytest.raises(CorruptBundleError, match=file.name):
        style(foreign(), recorder())


@two_photographs
def test_a_painting_goes_before(painting: Path, recorder: type) -> None:
    def never(rgb: Pixels) -> Pixels:
        pytest.fail(f"was asked for {np.shape(rgb)}")

    assert style(foreign(never), recorder(), painting).record.source == "painting"
    assert tuple(style(foreign(never), recorder(), painting).statistics.grams) == STYLE_SIZES


def test_a_zoo_name_is_never_made_a_path(monkeypatch) -> None:
    """Windows would spell its slash as a backslash."""
    opened = []

    def refuse(model: object) -> Bundle:
        opened.append(model)
        raise CorruptBundleError("stop here")

    monkeypatch.setattr(teachers, "open_bundle", refuse)
    with pytest.raises(CorruptBundleError):
        open_teacher("zoo:starry-night/teacher")
    assert opened == [resolve_model_path("zoo:starry-night/teacher")]
