"""Which rows are judged together: those of the same pictures alone."""

import dataclasses

import pytest
from gate_reports import RECIPE

from nstc.benchmarks.gate.baseline import from_result, load_baseline, save_baseline
from nstc.benchmarks.gate.check_models import check
from nstc.benchmarks.gate.groups import holds
from nstc.benchmarks.subjects import find_subject

pytestmark = pytest.mark.usefixtures("brush")


@pytest.fixture
def on_targets(fake_bench, judged_student, tmp_path):
    """A baseline with a row on each of some targets."""

    def make(*targets):
        results = [
            judged_student(dataclasses.replace(RECIPE, targets=(target,))) for target in targets
        ]
        first, *others = (from_result(result, tmp_path) for result in results)
        for other in others:
            first = first.updated(other)
        path = tmp_path / "baseline.json"
        save_baseline(first, path)
        assert [row.target for row in load_baseline(path).rows] == list(targets)
        fake_bench.calls.clear()
        return path

    return make


def judged(fake_bench):
    return {call["recipe"].targets[0]: call["quality"] for call in fake_bench.calls}


def test_a_device_that_draws_by_itself_is_judged_by_its_own_pictures(
    on_targets, photos, fake_bench
):
    check([], on_targets("cpu:1", "brush"), photos=photos)
    assert judged(fake_bench) == {"cpu:1": True, "brush": True}


def test_cores_of_one_processor_are_judged_once(on_targets, photos, fake_bench):
    check([], on_targets("cpu:1", "mobile"), photos=photos)
    assert judged(fake_bench) == {"cpu:1": True, "mobile": False}


@pytest.mark.parametrize(
    ("artifact", "expected"),
    [("onnx", True), ("int8.onnx", True), ("64x64.tflite", True), ("ort", False)],
)
def test_a_base_has_the_files_that_are_made_of_its_weights(student, artifact, expected):
    assert holds(find_subject(student.path), artifact) is expected
