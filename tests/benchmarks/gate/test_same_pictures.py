"""Quality that is the baseline's by definition: real bundles, pictures and judging."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from gate_reports import RECIPE, verdicts

from nstc.benchmarks import bench as benchmark
from nstc.benchmarks.bench import bench
from nstc.benchmarks.gate.baseline import from_result, load_baseline, save_baseline
from nstc.benchmarks.gate.check_models import check
from nstc.benchmarks.gate.output_formats import to_dict
from nstc.benchmarks.gate.update import add_hashes, update_baseline
from nstc.benchmarks.gate.verdicts import SAME_PICTURES, Verdict
from nstc.benchmarks.quality import judged_pictures, metrics
from nstc.benchmarks.quality.metrics import METRICS
from nstc.benchmarks.subjects import find_subject
from nstc.benchmarks.timing import latency
from nstc.core.bundle import STYLE_FILE
from nstc.core.errors import CorruptBundleError, OptionError
from nstc.models.vgg import load_vgg
from nstc.runtime.onnx_session import OnnxSession


@pytest.fixture(autouse=True)
def _own_metrics_alone(monkeypatch):
    monkeypatch.setattr(latency, "PAUSE_S", 0.0)
    monkeypatch.setattr(latency, "STRETCH_S", 0.0)
    monkeypatch.setattr(metrics, "LEARNED", ())


@pytest.fixture
def judging(monkeypatch):
    """How often VGG was loaded."""
    loaded = []

    def counted(source):
        loaded.append(source)
        return load_vgg(source)

    monkeypatch.setattr(benchmark, "load_vgg", counted)
    return loaded


@pytest.fixture
def real(student, teacher, photos, tmp_path):
    """A baseline that was measured."""
    result = bench([student.path], against=teacher.path, photos=photos, recipe=RECIPE)
    path = tmp_path / "ci" / "baseline.json"
    save_baseline(from_result(result, path.parent), path)
    return path


def edited(path, edit):
    """The baseline with its only row's quality changed in place."""
    content = json.loads(path.read_text())
    [row] = content["rows"]
    edit(row["quality"])
    path.write_text(json.dumps(content))
    return path


def test_pictures_that_are_the_baselines_are_not_judged_again_and_that_is_said(
    real, photos, judging
):
    report = check([], real, photos=photos)
    assert not judging
    assert report.verdict is Verdict.PASS
    said = {own.fact: own for own in report.findings if own.explanation == SAME_PICTURES}
    [row] = load_baseline(real).rows
    assert {name: own.value for name, own in said.items()} == row.quality.numbers
    assert {metric.name for metric in METRICS} <= said.keys()
    assert all(own.baseline == own.value for own in said.values())
    [note] = [note for note in report.notes if "pictures" in note]
    assert note.startswith("quality of 1 of 1 rows is the baseline's")
    content = to_dict(report)
    assert note in content["notes"]
    [found] = [own for own in content["findings"] if own["fact"] == "style_ratio"]
    assert (found["verdict"], found["explanation"]) == ("PASS", SAME_PICTURES)
    [measured] = content["results"][0]["rows"]
    assert measured["quality"] is None  # as this run did not measure it


def test_they_are_on_request(real, photos, judging):
    report = check([], real, photos=photos, measure_quality=True)
    assert judging
    assert report.verdict is Verdict.PASS
    assert SAME_PICTURES not in {own.explanation for own in report.findings}


def test_times_are_judged_all_the_same(real, photos, judging):
    report = check([], real, photos=photos, time=True, tolerance=0.99, max_rounds=5)
    [speedup] = [own for own in report.findings if own.fact == "speedup"]
    assert speedup.verdict not in {Verdict.MISSING_BASELINE, Verdict.INCOMPARABLE}
    assert not judging


@pytest.mark.parametrize("brightness", [0.816, 0.80001])
def test_other_pictures_are_judged(real, photos, judging, make_bundle, teacher, brightness):
    other = make_bundle("other", {"int8.onnx": brightness}, teacher=teacher.origin())
    report = check([other.path], real, photos=photos)
    assert bool(judging) == (brightness == 0.816)  # the other rounds to the same bytes
    assert (report.verdict is Verdict.PASS) == (not judging)


def drawing(monkeypatch, change):
    """From now on sessions draw otherwise, whatever their files."""
    run = OnnxSession.run
    monkeypatch.setattr(OnnxSession, "run", lambda own, rgb: change(rgb, run(own, rgb)))


