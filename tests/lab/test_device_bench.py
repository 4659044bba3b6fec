"""What a device pays, on pictures and processes small enough for a test."""

import json
import sys
from functools import partial
from pathlib import Path

import pytest
from lab import device_bench
from lab.device_bench import DeviceRow
from lab.device_memory import measure_within
from lab.device_speed import file_to_file
from lab.startup import StartupRow

from nstc.benchmarks.timing.latency import RunClock
from nstc.core.errors import MemoryLimitError
from nstc.core.images import read_picture


@pytest.mark.parametrize(
    ("value", "limit", "holds"),
    [(30.0, 30.0, True), (30.1, 30.0, False), (None, 30.0, False), (400.0, None, True)],
)
def test_a_row_holds_if_it_was_measured_within_its_limit(value, limit, holds) -> None:
    assert DeviceRow(fact="peak", value=value, unit="MB", limit=limit).holds is holds


@pytest.mark.parametrize(("value", "holds"), [(10.0, True), (9.9, False), (None, False)])
def test_or_above_the_least(value, holds) -> None:
    row = DeviceRow(fact="speed", value=value, unit="times faster", least=10.0)
    assert (row.holds, row.bounds) == (holds, "at least 10")


def test_a_file_that_is_missing_is_a_row_without_a_value(make_bundle):
    held, empty = make_bundle("held", {"int8.onnx": 1.0}), make_bundle("empty", {})
    student, teacher = device_bench.memory_rows(str(held.path), str(empty.path))
    assert student.holds
    assert student.value is not None
    assert 0 < student.value < 30
    assert teacher.value is None
    assert "Make it by exporting" in teacher.note


def test_cold_starts_are_timed_with_the_model_that_was_asked_for(monkeypatch, tmp_path) -> None:
    asked = {}

    def timed(commands):
        asked.update(commands)
        limit_s = 1.0
        return [
            StartupRow(
                command=name, seconds=0.5, iqr=0, over_bare=2, limit_s=limit_s, within_limit=True
            )
            for name in commands
        ]

    monkeypatch.setattr(device_bench, "startup_rows", timed)
    rows = list(device_bench.time_rows("some-bundle", "its-teacher", tmp_path))
    assert [row.value for row in rows] == [0.5, 0.5, 0.5]
    stylize, teachers, bare = asked.values()
    assert {"some-bundle", "int8"} <= set(stylize.arguments)
    assert {"its-teacher", "float"} <= set(teachers.arguments)
    assert stylize.limit_s == 1.0
    assert bare.limit_s == 0.15
    assert Path(stylize.arguments[3]).is_file()


@pytest.mark.slow
def test_from_file_to_file_the_student_stands_beside_its_teacher(
    make_bundle, monkeypatch, tmp_path
) -> None:
    student, teacher = make_bundle("student", {"int8.onnx": 1.0}), make_bundle("t", {"onnx": 0.5})
    measured = partial(file_to_file, rounds=3, clock=RunClock(sleep=lambda _: None))
    monkeypatch.setattr(device_bench, "file_to_file", measured)
    rows = list(device_bench.speed_rows(str(student.path), str(teacher.path), tmp_path))
    assert [(row.unit, row.least) for row in rows] == [("times faster", 10.0)] * 2
    for row, ending in zip(rows, (".jpg", ".png"), strict=True):
        assert row.value is not None
        assert row.value > 0
        assert ending[1:] in row.fact
        for name in ("reference", "candidate"):
            assert read_picture(tmp_path / f"a-{name}{ending}").rgb.shape == (512, 512, 3)
    lines = device_bench.speed_rows(str(teacher.path), str(student.path), tmp_path)
    assert [(row.holds, row.value) for row in lines] == [(False, None)] * 2


@pytest.mark.parametrize(("value", "status"), [(29.0, 0), (31.0, 1)])
def test_the_exit_status_says_whether_all_hold(value, status, monkeypatch, capsys) -> None:
    rows = [DeviceRow(fact="peak", value=value, unit="MB", limit=30.0)]
    monkeypatch.setattr(device_bench, "device_rows", lambda *_: iter(rows))
    monkeypatch.setattr(sys, "argv", ["device", "--json"])
    assert device_bench.main() == status
    (found,) = json.loads(capsys.readouterr().out)
    assert found["holds"] is (status == 0)
    assert found["value"] == value


def test_a_process_that_refuses_says_why(make_bundle, save_picture, pixels, tmp_path) -> None:
    photo, bundle = save_picture(pixels), make_bundle("student", {"int8.onnx": 1.0})
    with pytest.raises(MemoryLimitError, match=r"photo\.png was not stylised.*Make it by exp"):
        measure_within(photo, tmp_path / "out.png", bundle.path, limit_bytes=10**9)
