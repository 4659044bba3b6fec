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
