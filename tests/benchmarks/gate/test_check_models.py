"""The gate, on real bundles with made-up times and quality, and once on real ones."""

import json
import math
import shutil

import pytest

from nstc.benchmarks.bench import bench
from nstc.benchmarks.gate.baseline import from_result
from nstc.benchmarks.gate.baseline_file import load_baseline, save_baseline
from nstc.benchmarks.gate.check_models import check, update_baseline
from nstc.benchmarks.gate.measuring import Conditions
from nstc.benchmarks.gate.output_formats import to_json
from nstc.benchmarks.gate.verdicts import TimedBeside, Verdict
from nstc.benchmarks.timing import latency
from nstc.core.errors import (
    ArtifactError,
    BaselineError,
    BaselineSchemaError,
    CorruptBaselineError,
    OptionError,
)
from nstc.core.manifest import Manifest
from nstc.core.recipe import BenchRecipe
from nstc.runtime.artifact_cache import find_artifact

RECIPE = BenchRecipe(size=32, rounds=5, targets=("cpu:1",))


@pytest.fixture
def photos(photo_set):
    return photo_set(2)


@pytest.fixture
def teacher(make_bundle):
    return make_bundle("teacher", {"onnx": 0.5}, width=16)


@pytest.fixture
def student(make_bundle, teacher):
    return make_bundle("student", {"int8.onnx": 0.8}, teacher=teacher.origin())


@pytest.fixture
def baseline(fake_bench, student, teacher, photos, tmp_path):
    """Of a student that is 10 times faster than its teacher."""
    result = fake_bench(
        [student.path],
        against=teacher.path,
        artifacts=(),
        photos=photos,
        recipe=RECIPE,
        quality=True,
        teacher=None,
    )
    path = tmp_path / "ci" / "baseline.json"
    save_baseline(from_result(result, path.parent), path)
    fake_bench.calls.clear()
    return path


def verdicts(report) -> dict[str, str]:
    return {finding.fact: str(finding.verdict) for finding in report.findings}


def explained(report, fact) -> str:
    [finding] = [finding for finding in report.findings if finding.fact == fact]
    return finding.explanation


ALL_PASS = dict.fromkeys(("params", "macs", "bytes", "ssim", "style_ratio", "speedup"), "PASS")


def test_what_did_not_change_passes(baseline, photos, fake_bench, student):
    report = check([], baseline, photos=photos)
    assert verdicts(report) == ALL_PASS
    assert (report.verdict, report.exit_status) == (Verdict.PASS, 0)
    assert report.timed_beside is TimedBeside.BASELINE
    [call] = fake_bench.calls  # measured once
    assert call["models"] == [student.path]
    assert call["artifacts"] == ("int8.onnx",)
    assert (call["recipe"].rounds, call["recipe"].size, call["recipe"].targets) == (
        5,
        32,
        ("cpu:1",),
    )


def test_the_same_measurement_gives_the_same_report(baseline, photos):
    first, second = (to_json(check([], baseline, photos=photos)) for _ in range(2))
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
    report = check([], baseline, photos=photos)
    assert verdicts(report) == {**ALL_PASS, fact: verdict}
    assert report.verdict == verdict


def test_a_picture_that_changed_is_named_by_its_metric(baseline, photos, fake_bench):
    fake_bench.metrics = {"ssim": 0.79, "style_ratio": 1.2}
    assert verdicts(check([], baseline, photos=photos)) == {**ALL_PASS, "ssim": "REGRESSED"}


def test_a_better_picture_asks_for_an_update_and_fails_a_strict_check(baseline, photos, fake_bench):
    fake_bench.metrics = {"ssim": 0.82, "style_ratio": 1.2}
    lenient = check([], baseline, photos=photos)
    assert (lenient.verdict, lenient.exit_status) == (Verdict.IMPROVED, 0)
    assert check([], baseline, photos=photos, strict=True).exit_status != 0


def test_a_metric_that_the_baseline_does_not_know_is_no_pass(baseline, photos, fake_bench):
    fake_bench.metrics["metric_of_tomorrow"] = 0.5
    report = check([], baseline, photos=photos)
    assert verdicts(report)["metric_of_tomorrow"] == "MISSING_BASELINE"
    assert report.exit_status != 0


