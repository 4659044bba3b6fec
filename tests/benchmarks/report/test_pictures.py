import base64
import io

import numpy as np
import pytest
from PIL import Image

from nstc.benchmarks.report import reruns
from nstc.benchmarks.report.reruns import SIDE, data_uri, make_pictures, profile_rows
from nstc.core import Silent


def decoded(uri):
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(body))) as image:
        assert image.format == "JPEG"
        return np.asarray(image).astype(float)


@pytest.fixture
def run(read, make_row, make_quality, make_bundle):
    """Two files of a student at half and quarter brightness, and one that is not here."""
    teacher = make_bundle("teacher", {"onnx": 1.0})
    files = {"onnx": 0.5, "int8.onnx": 0.25}
    student = make_bundle("student", files)
    quality = make_quality(1.0, teacher=str(teacher.path))

    def of(artifact, **changes):
        about = {"model": str(student.path), "quality": quality, "size": 32}
        return make_row(artifact=artifact, **{**about, **changes})

    whole, small = ((student.path / f"model.{name}").stat().st_size for name in files)

    return read(
        of("onnx", bytes=whole),
        of("int8.onnx", bytes=small),
        of("onnx", bytes=whole, target="cpu:1"),
        of("onnx", bytes=1, target="web"),
        of("ts", bytes=1),
        make_row(model="/nowhere/student"),
    )


def test_every_file_is_shown_once_beside_its_teacher(run, photo_set):
    (gallery,) = make_pictures([run], photo_set(5), Silent()).galleries
    assert gallery.size == 32
    assert gallery.teacher.name.endswith("teacher")
    assert [student.name.split()[1] for student in gallery.students] == ["onnx", "int8.onnx"]
    strips = [gallery.photos, gallery.teacher, *gallery.students]
    assert [len(strip.pictures) for strip in strips] == [3, 3, 3, 3]
    photo, teacher, half, quarter = (decoded(strip.pictures[0]).mean() for strip in strips)
    assert teacher == pytest.approx(photo, rel=0.02)
    assert half == pytest.approx(photo / 2, rel=0.05)
    assert quarter == pytest.approx(photo / 4, rel=0.05)


def test_what_is_not_shown_says_why(run, photo_set):
    left_out = dict(make_pictures([run], photo_set(2), Silent()).left_out)
    reasons = " ".join(left_out.values())
    assert "made again since" in reasons
    assert "not an ONNX file" in reasons
    assert "/nowhere/student does not exist" in reasons
    assert len(left_out) == 3


def test_an_address_in_a_result_is_not_asked(read, make_row, photo_set):
    name = f"https://127.0.0.1:9/a.zip#sha256={'0' * 64}"
    run = read(make_row(model=name, artifact="onnx"))
    ((_, reason),) = make_pictures([run], photo_set(1), Silent()).left_out
    assert reason.startswith(f"{name} is not kept here")


def test_a_teacher_that_is_not_here_leaves_the_students(read, make_row, make_bundle, photo_set):
    student = make_bundle("student", {"onnx": 0.5})
    size_bytes = (student.path / "model.onnx").stat().st_size
    run = read(make_row(model=str(student.path), artifact="onnx", bytes=size_bytes))
    shown = make_pictures([run], photo_set(1), Silent())
    assert shown.galleries[0].teacher is None
    assert [name for name, _ in shown.left_out] == ["zoo:dusk/teacher (teacher)"]


def test_a_teacher_that_was_changed_is_not_shown(
    read, make_row, make_quality, make_bundle, photo_set
):
    bundle = make_bundle("teacher", {"onnx": 0.5})
    size_bytes = (bundle.path / "model.onnx").stat().st_size
    name = str(bundle.path)
    row = make_row(
        model=name, artifact="onnx", bytes=size_bytes, quality=make_quality(1.0, teacher=name)
    )
    shown = make_pictures([read(row, references=[{"model": name}])], photo_set(1), Silent())
    assert "changed since" in shown.left_out[0][1]


def test_pictures_stop_where_the_page_is_full(run, photo_set, monkeypatch):
    monkeypatch.setattr(reruns, "BUDGET", 1)
    shown = make_pictures([run], photo_set(1), Silent())
    assert shown.galleries == []
    assert "larger than 3 MB" in shown.left_out[0][1]


def test_pictures_are_scaled_down_never_up():
    assert decoded(data_uri(np.zeros((500, 500, 3), np.uint8))).shape == (SIDE, SIDE, 3)
    assert decoded(data_uri(np.zeros((64, 64, 3), np.uint8))).shape == (64, 64, 3)


def test_layers_are_profiled_once_for_each_file_and_number_of_threads(run):
    found = profile_rows([run], Silent())
    assert [times.by_kind().keys() for times in found.times.values()] == [{"Mul"}] * len(
        found.times
    )
    assert {times.size for times in found.times.values()} == {32}
    assert any("/nowhere" in why for _, why in found.left_out)
