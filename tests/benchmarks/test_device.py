"""What a device pays, on pictures and processes small enough for a test."""

import json
import sys
from pathlib import Path

import pytest

from nstc.benchmarks import device
from nstc.benchmarks.device import DeviceRow
from nstc.benchmarks.device_memory import measure_within
from nstc.benchmarks.startup import StartupRow
from nstc.core.errors import MemoryLimitError


@pytest.mark.parametrize(
    ("value", "limit", "holds"),
    [(30.0, 30.0, True), (30.1, 30.0, False), (None, 30.0, False), (400.0, None, True)],
)
def test_a_row_holds_if_it_was_measured_within_its_limit(value, limit, holds) -> None:
    assert DeviceRow(fact="peak", value=value, unit="MB", limit=limit).holds is holds


def test_a_file_that_is_missing_is_a_row_without_a_value(make_bundle):
    held, empty = make_bundle("held", {"int8.onnx": 1.0}), make_bundle("empty", {})
    student, teacher = device.memory_rows(str(held.path), str(empty.path))
    assert student.holds
    assert student.value is not None
    assert 0 < student.value < 30
    assert teacher.value is None
    assert "nstc export" in teacher.note


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

    monkeypatch.setattr(device, "startup_rows", timed)
    rows = list(device.time_rows("some-bundle", tmp_path))
    assert [row.value for row in rows] == [0.5, 0.5]
    stylize, bare = asked.values()
    assert "some-bundle" in stylize.arguments
    assert stylize.limit_s == 1.0
    assert bare.limit_s == 0.15
    assert Path(stylize.arguments[3]).is_file()


@pytest.mark.parametrize(("value", "status"), [(29.0, 0), (31.0, 1)])
def test_the_exit_status_says_whether_all_hold(value, status, monkeypatch, capsys) -> None:
    rows = [DeviceRow(fact="peak", value=value, unit="MB", limit=30.0)]
    monkeypatch.setattr(device, "device_rows", lambda *_: iter(rows))
    monkeypatch.setattr(sys, "argv", ["device", "--json"])
    assert device.main() == status
    (found,) = json.loads(capsys.readouterr().out)
    assert found["holds"] is (status == 0)
    assert found["value"] == value


def test_a_process_that_refuses_says_why(make_bundle, save_picture, pixels, tmp_path) -> None:
    photo, bundle = save_picture(pixels), make_bundle("student", {"int8.onnx": 1.0})
    with pytest.raises(MemoryLimitError, match=r"photo\.png was not stylised.*--format tiles"):
        measure_within(photo, tmp_path / "out.png", bundle.path, limit_bytes=10**9)
