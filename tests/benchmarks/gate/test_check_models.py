"""The gate, on real bundles with made-up times and quality, and once on real ones."""

import json
import math
import shutil

import pytest
from gate_reports import ALL_PASS, RECIPE, explained, verdicts

from nstc.benchmarks.bench import bench
from nstc.benchmarks.gate.baseline import from_result, save_baseline
from nstc.benchmarks.gate.check_models import check
from nstc.benchmarks.gate.output_formats import to_json
from nstc.benchmarks.gate.verdicts import ComparedWith, Verdict
from nstc.benchmarks.timing import latency
from nstc.benchmarks.timing.statistics import Tail
from nstc.core import zoo
from nstc.core.errors import (
    ArtifactError,
    BaselineError,
    BaselineSchemaError,
    CorruptBaselineError,
    OptionError,
)
from nstc.core.manifest import Manifest
from nstc.runtime.session import find_artifact


def test_what_did_not_change_passes(baseline, photos, fake_bench, student):
    report = check([], baseline, photos=photos, time=True)
    assert verdicts(report) == ALL_PASS
    assert (report.verdict, report.exit_status) == (Verdict.PASS, 0)
    assert report.times_compared_with is ComparedWith.BASELINE
    [call] = fake_bench.calls  # measured once
    assert call["models"] == [student.path]
    assert call["artifacts"] == ("int8.onnx",)
    assert (call["recipe"].rounds, call["recipe"].size, call["recipe"].targets) == (
        5,
        32,
        ("cpu:1",),
    )