def test_a_metric_that_is_not_measured_any_more_is_no_pass(baseline, photos, fake_bench):
    del fake_bench.metrics["ssim"]
    report = check([], baseline, photos=photos)
    assert verdicts(report)["ssim"] == "INCOMPARABLE"
    assert report.exit_status != 0


@pytest.mark.parametrize(
    ("speeds", "verdict"),
    [
        (9.2, "REGRESSED"),
        (9.7, "PASS"),
        (10.8, "IMPROVED"),
        ([7.0, 10.0, 13.0], "INCONCLUSIVE"),
    ],
)
def test_time_beside_the_stored_ratio(baseline, photos, fake_bench, speeds, verdict):
    fake_bench.speeds = {"student": speeds}
    report = check([], baseline, photos=photos)
    assert verdicts(report) == {**ALL_PASS, "speedup": verdict}
    assert (report.exit_status == 0) == (verdict in ("PASS", "IMPROVED"))
    if verdict == "INCONCLUSIVE":
        assert "--rounds" in explained(report, "speedup")


def test_more_rounds_and_another_tolerance_on_demand(baseline, photos, fake_bench):
    fake_bench.speeds = {"student": 9.2}
    report = check([], baseline, photos=photos, rounds=7, tolerance=0.1)
    assert report.verdict is Verdict.PASS
    assert fake_bench.calls[0]["recipe"].rounds == 7


def test_noise_is_met_with_more_rounds_up_to_a_bound(baseline, photos, fake_bench):
    fake_bench.speeds = {"student": [9.0, 10.0, 9.0]}  # open after 5 rounds
    report = check([], baseline, photos=photos, max_rounds=200)
    assert report.verdict is Verdict.PASS
    first, *others = [(call["recipe"].rounds, call["quality"]) for call in fake_bench.calls]
    assert first == (5, True)
    assert others
    assert not any(quality for _, quality in others)  # pictures are judged once
    seeds = [call["recipe"].seed for call in fake_bench.calls]
    assert len(set(seeds)) == len(seeds)
    [result] = report.results
    taken = 5 + sum(rounds for rounds, _ in others)
    assert result.protocol.rounds == taken == len(result.rows[0].samples_ms)


def test_no_rounds_are_added_beyond_the_bound(baseline, photos, fake_bench):
    fake_bench.speeds = {"student": [7.0, 10.0, 13.0]}
    report = check([], baseline, photos=photos, max_rounds=12)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert sum(call["recipe"].rounds for call in fake_bench.calls) == 10  # 2 more are too few
    fake_bench.calls.clear()
    check([], baseline, photos=photos, max_rounds=5)
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
    report = check([], baseline, photos=photos)
    assert verdicts(report)["speedup"] == "INCONCLUSIVE"
    assert "the reference is 50.0 % slower itself" in explained(report, "speedup")
    assert "about --rounds 80 would settle it once it is" in explained(report, "speedup")
    [finding] = [found for found in report.findings if found.fact == "speedup"]
    assert finding.rounds_needed == 80  # twice as many as there may be: 8 times 5
    fake_bench.speeds = {"student": 6.0}
    assert check([], baseline, photos=photos).verdict is Verdict.REGRESSED


def test_a_machine_of_another_class_has_no_time_to_compare_with(baseline, photos, fake_bench):
    fake_bench.machine = {**fake_bench.machine, "int8": ["avx2"]}
    report = check([], baseline, photos=photos)
    assert verdicts(report) == {**ALL_PASS, "speedup": "MISSING_BASELINE"}
    assert report.exit_status != 0
    for way_out in ("--base", "nstc baseline update", "--facts-and-quality-only"):
        assert way_out in explained(report, "speedup")


def test_another_runtime_on_the_same_machine_is_incomparable(baseline, photos, fake_bench):
    fake_bench.machine = {**fake_bench.machine, "tools": {"onnxruntime": "1.40.0"}}
    report = check([], baseline, photos=photos)
    assert verdicts(report) == {**ALL_PASS, "speedup": "INCOMPARABLE"}
    assert report.exit_status != 0
    assert "onnxruntime-1.31.0" in explained(report, "speedup")


