"""Files of a model that no row measures, changed under a seal that is right."""

import json

import numpy as np
import onnx
import pytest
from gate_reports import ALL_PASS, RECIPE, verdicts, verdicts_on_files
from onnx import helper, numpy_helper
from small_benches import brightness_graph

from nstc.benchmarks.gate.baseline import from_result, load_baseline, save_baseline
from nstc.benchmarks.gate.check_models import check
from nstc.benchmarks.gate.update import update_baseline
from nstc.benchmarks.gate.verdicts import Verdict
from nstc.core.bundle import open_bundle, revised_bundle
from nstc.core.errors import CorruptBaselineError

FILES = {"onnx": 0.8, "int8.onnx": 0.8, "int8.tiles.onnx": 0.8}
AS_IT_WAS = {
    ("int8.onnx", "agreement"): "PASS",
    ("int8.tiles.onnx", "agreement"): "PASS",
    ("int8.onnx", "pictures"): "PASS",
    ("int8.tiles.onnx", "pictures"): "PASS",
}


@pytest.fixture
def student(make_bundle, teacher):
    return make_bundle("student", FILES, teacher=teacher.origin())


def change(bundle, files):
    """Write other files into a bundle: brightness by name, or what writes the file; None: gone."""
    with revised_bundle(bundle, bundle.path, bundle.manifest) as draft:
        for artifact, own in files.items():
            path = draft / f"model.{artifact}"
            if own is None:
                path.unlink()
            elif callable(own):
                own(path)
            else:
                brightness_graph(path, own)


def displaced(path):
    """Brightness 0.8, a pixel further down in pictures whose height is no multiple of 4."""
    brightness_graph(path, 0.8)
    model = onnx.load(path)
    graph = model.graph
    graph.node[0].output[0] = "straight"
    for name, value in (("zero", 0), ("two", 2), ("three", 3), ("four", 4), ("end", 2**31 - 1)):
        graph.initializer.append(numpy_helper.from_array(np.array([value]), name))
    nodes = [
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Slice", ["shape", "two", "three"], ["height"]),
        helper.make_node("Mod", ["height", "four"], ["rest"]),
        helper.make_node("Sub", ["height", "rest"], ["cut"]),
        helper.make_node("Slice", ["straight", "cut", "end", "two"], ["low"]),
        helper.make_node("Slice", ["straight", "zero", "cut", "two"], ["top"]),
        helper.make_node("Concat", ["low", "top"], ["stylised"], axis=2),
    ]
    graph.node.extend(nodes)
    onnx.save(model, path)


def test_files_as_they_were_pass(baseline, photos):
    report = check([], baseline, photos=photos)
    assert verdicts_on_files(report) == AS_IT_WAS
    assert report.verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("files", "worst", "expected"),
    [
        pytest.param(
            dict.fromkeys(FILES, 0.81),
            Verdict.CHANGED,
            {("int8.onnx", "pictures"): "CHANGED", ("int8.tiles.onnx", "pictures"): "CHANGED"},
            id="a little brighter in all its files",
        ),
        pytest.param(
            {"int8.tiles.onnx": 0.4},
            Verdict.REGRESSED,
            {
                ("int8.tiles.onnx", "agreement"): "REGRESSED",
                ("int8.tiles.onnx", "pictures"): "CHANGED",
            },
            id="tiles of another style",
        ),
        pytest.param(
            dict.fromkeys(FILES, displaced),
            Verdict.CHANGED,
            {("int8.onnx", "pictures"): "CHANGED", ("int8.tiles.onnx", "pictures"): "CHANGED"},
            id="displaced at sizes that rows do not have",
        ),
        pytest.param(
            {"int8.tiles.onnx": None},
            Verdict.INCOMPARABLE,
            {("int8.tiles.onnx", "pictures"): "INCOMPARABLE"},
            id="a file that is gone",
        ),
        pytest.param(
            {"int8.32x32.onnx": 0.8},
            Verdict.MISSING_BASELINE,
            {
                ("int8.32x32.onnx", "agreement"): "PASS",
                ("int8.32x32.onnx", "pictures"): "MISSING_BASELINE",
            },
            id="a new file",
        ),
    ],
)
def test_a_file_that_changed_under_rows_that_pass(
    baseline, photos, student, files, worst, expected
):
    change(student, files)
    report = check([], baseline, photos=photos, facts_and_quality_only=True)
    found = verdicts_on_files(report)
    assert {key: found.get(key) for key in expected} == expected
    assert {own for key, own in found.items() if key not in expected} == {"PASS"}
    assert set(verdicts(report).values()) == {"PASS"}
    assert (report.verdict, report.exit_status != 0) == (worst, True)


