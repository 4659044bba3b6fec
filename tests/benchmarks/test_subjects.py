import numpy as np
import pytest

from nstc.benchmarks.subjects import FLOAT, find_subject, reference_of, teacher_of, with_known_form
from nstc.core.bundle import TILES_ARTIFACT
from nstc.core.errors import ArtifactError, BundleError, OptionError, TeacherError
from nstc.core.files import sha256_of
from nstc.core.graph_form import GraphForm
from nstc.core.manifest import Origin
from nstc.runtime.foreign.probing import probe_contract


def origin_of(bundle, **changes) -> Origin:
    return Origin(**{"name": "t", "sha256": bundle.identity, "path": str(bundle.path), **changes})


@pytest.fixture
def teacher(make_bundle):
    return make_bundle("teacher", {"onnx": 0.5})


def test_the_teacher_is_the_manifests(make_bundle, teacher):
    student = make_bundle("student", {}, teacher=origin_of(teacher))
    found = teacher_of(find_subject(student.path), None)
    assert found.bundle is not None
    assert found.bundle.identity == teacher.identity


def test_a_given_teacher_goes_before_the_manifests(make_bundle, teacher):
    other = make_bundle("other", {"onnx": 0.7})
    student = make_bundle("student", {}, teacher=origin_of(teacher))
    assert teacher_of(find_subject(student.path), str(other.path)).path == other.path


def test_a_network_without_a_teacher_is_judged_by_itself(teacher):
    subject = find_subject(teacher.path)
    assert teacher_of(subject, None) is subject


@pytest.mark.parametrize(
    "changes",
    [
        {"path": "/nowhere/teacher"},
        {"path": None},
        {"path": None, "zoo": "zoo:no-such-style/teacher"},
        {"sha256": "0" * 64},
    ],
)
def test_a_teacher_that_is_gone_or_another_names_the_flag(make_bundle, teacher, changes):
    student = make_bundle("student", {}, teacher=origin_of(teacher, **changes))
    with pytest.raises(TeacherError, match="--teacher"):
        teacher_of(find_subject(student.path), None)


def test_a_given_teacher_that_is_not_there_names_the_flag(teacher):
    with pytest.raises(
        TeacherError, match=r"--teacher nowhere\.onnx.*nowhere\.onnx does not exist"
    ):
        teacher_of(find_subject(teacher.path), "nowhere.onnx")


def test_an_onnx_file_made_by_others(foreign_file):
    path = foreign_file
    subject = find_subject(path)
    assert (subject.name, subject.bundle, subject.identity) == (str(path), None, sha256_of(path))
    assert subject.artifacts(64) == (FLOAT,)
    session = subject.open(FLOAT, 1)
    rgb = np.full((20, 24, 3), 200, np.uint8)
    assert (session.run(rgb) == 100).all()
    with pytest.raises(ArtifactError, match=r"no artifact int8"):
        subject.open("int8", 1)
    with pytest.raises(TeacherError, match="--teacher"):
        teacher_of(subject, None)


def test_an_onnx_files_identity_is_that_of_its_weights_too(linear, weights_beside, tmp_path):
    path = linear(tmp_path / "split.onnx", 1, 0)
    before = find_subject(path).identity
    weights_beside(path)
    data = tmp_path / "split.onnx.data"
    first = find_subject(path).identity
    data.write_bytes(data.read_bytes()[::-1])
    assert len({before, first, find_subject(path).identity}) == 3


def test_default_artifacts_are_the_onnx_files_that_take_the_size(make_bundle):
    graphs = {"onnx": 1.0, "int8.onnx": 1.0, "int8.64x64.onnx": 1.0, "64x32.onnx": 1.0, "ts": 1.0}
    subject = find_subject(make_bundle("student", graphs).path)
    assert subject.artifacts(64) == ("int8.64x64.onnx", "int8.onnx", "onnx")
    assert subject.artifacts(32) == ("int8.onnx", "onnx")


def test_a_missing_artifact_says_how_to_make_it(make_bundle, monkeypatch, tmp_path):
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path / "cache"))
    subject = find_subject(make_bundle("student", {}).path)
    with pytest.raises(ArtifactError, match="Make it by quantizing the model"):
        subject.open("int8", 1)
    assert subject.artifacts(64) == (FLOAT,)
    with pytest.raises(ArtifactError, match="Make it by exporting the model"):
        subject.open(FLOAT, 1)


def test_what_is_no_model_is_a_bundle_error(tmp_path):
    with pytest.raises(BundleError, match="does not exist"):
        find_subject(tmp_path / "nothing")


def test_the_file_for_tiles_is_the_int8_network_again_and_no_row(make_bundle):
    subject = find_subject(make_bundle("student", {"int8.onnx": 1.0, TILES_ARTIFACT: 1.0}).path)
    assert TILES_ARTIFACT in subject.bundle.artifacts
    assert subject.artifacts(64) == ("int8.onnx",)


def test_a_foreign_file_is_fed_as_when_it_taught(make_bundle, foreign_file):
    form = GraphForm(input_range=255, mean=(1.0, 2.0, 3.0))
    origin = Origin(
        name="t", sha256=find_subject(foreign_file).identity, path=str(foreign_file), form=form
    )
    student = find_subject(make_bundle("student", {}, teacher=origin).path)
    assert teacher_of(student, None).form == form
    assert teacher_of(student, str(foreign_file)).form == form
    assert with_known_form(find_subject(foreign_file), [student]).form == form
    other = find_subject(make_bundle("other", {"onnx": 0.5}).path)
    assert with_known_form(find_subject(foreign_file), [other]).form is None
    asked = []

    def probe(path, known):
        asked.append(known)
        return probe_contract(path)

    teacher_of(student, None).open(FLOAT, 1, probe)
    assert asked == [form]


def test_an_onnx_file_may_end_in_capitals(foreign_file, tmp_path):
    path = tmp_path / "NET.ONNX"
    path.write_bytes(foreign_file.read_bytes())
    assert find_subject(path).bundle is None


class TestReference:
    """What models are timed beside where nothing is given."""

    def test_is_the_teacher_of_the_manifests(self, make_bundle, teacher):
        students = [
            find_subject(make_bundle(name, {}, teacher=origin_of(teacher)).path) for name in "ab"
        ]
        assert reference_of(students, None).path == teacher.path
        assert reference_of(students, students[0].path).path == students[0].path

    @pytest.mark.parametrize(
        "changes", [{"path": "/nowhere"}, {"path": None}, {"sha256": "0" * 64}]
    )
    def test_that_is_gone_or_another_names_the_flag(self, make_bundle, teacher, changes):
        student = make_bundle("student", {}, teacher=origin_of(teacher, **changes))
        with pytest.raises(TeacherError, match="--against"):
            reference_of([find_subject(student.path)], None)

    def test_of_a_model_without_a_teacher_names_the_flag(self, teacher, foreign_file):
        for path in (teacher.path, foreign_file):
            with pytest.raises(TeacherError, match=r"names no teacher .* or --against optimized"):
                reference_of([find_subject(path)], None)

    def test_of_models_with_different_teachers_names_both(self, make_bundle, teacher):
        other = make_bundle("other", {"onnx": 0.7})
        students = [
            find_subject(make_bundle(one.name, {}, teacher=one).path)
            for one in (origin_of(teacher, name="t"), origin_of(other, name="o"))
        ]
        with pytest.raises(OptionError, match=r"different teachers, t, o: .* --against"):
            reference_of(students, None)