def test_the_same_measurement_gives_the_same_report(baseline, photos):
    first, second = (to_json(check([], baseline, photos=photos, time=True)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("fact", "changes", "verdict"),
    [
        ("bytes", {"size_bytes": 33_000}, "REGRESSED"),
        ("macs", {"macs": 1_999_999}, "IMPROVED"),
        ("params", {"params": None}, "INCOMPARABLE"),
    ],
)
def test_an_exact_fact_that_changed(baseline, photos, fake_bench, fact, changes, verdict):
    fake_bench.changes = changes
    report = check([], baseline, photos=photos, time=True)
    assert verdicts(report) == {**ALL_PASS, fact: verdict}
    assert report.verdict == verdict


def test_a_picture_that_changed_is_named_by_its_metric(baseline, photos, fake_bench):
    fake_bench.metrics = {"ssim": 0.79, "style_ratio": 1.2}
    assert verdicts(check([], baseline, photos=photos, time=True)) == {
        **ALL_PASS,
        "ssim": "REGRESSED",
    }


def test_a_better_picture_asks_for_an_update_and_fails_a_strict_check(baseline, photos, fake_bench):
    fake_bench.metrics = {"ssim": 0.82, "style_ratio": 1.2}
    lenient = check([], baseline, photos=photos, time=True)
    assert (lenient.verdict, lenient.exit_status) == (Verdict.IMPROVED, 0)
    assert check([], baseline, photos=photos, time=True, strict=True).exit_status != 0


WORST = Tail(p90=9.0, worst=9.0, worst_photo="a.jpg")
NEWER = ("style_ratio_p90", "style_ratio_worst", "local_style_distance", "metric_of_a_package")


def test_what_an_older_nstc_did_not_have_is_not_judged_and_said(baseline, photos, fake_bench):
    fake_bench.metrics |= {"local_style_distance": 0.5, "metric_of_a_package": 0.5}
    fake_bench.tails = {"style_ratio": WORST}
    report = check([], baseline, photos=photos, time=True)
    assert verdicts(report) == {**ALL_PASS, **dict.fromkeys(NEWER, "NOT_JUDGED")}
    assert report.exit_status == 0
    assert check([], baseline, photos=photos, time=True, strict=True).exit_status != 0
    [note] = [note for note in report.notes if "not judged" in note]
    assert all(name in note for name in NEWER)
    assert "student int8.onnx cpu:1 32px" in note
    fake_bench.metrics = {"ssim": 0.8, "style_ratio": 1.2}
    fake_bench.tails = {}
    assert not [
        note for note in check([], baseline, photos=photos, time=True).notes if "judged" in note
    ]


def edited(baseline, edit):
    """The baseline with its first row's quality changed in place."""
    content = json.loads(baseline.read_text())
    edit(content["rows"][0]["quality"])
    baseline.write_text(json.dumps(content))
    return baseline


def test_a_metric_that_every_baseline_has_is_missed(baseline, photos):
    path = edited(baseline, lambda quality: quality["metrics"].pop("style_ratio"))
    report = check([], path, photos=photos, time=True)
    assert verdicts(report) == {**ALL_PASS, "style_ratio": "MISSING_BASELINE"}
    assert report.exit_status != 0


def test_a_row_with_nothing_left_to_judge_is_missed(baseline, photos, fake_bench):
    path = edited(baseline, lambda quality: quality.update(metrics={}, tails={}))
    fake_bench.metrics = {"local_style_distance": 0.5, "metric_of_a_package": 0.5}
    fake_bench.tails = {"style_ratio": WORST}
    found = verdicts(check([], path, photos=photos, time=True))
    assert {name: found[name] for name in NEWER} == dict.fromkeys(NEWER, "MISSING_BASELINE")


def test_a_tail_is_missed_where_the_baseline_has_another(baseline, photos, fake_bench):
    metrics = {"ssim": 0.8, "style_ratio": 1.2, "local_style_distance": 0.5, "content_ratio": 1.0}
    fake_bench.metrics = metrics
    fake_bench.tails = dict.fromkeys(metrics.keys() - {"ssim"}, WORST)
    tails = {"content_ratio": vars(WORST)}
    path = edited(baseline, lambda quality: quality.update(metrics=metrics, tails=tails))
    found = verdicts(check([], path, photos=photos, time=True))
    assert found["style_ratio_worst"] == "MISSING_BASELINE"
    assert found["local_style_distance_worst"] == "MISSING_BASELINE"
    assert found["content_ratio_worst"] == "PASS"


def test_quality_without_its_feature_network_is_no_baseline(baseline, photos):
    content = json.loads(baseline.read_text())
    content["protocol"]["vgg"] = None
    baseline.write_text(json.dumps(content))
    with pytest.raises(CorruptBaselineError, match="no feature network"):
        check([], baseline, photos=photos, time=True)


def test_a_baseline_without_quality_is_said(baseline, photos):
    content = json.loads(baseline.read_text())
    content["protocol"]["vgg"] = content["rows"][0]["quality"] = None
    baseline.write_text(json.dumps(content))
    report = check([], baseline, photos=photos, time=True)
    assert any("quality was not compared" in note for note in report.notes)


@pytest.mark.parametrize(
    ("p90", "worst", "expected"),
    [
        (1.3, 1.6, {"style_ratio_p90": "PASS", "style_ratio_worst": "PASS"}),
        (1.3, 1.8, {"style_ratio_p90": "PASS", "style_ratio_worst": "REGRESSED"}),
        (1.2, 1.6, {"style_ratio_p90": "IMPROVED", "style_ratio_worst": "PASS"}),
    ],
)
def test_one_photograph_that_got_worse_is_found(
    fake_bench, student, teacher, photos, tmp_path, p90, worst, expected
):
    def measured(p90, worst):
        fake_bench.tails = {"style_ratio": Tail(p90=p90, worst=worst, worst_photo="a.jpg")}

    measured(1.3, 1.6)
    options = {"against": teacher.path, "artifacts": (), "photos": photos, "teacher": None}
    result = fake_bench([student.path], recipe=RECIPE, quality=True, **options)
    path = tmp_path / "baseline.json"
    save_baseline(from_result(result, path.parent), path)
    measured(p90, worst)
    report = check([], path, photos=photos, time=True)
    assert verdicts(report) == {**ALL_PASS, **expected}
    assert ("the worst is a.jpg" in explained(report, "style_ratio_worst")) == (worst == 1.8)
    assert "a.jpg" not in explained(report, "style_ratio_p90")
    measured(math.nan, math.nan)
    odd = check([], path, photos=photos, time=True)
    assert explained(odd, "style_ratio_worst") == "not a number"
    fake_bench.tails = {}
    gone = verdicts(check([], path, photos=photos, time=True))
    assert gone["style_ratio_worst"] == "INCOMPARABLE"


def test_a_metric_that_is_not_measured_any_more_is_no_pass(baseline, photos, fake_bench):
    del fake_bench.metrics["ssim"]
    report = check([], baseline, photos=photos, time=True)
    assert verdicts(report)["ssim"] == "INCOMPARABLE"
    assert report.exit_status != 0


@pytest.mark.parametrize(
    ("protocol", "said"),
    [({"vgg": "another"}, "feature network"), ({"reference": "0" * 64}, "another reference")],
)
def test_another_protocol_is_incomparable_in_all_but_facts(
    baseline, photos, fake_bench, protocol, said
):
    fake_bench.protocol = protocol
    report = check([], baseline, photos=photos, time=True)
    incomparable = dict.fromkeys(("ssim", "style_ratio", "speedup"), "INCOMPARABLE")
    assert verdicts(report) == {**ALL_PASS, **incomparable}
    assert said in explained(report, "ssim")
    assert said in explained(report, "speedup")


def test_other_photographs_are_incomparable(baseline, photo_set):
    report = check([], baseline, photos=photo_set(1))
    assert verdicts(report)["ssim"] == "INCOMPARABLE"
    assert "other photographs" in explained(report, "ssim")


def test_another_teacher_is_incomparable(baseline, photos, make_bundle):
    other = make_bundle("other", {"onnx": 0.5}, width=24)
    report = check([], baseline, photos=photos, time=True, teacher=other.path)
    assert verdicts(report)["ssim"] == "INCOMPARABLE"
    assert verdicts(report)["speedup"] == "PASS"
    assert "judged by ../other, the baseline by ../teacher" in explained(report, "ssim")


def test_a_teacher_that_was_trained_anew_is_incomparable(baseline, photos, teacher, make_bundle):
    reference = shutil.copytree(teacher.path, teacher.path.with_name("kept"))
    shutil.rmtree(teacher.path)
    make_bundle("teacher", {"onnx": 0.5}, width=24)
    report = check([], baseline, photos=photos, time=True, against=reference)
    assert verdicts(report)["ssim"] == "INCOMPARABLE"
    assert "another network" in explained(report, "ssim")


def test_a_model_that_was_judged_by_itself_is_again(
    fake_bench, teacher, photos, tmp_path, make_bundle
):
    options = {"photos": photos, "recipe": RECIPE, "quality": True, "teacher": None}
    result = fake_bench([teacher.path], against=teacher.path, artifacts=(), **options)
    path = tmp_path / "baseline.json"
    save_baseline(from_result(result, tmp_path), path)
    elsewhere = make_bundle("elsewhere", {"onnx": 0.5}, width=16)
    report = check([elsewhere.path], path, photos=photos, time=True)
    assert verdicts(report) == ALL_PASS


def test_options_that_contradict_each_other(baseline, photos, student):
    with pytest.raises(OptionError, match="--base"):
        check([], baseline, photos=photos, base=[student.path], facts_and_quality_only=True)
    with pytest.raises(OptionError, match="--time judges time, which --facts-and-quality-only"):
        check([], baseline, photos=photos, time=True, facts_and_quality_only=True)
    with pytest.raises(OptionError, match="tolerance"):
        check([], baseline, photos=photos, time=True, tolerance=0.0)
    with pytest.raises(OptionError, match="max-rounds"):
        check([], baseline, photos=photos, time=True, max_rounds=2)


def test_a_target_that_is_not_known_is_refused(baseline, photos):
    baseline.write_text(baseline.read_text().replace("cpu:1", "abacus"))
    with pytest.raises(OptionError, match="'abacus'"):
        check([], baseline, photos=photos, time=True)


def test_a_baseline_that_cant_be_used_is_never_a_pass(baseline, photos, fake_bench):
    text = baseline.read_text()
    for damaged, error in [
        (text[: len(text) // 2], CorruptBaselineError),
        (text.replace("nstc.baseline/1", "nstc.baseline/0"), BaselineSchemaError),
        (text.replace("nstc.baseline/1", "nstc.baseline/9"), BaselineSchemaError),
    ]:
        baseline.write_text(damaged)
        with pytest.raises(error):
            check([], baseline, photos=photos, time=True)
    baseline.unlink()
    with pytest.raises(BaselineError):
        check([], baseline, photos=photos, time=True)
    assert not fake_bench.calls  # and nothing was run


@pytest.fixture
def opened(monkeypatch):
    """The manifests that were read, in order."""
    read = []
    real = Manifest.from_json

    def counted(text, name):
        read.append(name)
        return real(text, name)

    monkeypatch.setattr(Manifest, "from_json", counted)
    return read


def test_each_bundle_is_opened_once_and_its_files_come_from_the_store(
    quick, student, teacher, make_bundle, photos, tmp_path, opened
):
    bare = make_bundle("bare", {}, teacher=teacher.origin(), width=16)
    asked = []

    def store(bundle, name, *, trust=False):
        asked.append((bundle.name, name))
        same = teacher if bundle.name == "bare" else bundle  # what an export would make
        return find_artifact(same, name, trust=trust)

    options = {"against": teacher.path, "photos": photos, "recipe": RECIPE, "store": store}
    path = tmp_path / "baseline.json"
    save_baseline(from_result(bench([student.path, bare.path], **options), tmp_path), path)
    opened.clear()
    asked.clear()
    report = check([], path, photos=photos, store=store, facts_and_quality_only=True)
    assert report.verdict is Verdict.PASS
    assert sorted(opened) == sorted(
        str(bundle.path / "manifest.json") for bundle in (student, bare, teacher)
    )
    assert {("student", "int8.onnx"), ("bare", "onnx"), ("teacher", "onnx")} == set(asked)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(latency, "PAUSE_S", 0.0)


def test_on_real_bundles(quick, student, teacher, make_bundle, photos, tmp_path):
    options = {"against": teacher.path, "photos": photos, "recipe": RECIPE}
    path = tmp_path / "baseline.json"
    save_baseline(from_result(bench([student.path], **options), tmp_path), path)
    same = check([], path, photos=photos, facts_and_quality_only=True)
    assert same.verdict is Verdict.PASS
    assert all(finding.baseline == finding.value for finding in same.findings)
    assert {"params", "macs", "bytes", "ssim", "psnr_db"} <= set(verdicts(same))
    [result] = json.loads(to_json(same))["results"]  # nothing was timed
    [row] = result["rows"]
    assert not {"latency_ms", "speedup", "precision", "throughput"} & row.keys()
    assert (result["protocol"]["rounds"], "latency_ms" in result["references"][0]) == (0, False)

    brighter = make_bundle("brighter", {"int8.onnx": 0.816}, teacher=teacher.origin())
    caught = check([brighter.path], path, photos=photos, facts_and_quality_only=True)
    assert caught.verdict is Verdict.REGRESSED
    assert verdicts(caught)["psnr_db"] == "REGRESSED"

    other_files = make_bundle("student2", {"onnx": 0.8}, teacher=teacher.origin())
    with pytest.raises(ArtifactError):
        check([other_files.path], path, photos=photos, facts_and_quality_only=True)

    timed = check([], path, photos=photos, time=True, tolerance=0.99, max_rounds=10)
    [speedup] = [finding for finding in timed.findings if finding.fact == "speedup"]
    assert speedup.value is not None
    assert math.isfinite(speedup.value)
    assert speedup.verdict is not Verdict.MISSING_BASELINE


def test_a_fast_student_of_the_zoo_is_gated_by_its_name(
    fake_bench, teacher, photos, tmp_path, make_bundle, monkeypatch
):
    paths = [
        make_bundle(f"zoo/half/{role}", {"int8.onnx": 0.8}, teacher=teacher.origin()).path
        for role in ("student", "fast")
    ]
    monkeypatch.setattr(zoo, "zoo_folder", lambda: tmp_path / "zoo")
    options = {"photos": photos, "recipe": RECIPE, "quality": True, "teacher": None}
    result = fake_bench(zoo.zoo_students(), against=teacher.path, artifacts=(), **options)
    path = tmp_path / "baseline.json"
    save_baseline(from_result(result, tmp_path), path)
    fake_bench.calls.clear()
    check(["zoo:half/fast"], path, photos=photos, time=True)
    assert [call["models"] for call in fake_bench.calls] == [[paths[1]]]