def test_a_changed_picture_says_at_which_sizes_and_what_to_do(baseline, photos, student):
    change(student, {"int8.onnx": displaced})
    report = check([], baseline, photos=photos)
    [found] = [own for own in report.findings if own.verdict is Verdict.CHANGED]
    assert (found.baseline, found.value) == (4, 1)
    assert found.explanation == (
        "another picture at 45x59, 70x52, 131x150: weights and ranges are those of the baseline, "
        "so the file was exported anew, or this ONNX Runtime computes it otherwise. "
        "If it is meant: nstc baseline update FILE --reason TEXT"
    )
    assert report.exit_status == 70  # its tiles are not those of the file any more


def test_pictures_of_another_network_are_laid_to_it(baseline, photos, teacher, make_bundle):
    files = dict.fromkeys(FILES, 0.81)
    other = make_bundle("anew/student", files, teacher=teacher.origin(), width=24)
    report = check([other.path], baseline, photos=photos)
    changed = [own for own in report.findings if own.verdict is Verdict.CHANGED]
    assert changed
    assert all("weights, ranges or layers are not those" in own.explanation for own in changed)


def test_the_float_file_is_held_to_the_network_of_its_weights(baseline, photos):
    def network_of(_bundle):
        return lambda rgb: np.rint(rgb * 0.4).astype(np.uint8)

    found = verdicts_on_files(check([], baseline, photos=photos, network_of=network_of))
    assert found == AS_IT_WAS | {("onnx", "agreement"): "REGRESSED"}


def test_a_program_that_is_not_trusted_is_said_not_to_be_compared(baseline, photos, student):
    change(student, {"ts": 0.8})
    report = check([], baseline, photos=photos)
    assert [note for note in report.notes if "ts of" in note and "--trust" in note]


def test_a_baseline_of_an_older_nstc_does_not_judge_pictures_and_says_so(baseline, photos):
    content = json.loads(baseline.read_text())
    del content["files"]
    baseline.write_text(json.dumps(content))
    report = check([], baseline, photos=photos)
    not_judged = {key: "NOT_JUDGED" for key in AS_IT_WAS if key[1] == "pictures"}
    assert verdicts_on_files(report) == AS_IT_WAS | not_judged
    assert report.exit_status == 0
    [note] = [note for note in report.notes if "and so not judged" in note]
    assert "pictures, of ../student int8.onnx; ../student int8.tiles.onnx" in note


def test_an_update_of_another_model_leaves_what_an_older_nstc_wrote_not_judged(
    baseline, photos, teacher, make_bundle
):
    content = json.loads(baseline.read_text())
    del content["files"]
    baseline.write_text(json.dumps(content))
    more = make_bundle("more", {"int8.onnx": 0.5}, teacher=teacher.origin(), width=24)
    updated, _ = update_baseline([more.path], baseline, "one more", photos=photos)
    save_baseline(updated, baseline)
    report = check([], baseline, photos=photos, facts_and_quality_only=True)
    found = {str(own.row): own.verdict for own in report.findings if own.fact == "pictures"}
    assert found == {
        "../student int8.onnx": "NOT_JUDGED",
        "../student int8.tiles.onnx": "NOT_JUDGED",
        "../more int8.onnx": "PASS",
    }
    assert report.exit_status == 0


def test_an_update_accepts_the_pictures_of_the_models_it_measures(
    baseline, photos, student, teacher, make_bundle
):
    before = load_baseline(baseline)
    change(student, dict.fromkeys(FILES, 0.81))
    more = make_bundle("more", {"int8.onnx": 0.5}, teacher=teacher.origin(), width=24)
    added, _ = update_baseline([more.path], baseline, "one more", photos=photos)
    assert added.files[:2] == before.files
    assert [str(own.key) for own in added.files[2:]] == ["../more int8.onnx"]
    updated, _ = update_baseline([], baseline, "brighter", photos=photos)
    assert updated.files != before.files
    save_baseline(updated, baseline)
    report = check([], baseline, photos=photos, time=True)
    assert report.verdict is Verdict.PASS
    assert open_bundle(student.path).identity == student.identity
    assert verdicts(report) == ALL_PASS


@pytest.mark.parametrize("edit", [lambda own: own, lambda own: own | {"model": "../other"}])
def test_files_twice_or_of_no_model_are_damage(baseline, edit):
    content = json.loads(baseline.read_text())
    content["files"].append(edit(content["files"][0]))
    baseline.write_text(json.dumps(content))
    with pytest.raises(CorruptBaselineError, match="it has a file"):
        load_baseline(baseline)


def test_a_network_made_by_others_releases_no_files(
    fake_bench, teacher, foreign_file, photos, tmp_path
):
    options = {"against": teacher.path, "photos": photos, "artifacts": (), "teacher": None}
    result = fake_bench([teacher.path], recipe=RECIPE, quality=True, **options)
    path = tmp_path / "baseline.json"
    save_baseline(from_result(result, tmp_path), path)
    report = check([foreign_file], path, photos=photos, teacher=teacher.path)
    assert verdicts_on_files(report) == {}
