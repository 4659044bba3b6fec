"""Verdicts on time, beside what the baseline keeps and beside the base's own files."""

import json
import shutil

import pytest
from gate_reports import ALL_PASS, explained, verdicts

from nstc.benchmarks.gate.check_models import check
from nstc.benchmarks.gate.scope import least_rounds
from nstc.benchmarks.gate.verdicts import ComparedWith, Verdict
from nstc.core.errors import OptionError


@pytest.mark.parametrize(
    ("speeds", "verdict"),
    [
        (9.2, "REGRESSED"),
        (9.7, "PASS"),
        (10.8, "IMPROVED"),
        ([12.0, *[10.0] * 11], "INCONCLUSIVE"),
    ],
)
def test_time_beside_the_stored_ratio(baseline, photos, fake_bench, speeds, verdict):
    fake_bench.speeds = {"student": speeds}
    report = check([], baseline, photos=photos, time=True)
    assert verdicts(report) == {**ALL_PASS, "speedup": verdict}
    assert (report.exit_status == 0) == (verdict in ("PASS", "IMPROVED"))
    if verdict == "INCONCLUSIVE":
        assert "--rounds" in explained(report, "speedup")


def test_more_rounds_and_another_tolerance_on_demand(baseline, photos, fake_bench):
    fake_bench.speeds = {"student": 9.2}
    report = check([], baseline, photos=photos, time=True, rounds=7, tolerance=0.1)
    assert report.verdict is Verdict.PASS
    assert fake_bench.calls[0]["recipe"].rounds == 7


def test_noise_is_met_with_more_rounds_up_to_a_bound(baseline, photos, fake_bench):
    fake_bench.speeds = {"student": [9.0, 10.0, 9.0]}  # open after 5 rounds
    report = check([], baseline, photos=photos, time=True, max_rounds=200)
    assert report.verdict is Verdict.PASS
    first, *others = [(call["recipe"].rounds, call["quality"]) for call in fake_bench.calls]
    assert first == (5, True)
    assert others
    assert not any(quality for _, quality in others)  # pictures are judged once
    seeds = [call["recipe"].seed for call in fake_bench.calls]
    assert len(set(seeds)) == len(seeds)
    [result] = report.results
    taken = 5 + sum(rounds for rounds, _ in others)
    assert result.protocol.rounds == taken == len(result.rows[0].latency_ms.samples)


def test_no_rounds_are_added_beyond_the_bound(baseline, photos, fake_bench):
    fake_bench.speeds = {"student": [7.0, 10.0, 13.0]}
    report = check([], baseline, photos=photos, time=True, max_rounds=12)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert sum(call["recipe"].rounds for call in fake_bench.calls) == 10  # 2 more are too few
    fake_bench.calls.clear()
    check([], baseline, photos=photos, time=True, max_rounds=5)
    assert len(fake_bench.calls) == 1


def test_rounds_are_added_beside_the_base_too(baseline, photos, fake_bench, student, tmp_path):
    base = shutil.copytree(student.path, tmp_path / "before" / "base")
    fake_bench.speeds = {"base": 10.0, "student": [9.0, 10.0, 9.0]}
    report = check([], baseline, photos=photos, base=[base], max_rounds=200)
    assert report.verdict is Verdict.PASS
    assert [call["quality"] for call in fake_bench.calls].count(True) == 1
    assert len(fake_bench.calls) > 2


def test_a_machine_in_another_state_is_no_regression(baseline, photos, fake_bench):
    fake_bench.speeds = {"student": 9.2}  # 8.7 % slower than stored
    fake_bench.reference_ms = 150.0  # and the reference itself takes half as long again
    report = check([], baseline, photos=photos, time=True)
    assert verdicts(report)["speedup"] == "INCONCLUSIVE"
    assert "the reference is 50.0 % slower itself" in explained(report, "speedup")
    assert "about --rounds 80 would settle it once it is" in explained(report, "speedup")
    [finding] = [found for found in report.findings if found.fact == "speedup"]
    assert finding.rounds_needed == 80  # twice as many as there may be: 8 times 5
    fake_bench.speeds = {"student": 6.0}
    assert check([], baseline, photos=photos, time=True).verdict is Verdict.REGRESSED


def test_a_machine_of_another_class_has_no_time_to_compare_with(baseline, photos, fake_bench):
    fake_bench.machine = {**fake_bench.machine, "int8": ["avx2"]}
    report = check([], baseline, photos=photos, time=True)
    assert verdicts(report) == {**ALL_PASS, "speedup": "MISSING_BASELINE"}
    assert report.exit_status != 0
    for way_out in ("--base", "nstc baseline update", "leave --time out"):
        assert way_out in explained(report, "speedup")


def test_another_runtime_on_the_same_machine_is_incomparable(baseline, photos, fake_bench):
    fake_bench.machine = {**fake_bench.machine, "tools": {"onnxruntime": "1.40.0"}}
    report = check([], baseline, photos=photos, time=True)
    assert verdicts(report) == {**ALL_PASS, "speedup": "INCOMPARABLE"}
    assert report.exit_status != 0
    assert "onnxruntime-1.31.0" in explained(report, "speedup")