@pytest.mark.parametrize(
    ("protocol", "said"),
    [({"vgg": "another"}, "feature network"), ({"reference": "0" * 64}, "another reference")],
)
def test_another_protocol_is_incomparable_in_all_but_facts(
    baseline, photos, fake_bench, protocol, said
):
    fake_bench.protocol = protocol
    report = check([], baseline, photos=photos)
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
    report = check([], baseline, photos=photos, teacher=other.path)
    assert verdicts(report)["ssim"] == "INCOMPARABLE"
    assert verdicts(report)["speedup"] == "PASS"
    assert "judged by ../other, the baseline by ../teacher" in explained(report, "ssim")


def test_a_teacher_that_was_trained_anew_is_incomparable(baseline, photos, teacher, make_bundle):
    reference = shutil.copytree(teacher.path, teacher.path.with_name("kept"))
    shutil.rmtree(teacher.path)
    make_bundle("teacher", {"onnx": 0.5}, width=24)
    report = check([], baseline, photos=photos, against=reference)
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
    report = check([elsewhere.path], path, photos=photos)
    assert verdicts(report) == ALL_PASS


def test_beside_the_base_the_class_of_machine_does_not_matter(
    baseline, photos, fake_bench, student, tmp_path
):
    base = shutil.copytree(student.path, tmp_path / "before" / "base")
    fake_bench.machine = {**fake_bench.machine, "int8": []}
    report = check([], baseline, photos=photos, base=[base])
    assert verdicts(report) == ALL_PASS
    assert report.timed_beside is TimedBeside.BASE
    timed, judged = fake_bench.calls
    assert (timed["models"], timed["quality"]) == ([student.path, base], False)
    assert (judged["models"], judged["quality"]) == ([student.path], True)
    assert judged["recipe"].rounds == 3  # its times are not looked at


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
    assert "time was left out" in report.notes[0]
    assert fake_bench.calls[0]["recipe"].rounds == 3


def test_a_candidate_elsewhere_stands_for_the_model_of_its_name(
    baseline, photos, fake_bench, student, tmp_path
):
    candidate = shutil.copytree(student.path, tmp_path / "out" / "build-7")
    report = check([candidate], baseline, photos=photos)
    assert verdicts(report) == ALL_PASS
    assert {finding.row.model for finding in report.findings} == {"../student"}
    assert fake_bench.calls[0]["models"] == [candidate]


@pytest.fixture
def two_models(fake_bench, baseline, student, teacher, photos):
    """The baseline with a second model."""
    updated, _ = update_baseline(
        [student.path, teacher.path], baseline, "two", conditions=Conditions(photos=photos)
    )
    save_baseline(updated, baseline)
    fake_bench.calls.clear()
    return baseline


def test_models_with_other_files_are_measured_apart(two_models, photos, fake_bench):
    report = check([], two_models, photos=photos)
    assert report.verdict is Verdict.PASS
    assert len(report.findings) == 12
    assert [call["artifacts"] for call in fake_bench.calls] == [("int8.onnx",), ("onnx",)]


def test_a_model_that_the_baseline_does_not_have_is_no_pass(two_models, photos, make_bundle):
    stranger = make_bundle("stranger", {"onnx": 0.5, "int8.onnx": 0.5}, width=24)
    report = check([stranger.path], two_models, photos=photos)
    assert [(f.row.artifact, f.verdict) for f in report.findings] == [
        ("int8.onnx", Verdict.MISSING_BASELINE),
        ("onnx", Verdict.MISSING_BASELINE),
    ]
    assert report.exit_status != 0


def test_models_that_were_not_named_are_said_to_be_left_out(two_models, photos, student):
    report = check([student.path], two_models, photos=photos)
    assert report.notes == ("not checked, since other models were named: ../teacher",)


def test_two_models_for_one_are_refused(two_models, photos, student, tmp_path):
    copy = shutil.copytree(student.path, tmp_path / "copy")
    with pytest.raises(OptionError, match="both stand for"):
        check([student.path, copy], two_models, photos=photos)


def test_a_base_for_nobody_is_refused(two_models, photos, make_bundle):
    stranger = make_bundle("stranger", {"onnx": 0.5}, width=24)
    with pytest.raises(OptionError, match="none of the baseline's models"):
        check([], two_models, photos=photos, base=[stranger.path])