def test_a_runtime_that_draws_otherwise_is_found(real, photos, judging, monkeypatch):
    drawing(monkeypatch, lambda _rgb, drawn: drawn // 2)
    report = check([], real, photos=photos)
    assert judging
    assert verdicts(report)["style_ratio"] != "PASS"


def test_so_is_one_that_draws_a_changed_copy_otherwise(real, photos, judging, monkeypatch):
    clean = [photo.tobytes() for photo in photos.squares(32)]
    drawing(
        monkeypatch, lambda rgb, drawn: drawn if rgb.tobytes() in clean else np.roll(drawn, 9, 1)
    )
    report = check([], real, photos=photos)
    assert judging
    assert verdicts(report)["flicker_ratio"] == "REGRESSED"


@pytest.mark.parametrize(
    "edit",
    [
        lambda quality: quality["metrics"].update(style_ratio=9.0),
        lambda quality: quality["metrics"].pop("ssim"),
        lambda quality: quality["tails"]["style_ratio"].update(worst=9.0),
        lambda quality: quality["tails"].clear(),
    ],
)
def test_numbers_that_someone_changed_are_measured(real, photos, judging, edit):
    report = check([], edited(real, edit), photos=photos)
    assert judging
    assert report.verdict is not Verdict.PASS


def test_a_baseline_of_an_older_nstc_is_measured(real, photos, judging):
    report = check([], edited(real, lambda quality: quality.pop("pictures")), photos=photos)
    assert judging
    assert report.verdict is Verdict.PASS


def test_another_way_of_judging_is_measured(real, photos, judging, monkeypatch):
    monkeypatch.setattr(judged_pictures, "JUDGING", "nstc.judging/0")
    check([], real, photos=photos)
    assert judging


def test_metrics_of_another_package_are_measured(real, photos, judging, monkeypatch):
    more = dataclasses.replace(METRICS[3], name="another")
    monkeypatch.setattr(metrics, "LEARNED", (more,))
    report = check([], real, photos=photos)
    assert judging
    assert verdicts(report)["another"] == "NOT_JUDGED"


def test_another_teacher_or_style_is_another_judge(student, teacher, make_bundle):
    def judge(model, by, vgg="eye"):
        return judged_pictures.judge_of(find_subject(model.path), find_subject(by.path), vgg)

    known = judge(student, teacher)
    assert known == judge(student, teacher)
    brighter = make_bundle("brighter", {"onnx": 0.6}, width=16)
    wider = make_bundle("wider", {"onnx": 0.5}, width=24)
    unpainted = make_bundle("unpainted", {"onnx": 0.5}, width=16, style_source=None)
    others = {judge(student, own) for own in (brighter, wider)}
    assert len({known, judge(student, teacher, "another eye"), *others}) == 4
    # without a style of the teacher's it is the model's own
    bare = make_bundle("bare", {"int8.onnx": 0.8}, style_source=None)
    assert judge(student, unpainted) != judge(bare, unpainted)
    (teacher.path / STYLE_FILE).write_bytes(b"other")
    with pytest.raises(CorruptBundleError, match="damaged"):
        judge(student, teacher)


def test_a_teacher_that_others_made_is_always_asked(student, foreign_file):
    judge = judged_pictures.judge_of(find_subject(student.path), find_subject(foreign_file), "eye")
    assert judge is None


def test_an_update_measures_and_keeps_hashes(real, photos, judging):
    path = edited(real, lambda quality: quality.pop("pictures"))
    updated, _ = update_baseline([], path, "again", photos=photos)
    assert judging
    save_baseline(updated, path)
    judging.clear()
    assert check([], path, photos=photos).verdict is Verdict.PASS
    assert not judging


def stale(path):
    """Without a hash, and with a number that is another one within tolerance."""

    def edit(quality):
        del quality["pictures"]
        quality["metrics"]["style_ratio"] *= 1.001

    return edited(path, edit)


def test_hashes_are_added_to_numbers_that_stay(real, photos, judging):
    before = load_baseline(stale(real))
    after, _, without = add_hashes([], real, "hashes of pictures", photos=photos, date="2026-02-03")
    assert without == []
    [old], [new] = before.rows, after.rows
    assert old.quality.pictures is None
    assert new.quality.pictures is not None
    assert dataclasses.replace(new.quality, pictures=None) == old.quality
    assert dataclasses.replace(new, quality=old.quality) == old
    assert (after.times, after.models, after.files) == (before.times, before.models, before.files)
    assert [own.reason for own in after.log] == ["created", "hashes of pictures"]
    save_baseline(after, real)
    judging.clear()
    assert check([], real, photos=photos).verdict is Verdict.PASS
    assert not judging


@pytest.fixture
def of_others(student, foreign_file, photos, tmp_path):
    """A baseline by a teacher that others made, whose int8 file has no check pictures yet."""
    result = bench(
        [student.path], against=foreign_file, teacher=foreign_file, photos=photos, recipe=RECIPE
    )
    path = tmp_path / "ci" / "baseline.json"
    save_baseline(dataclasses.replace(from_result(result, path.parent), files=()), path)
    return path


def test_where_no_row_can_have_a_hash_none_is_added(of_others, photos):
    with_files, _, without = add_hashes([], of_others, "why", photos=photos)
    assert [own.artifact for own in without] == ["int8.onnx"]
    save_baseline(with_files, of_others)
    with pytest.raises(OptionError, match=r"nothing to add to .*json: a row has a hash where"):
        add_hashes([], of_others, "why", photos=photos)


def test_no_hash_is_added_to_numbers_that_do_not_hold(real, photos, make_bundle, teacher):
    path = edited(real, lambda quality: quality["metrics"].update(style_ratio=9.0))
    with pytest.raises(OptionError, match=r"style_ratio of .* is IMPROVED .* without that"):
        add_hashes([], path, "in vain", photos=photos)
    with pytest.raises(OptionError, match="--reason is empty"):
        add_hashes([], path, " ", photos=photos)
    moved = shutil.copytree(path.parents[1] / "student", path.parents[1] / "moved")
    with pytest.raises(OptionError, match=r"has the name of the baseline's .* and another path"):
        add_hashes([moved], path, "in vain", photos=photos)
    wider = make_bundle("wider", {"int8.onnx": 0.8}, width=24, teacher=teacher.origin())
    with pytest.raises(OptionError, match="wider is none of the baseline's models"):
        add_hashes([wider.path], path, "in vain", photos=photos)
    content = json.loads(path.read_text())
    content["models"][0]["sha256"] = "0" * 64
    path.write_text(json.dumps(content))
    with pytest.raises(OptionError, match="student is not as the baseline has it, and --hashes"):
        add_hashes([], path, "in vain", photos=photos)