def test_beside_the_base_the_class_of_machine_does_not_matter(
    baseline, photos, fake_bench, student, tmp_path
):
    base = shutil.copytree(student.path, tmp_path / "before" / "base")
    fake_bench.machine = {**fake_bench.machine, "int8": []}
    report = check([], baseline, photos=photos, base=[base])
    assert verdicts(report) == ALL_PASS
    assert report.times_compared_with is ComparedWith.BASE
    timed, judged = fake_bench.calls
    assert (timed["models"], timed["quality"]) == ([student.path, base], False)
    assert (judged["models"], judged["quality"]) == ([student.path], True)
    assert judged["recipe"].rounds == 0  # its times are not looked at


@pytest.mark.parametrize(("speed", "verdict"), [(18.0, "REGRESSED"), (22.0, "IMPROVED")])
def test_beside_the_base_it_is_the_base_that_counts(
    baseline, photos, fake_bench, student, tmp_path, speed, verdict
):
    base = shutil.copytree(student.path, tmp_path / "before" / "base")
    fake_bench.speeds = {"base": 20.0, "student": speed}  # both faster than the stored 10
    report = check([], baseline, photos=photos, base=[base])
    assert verdicts(report) == {**ALL_PASS, "speedup": verdict}


def test_noise_that_base_and_candidate_share_within_a_round_cancels(
    baseline, photos, fake_bench, student, tmp_path
):
    base = shutil.copytree(student.path, tmp_path / "before" / "base")
    fake_bench.speeds = {"base": [5.0, 10.0, 20.0], "student": [5.0, 10.0, 20.0]}
    assert check([], baseline, photos=photos, base=[base]).verdict is Verdict.PASS
    fake_bench.speeds["student"] = [4.5, 9.0, 18.0]
    assert check([], baseline, photos=photos, base=[base]).verdict is Verdict.REGRESSED


def test_a_file_that_the_base_does_not_have_is_no_pass(
    baseline, photos, make_bundle, teacher, tmp_path
):
    base = make_bundle("before/student", {"dynamic.onnx": 0.8}, teacher=teacher.origin())
    report = check([], baseline, photos=photos, base=[base.path])
    assert verdicts(report) == {**ALL_PASS, "speedup": "MISSING_BASELINE"}


@pytest.mark.parametrize("artifact", ["ts", "pte", "int8.pte"])
def test_a_base_need_not_hold_what_is_made_of_its_weights(
    baseline, photos, student, fake_bench, tmp_path, artifact
):
    baseline.write_text(baseline.read_text().replace("int8.onnx", artifact))
    base = shutil.copytree(student.path, tmp_path / "before" / "base")
    assert verdicts(check([], baseline, photos=photos, base=[base])) == ALL_PASS
    assert fake_bench.calls[-1]["artifacts"] == (artifact,)


def test_time_left_out_is_said(baseline, photos, fake_bench):
    fake_bench.speeds = {"student": 5.0}
    report = check([], baseline, photos=photos, facts_and_quality_only=True)
    assert "speedup" not in verdicts(report)
    assert report.exit_status == 0
    assert report.notes == ("time was left out, as --facts-and-quality-only asks",)
    assert fake_bench.calls[0]["recipe"].rounds == 0


@pytest.mark.parametrize(
    ("target", "rounds"), [("cpu:1", 0), ("torchscript:1", 0), ("ssh://board", 3)]
)
def test_a_device_may_tell_its_facts_with_times_alone(target, rounds):
    assert least_rounds(target) == rounds


def test_time_is_judged_on_request_alone_and_that_is_said(baseline, photos, fake_bench):
    fake_bench.speeds = {"student": [1.0, 90.0, 5.0]}
    report = check([], baseline, photos=photos)
    assert "speedup" not in verdicts(report)
    assert (report.verdict, report.times_compared_with) == (Verdict.PASS, ComparedWith.NOTHING)
    assert [call["recipe"].rounds for call in fake_bench.calls] == [0]
    [note] = report.notes
    assert note.startswith("not judged: time, which --time judges on an idle machine; instructions")
    assert "nstc baseline update FILE --target instructions" in note
    assert check([], baseline, photos=photos, time=True).notes == ()


@pytest.mark.parametrize(
    ("flag", "options"),
    [
        ("--rounds", {"rounds": 9}),
        ("--max-rounds", {"max_rounds": 90}),
        ("--tolerance", {"tolerance": 0.1}),
    ],
)
def test_how_to_judge_times_is_refused_where_they_are_not_judged(
    baseline, photos, fake_bench, student, flag, options
):
    for more in ({}, {"facts_and_quality_only": True}):
        with pytest.raises(OptionError, match=rf"^{flag} .* add --time"):
            check([], baseline, photos=photos, **options, **more)
    assert not fake_bench.calls
    check([], baseline, photos=photos, base=[student.path], **options)


@pytest.mark.parametrize("target", ["cpu:4", "torchscript:4"])
def test_fewer_cores_than_the_baseline_leave_only_time_open(baseline, photos, monkeypatch, target):
    content = json.loads(baseline.read_text())
    for row in content["rows"] + content["times"]:
        row["target"] = target
    baseline.write_text(json.dumps(content))
    for module in ("gate.scope", "targets.base"):
        monkeypatch.setattr(f"nstc.benchmarks.{module}.usable_cores", lambda: (0, 1))
    report = check([], baseline, photos=photos, time=True)
    assert verdicts(report) == {**ALL_PASS, "speedup": "INCOMPARABLE"}
    assert f"too few cores for {target}" in explained(report, "speedup")
    with pytest.raises(OptionError, match="memory-cap needs a target that reports memory"):
        check([], baseline, photos=photos, time=True, memory_cap_mb=100)