def test_options_that_contradict_each_other(baseline, photos, student):
    with pytest.raises(OptionError, match="--base"):
        check([], baseline, photos=photos, base=[student.path], facts_and_quality_only=True)
    with pytest.raises(OptionError, match="tolerance"):
        check([], baseline, photos=photos, tolerance=0.0)
    with pytest.raises(OptionError, match="max-rounds"):
        check([], baseline, photos=photos, max_rounds=2)


@pytest.mark.parametrize("target", ["cpu:4", "torchscript:4"])
def test_fewer_cores_than_the_baseline_leave_only_time_open(baseline, photos, monkeypatch, target):
    content = json.loads(baseline.read_text())
    for row in content["rows"] + content["times"]:
        row["target"] = target
    baseline.write_text(json.dumps(content))
    for module in ("measuring", "targets.here"):
        monkeypatch.setattr(f"nstc.benchmarks.{module}.usable_cores", lambda: (0, 1))
    report = check([], baseline, photos=photos)
    assert verdicts(report) == {**ALL_PASS, "speedup": "INCOMPARABLE"}
    assert f"too few cores for {target}" in explained(report, "speedup")
    with pytest.raises(OptionError, match="memory-cap needs a target that reports memory"):
        check([], baseline, photos=photos, memory_cap_mb=100)


def test_a_target_that_is_not_known_is_refused(baseline, photos):
    baseline.write_text(baseline.read_text().replace("cpu:1", "abacus"))
    with pytest.raises(OptionError, match="'abacus'"):
        check([], baseline, photos=photos)


def test_a_baseline_that_cant_be_used_is_never_a_pass(baseline, photos, fake_bench):
    text = baseline.read_text()
    for damaged, error in [
        (text[: len(text) // 2], CorruptBaselineError),
        (text.replace("nstc.baseline/1", "nstc.baseline/0"), BaselineSchemaError),
        (text.replace("nstc.baseline/1", "nstc.baseline/9"), BaselineSchemaError),
    ]:
        baseline.write_text(damaged)
        with pytest.raises(error):
            check([], baseline, photos=photos)
    baseline.unlink()
    with pytest.raises(BaselineError):
        check([], baseline, photos=photos)
    assert not fake_bench.calls  # and nothing was run


def test_an_update_is_what_passes_from_then_on(baseline, photos, fake_bench):
    fake_bench.changes = {"params": 1200}
    fake_bench.speeds = {"student": 8.0}
    assert check([], baseline, photos=photos).verdict is Verdict.REGRESSED
    updated, result = update_baseline(
        [], baseline, "wider, for fewer stripes", conditions=Conditions(photos=photos)
    )
    assert load_baseline(baseline).rows[0].facts["params"] == 1000  # not written yet
    save_baseline(updated, baseline)
    assert len(result.rows) == 1
    assert check([], baseline, photos=photos).verdict is Verdict.PASS
    assert load_baseline(baseline).log[-1].reason == "wider, for fewer stripes"


def test_an_update_wants_a_reason_before_it_measures(baseline, photos, fake_bench):
    with pytest.raises(OptionError, match="--reason"):
        update_baseline([], baseline, " ", conditions=Conditions(photos=photos))
    assert not fake_bench.calls


def test_an_update_is_of_the_models_at_their_own_places(baseline, photos, student, tmp_path):
    copy = shutil.copytree(student.path, tmp_path / "copy")
    with pytest.raises(OptionError, match="lies elsewhere"):
        update_baseline([copy], baseline, "moved", conditions=Conditions(photos=photos))


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

    brighter = make_bundle("brighter", {"int8.onnx": 0.816}, teacher=teacher.origin())
    caught = check([brighter.path], path, photos=photos, facts_and_quality_only=True)
    assert caught.verdict is Verdict.REGRESSED
    assert verdicts(caught)["psnr_db"] == "REGRESSED"

    other_files = make_bundle("student2", {"onnx": 0.8}, teacher=teacher.origin())
    with pytest.raises(ArtifactError):
        check([other_files.path], path, photos=photos, facts_and_quality_only=True)

    timed = check([], path, photos=photos, tolerance=0.99, max_rounds=10)
    [speedup] = [finding for finding in timed.findings if finding.fact == "speedup"]
    assert speedup.value is not None
    assert math.isfinite(speedup.value)
    assert speedup.verdict is not Verdict.MISSING_BASELINE
