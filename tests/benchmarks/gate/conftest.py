"""A baseline of a small student, whose times and qualities are made up."""

import pytest
from gate_reports import RECIPE

from nstc.benchmarks.gate.baseline import from_result, save_baseline


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
def judged_student(fake_bench, student, teacher, photos):
    """Makes a result of the student beside its teacher, with quality."""

    def make(recipe=RECIPE, judged_by=None):
        return fake_bench(
            [student.path],
            against=teacher.path,
            artifacts=(),
            photos=photos,
            recipe=recipe,
            quality=True,
            teacher=judged_by,
        )

    return make


@pytest.fixture
def baseline(fake_bench, judged_student, tmp_path):
    """Of a student that is 10 times faster than its teacher."""
    path = tmp_path / "ci" / "baseline.json"
    save_baseline(from_result(judged_student(), path.parent), path)
    fake_bench.calls.clear()
    return path
