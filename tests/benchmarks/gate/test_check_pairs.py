"""Which models stand for the baseline's, and what an update accepts."""

import shutil

import pytest
from gate_reports import ALL_PASS, verdicts

from nstc.benchmarks.gate.baseline import load_baseline, save_baseline
from nstc.benchmarks.gate.check_models import check
from nstc.benchmarks.gate.update import update_baseline
from nstc.benchmarks.gate.verdicts import Verdict
from nstc.core.errors import OptionError


def test_a_candidate_elsewhere_stands_for_the_model_of_its_name(
    baseline, photos, fake_bench, student, tmp_path
):
    candidate = shutil.copytree(student.path, tmp_path / "out" / "build-7")
    report = check([candidate], baseline, photos=photos, time=True)
    assert verdicts(report) == ALL_PASS
    assert {finding.row.model for finding in report.findings} == {"../student"}
    assert not report.notes
    assert fake_bench.calls[0]["models"] == [candidate]


@pytest.fixture
def two_models(fake_bench, baseline, student, teacher, photos):
    """The baseline with a second model."""
    updated, _ = update_baseline([student.path, teacher.path], baseline, "two", photos=photos)
    save_baseline(updated, baseline)
    fake_bench.calls.clear()
    return baseline


def test_models_with_other_files_are_measured_apart(two_models, photos, fake_bench):
    report = check([], two_models, photos=photos, time=True)
    assert report.verdict is Verdict.PASS
    assert [str(finding.row) for finding in report.findings if "cpu:1" not in str(finding.row)] == [
        "../student int8.onnx"
    ]
    assert len(report.findings) == 12 + 1
    assert [call["artifacts"] for call in fake_bench.calls] == [("int8.onnx",), ("onnx",)]


def test_a_model_that_the_baseline_does_not_have_is_no_pass(two_models, photos, make_bundle):
    stranger = make_bundle("stranger", {"onnx": 0.5, "int8.onnx": 0.5}, width=24)
    report = check([stranger.path], two_models, photos=photos, time=True)
    assert [(f.row.artifact, f.verdict) for f in report.findings] == [
        ("int8.onnx", Verdict.MISSING_BASELINE),
        ("onnx", Verdict.MISSING_BASELINE),
    ]
    assert report.exit_status != 0


def test_models_that_were_not_named_are_said_to_be_left_out(two_models, photos, student):
    report = check([student.path], two_models, photos=photos, time=True)
    assert report.notes == ("not checked, since other models were named: ../teacher",)


def test_two_models_for_one_are_refused(two_models, photos, student, tmp_path):
    copy = shutil.copytree(student.path, tmp_path / "copy")
    with pytest.raises(OptionError, match="both stand for"):
        check([student.path, copy], two_models, photos=photos, time=True)


def test_a_base_for_nobody_is_refused(two_models, photos, make_bundle):
    stranger = make_bundle("stranger", {"onnx": 0.5}, width=24)
    with pytest.raises(OptionError, match="none of the baseline's models"):
        check([], two_models, photos=photos, base=[stranger.path])


def test_an_update_is_what_passes_from_then_on(baseline, photos, fake_bench):
    fake_bench.changes = {"params": 1200}
    fake_bench.speeds = {"student": 8.0}
    assert check([], baseline, photos=photos, time=True).verdict is Verdict.REGRESSED
    updated, result = update_baseline([], baseline, "wider, for fewer stripes", photos=photos)
    assert load_baseline(baseline).rows[0].facts["params"] == 1000  # not written yet
    save_baseline(updated, baseline)
    assert len(result.rows) == 1
    assert check([], baseline, photos=photos, time=True).verdict is Verdict.PASS
    assert load_baseline(baseline).log[-1].reason == "wider, for fewer stripes"


@pytest.mark.parametrize(("given", "timed"), [(None, 5), (9, 9)])
def test_an_update_times_the_baselines_rounds_unless_others_are_asked_for(
    baseline, photos, fake_bench, given, timed
):
    update_baseline([], baseline, "again", photos=photos, rounds=given)
    assert [call["recipe"].rounds for call in fake_bench.calls] == [timed]


def test_an_update_wants_a_reason_before_it_measures(baseline, photos, fake_bench):
    with pytest.raises(OptionError, match="--reason"):
        update_baseline([], baseline, " ", photos=photos)
    assert not fake_bench.calls


def test_an_update_is_of_the_models_at_their_own_places(
    baseline, photos, fake_bench, student, tmp_path
):
    copy = shutil.copytree(student.path, tmp_path / "copy")
    with pytest.raises(
        OptionError, match=r"copy has the name of the baseline's \.\./student, student, and another"
    ):
        update_baseline([copy], baseline, "moved", photos=photos)
    assert not fake_bench.calls


def test_an_update_adds_a_model_of_another_name_to_the_only_one(baseline, photos, make_bundle):
    other = make_bundle("other", {"int8.onnx": 0.8}, width=24)
    before = load_baseline(baseline)
    updated, result = update_baseline([other.path], baseline, "a second style", photos=photos)
    assert [model.place for model in updated.models] == ["../student", "../other"]
    assert [(row.model, row.artifact) for row in updated.rows] == [
        ("../student", "int8.onnx"),
        ("../other", "int8.onnx"),
    ]
    assert updated.rows[0] == before.rows[0]
    assert [row.model for row in result.rows] == [str(other.path)]


def test_a_check_says_so_where_a_model_of_another_name_stands_for_the_only_one(
    baseline, photos, make_bundle
):
    other = make_bundle("other", {"int8.onnx": 0.8}, width=24)
    report = check([other.path], baseline, photos=photos, time=True)
    assert {finding.row.model for finding in report.findings} == {"../student"}
    assert report.notes == (
        f"{other.path}, whose name is other, was compared with the baseline's only model, "
        "../student, whose name is student",
    )
