"""What new rows of a baseline are judged by, on real bundles with made-up figures."""

import pytest
from gate_reports import verdicts

from nstc.benchmarks.gate.baseline import from_result, load_baseline, save_baseline
from nstc.benchmarks.gate.check_models import check
from nstc.benchmarks.gate.update import update_baseline


@pytest.fixture
def judged_by_another(judged_student, tmp_path, make_bundle):
    """A baseline that was made with --teacher, of a teacher that the student's manifest lacks."""
    other = make_bundle("other", {"onnx": 0.5}, width=24)
    path = tmp_path / "ci" / "baseline.json"
    save_baseline(from_result(judged_student(judged_by=other.path), path.parent), path)
    return path


def test_a_row_that_is_added_is_judged_as_the_models_other_rows_are(judged_by_another, photos):
    path = judged_by_another
    updated, _ = update_baseline([], path, "one core too", photos=photos, targets=["mobile"])
    assert [(row.target, row.quality.teacher.place) for row in updated.rows] == [
        ("cpu:1", "../other"),
        ("mobile", "../other"),
    ]
    save_baseline(updated, path)
    assert set(verdicts(check([], path, photos=photos)).values()) == {"PASS"}


def test_rows_of_one_file_with_two_teachers_are_each_judged_by_their_own(
    judged_by_another, photos, teacher, fake_bench
):
    path = judged_by_another
    updated, _ = update_baseline(
        [], path, "by the manifest's", photos=photos, targets=["mobile"], teacher=teacher.path
    )
    save_baseline(updated, path)
    assert len({row.quality.teacher.place for row in load_baseline(path).rows}) == 2
    fake_bench.calls.clear()
    assert set(verdicts(check([], path, photos=photos)).values()) == {"PASS"}
    assert [call["quality"] for call in fake_bench.calls] == [True, True]


def test_a_new_model_is_judged_by_the_teacher_in_its_manifest(
    judged_by_another, photos, teacher, make_bundle
):
    second = make_bundle("second", {"int8.onnx": 0.8}, teacher=teacher.origin(), width=24)
    updated, _ = update_baseline([second.path], judged_by_another, "a second", photos=photos)
    places = {row.model: row.quality.teacher.place for row in updated.rows}
    assert places == {"../student": "../other", "../second": "../teacher"}
