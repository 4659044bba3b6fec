"""Bundles that are put into the zoo."""

import shutil

import pytest
from lab.ship import ship

from nstc.benchmarks.subjects import find_subject, teacher_of
from nstc.core import zoo
from nstc.core.bundle import STYLE_FILE, open_bundle, revised_bundle
from nstc.core.errors import OutputError
from nstc.models.tensors import load_tensors, save_tensors


@pytest.fixture
def measured():
    """Rows of a manifest, of an included student."""
    return open_bundle("zoo:udnie").manifest.measurements


@pytest.fixture
def own_zoo(tmp_path, monkeypatch):
    folder = tmp_path / "zoo"
    monkeypatch.setattr(zoo, "zoo_folder", lambda: folder)
    return folder


@pytest.fixture
def teacher(make_bundle):
    return make_bundle("teacher", {"onnx": 0.8}, width=16)


@pytest.fixture
def bundle(make_bundle, teacher):
    return make_bundle("half", {"onnx": 0.5, "int8.onnx": 0.5}, teacher=teacher.origin())


def check_all(model) -> None:
    shipped = open_bundle(model)
    for name in shipped.manifest.files:
        shipped.file(name)


def test_a_teacher_that_ships_is_known_by_its_zoo_name(own_zoo, teacher, bundle) -> None:
    ship(teacher, "wave", "teacher", ())
    shipped = ship(bundle, "wave", "student", ())
    assert shipped.manifest.name == "wave"
    assert shipped.manifest.teacher is not None
    assert (shipped.manifest.teacher.zoo, shipped.manifest.teacher.path) == (
        "zoo:wave/teacher",
        None,
    )


def test_a_fast_student_ships_as_students_do(measured, own_zoo, teacher, bundle) -> None:
    ship(teacher, "wave", "teacher", ())
    for role in ("student", "fast"):
        ship(bundle, "wave", role, measured)
    fast = open_bundle("zoo:wave/fast")
    assert fast.manifest.name == "wave-fast"
    assert {row["model"] for row in fast.manifest.measurements} == {"wave-fast"}
    assert {"checks.json", "frontier.svg", "preview.jpg"} <= set(fast.manifest.files)
    assert teacher_of(find_subject("zoo:wave/fast"), None).path == own_zoo / "wave" / "teacher"
    plot = fast.file("frontier.svg").read_text(encoding="utf-8")
    assert plot.count(">wave, int8.onnx<") == plot.count(">wave-fast, int8.onnx<") == 1


class TestStatistics:
    def test_those_of_a_style_are_stored_once(self, own_zoo, bundle) -> None:
        for role in ("student", "teacher"):
            ship(bundle, "wave", role, ())
        assert zoo.zoo_names() == ("zoo:wave", "zoo:wave/teacher")
        assert list(own_zoo.rglob(STYLE_FILE)) == [own_zoo / "wave" / STYLE_FILE]
        check_all("zoo:wave")
        check_all("zoo:wave/teacher")

    def test_a_model_of_the_zoo_is_shipped_again(self, own_zoo, bundle) -> None:
        ship(bundle, "wave", "student", ())
        shutil.rmtree(bundle.path)
        ship(open_bundle("zoo:wave"), "wave", "student", ())
        check_all("zoo:wave")

    def test_others_than_the_styles_are_refused(self, own_zoo, bundle) -> None:
        ship(bundle, "wave", "teacher", ())
        other = bundle.path.with_name("other")
        with revised_bundle(bundle, other, bundle.manifest) as draft:
            tensors = load_tensors(bundle.file(STYLE_FILE))
            save_tensors({key: 0.9 * own for key, own in tensors.items()}, draft / STYLE_FILE)
        with pytest.raises(OutputError, match="is not the one that wave's bundles share"):
            ship(open_bundle(other), "wave", "student", ())
        assert zoo.zoo_names() == ("zoo:wave/teacher",)
        ship(open_bundle(other), "night", "student", ())
        check_all("zoo:night")
