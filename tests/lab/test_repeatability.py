import json

import pytest
from lab import repeatability as module
from lab.repeatability import main, overlap, repeatability

from nstc.benchmarks.timing.statistics import Interval


def spread(median: float, reach: float = 0.02) -> Interval:
    return Interval(median=median, low=median - reach, high=median + reach)


def test_intervals_overlap_when_they_share_a_number():
    assert overlap(spread(1.0), spread(1.03))
    assert overlap(spread(1.03), spread(1.0))
    assert not overlap(spread(1.0), spread(1.05))
    assert not overlap(spread(1.05), spread(1.0))


def test_each_row_is_counted_over_its_own_pairs():
    slow = {5: 1.30}  # the third pair's second run
    rows = repeatability(
        lambda number: {"int8": spread(slow.get(number, 2.0)), "onnx": spread(1.0)}, 4
    )
    assert [(row.row, row.overlapping, row.pairs) for row in rows] == [
        ("int8", 3, 4),
        ("onnx", 4, 4),
    ]
    assert [row.enough for row in rows] == [True, True]  # 96 % of 4 is 3
    int8, onnx = rows
    assert int8.speedup == 2.0
    assert int8.between_runs > 10 * int8.within_run
    assert onnx.between_runs == 0.0
    assert onnx.within_run == pytest.approx(0.02 / 1.96, rel=0.01)


@pytest.mark.parametrize(("lost", "status"), [(2, 0), (3, 1)])
def test_48_of_50_pairs_must_overlap(monkeypatch, capsys, lost, status):
    apart = {2 * pair for pair in range(lost)}
    monkeypatch.setattr(
        module,
        "bench_in_a_process",
        lambda _: lambda number: {"row": spread(1.0 if number in apart else 2.0)},
    )
    assert main(["--json"]) == status
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["pairs"], row["overlapping"]) == (50, 50 - lost)
    assert row["enough"] is (status == 0)


@pytest.mark.slow
def test_real_runs_in_processes_of_their_own(make_bundle, capsys):
    bundle = make_bundle("tiny", {"onnx": 0.5})
    main([str(bundle.path), "--pairs", "1", "--size", "32", "--rounds", "3"])
    shown = capsys.readouterr().out
    assert "onnx cpu:1" in " ".join(shown.split())
    assert "of 1" in shown
