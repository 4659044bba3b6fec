"""The trend over commits."""

import pytest

from nstc.benchmarks.report.page import write_report
from nstc.benchmarks.report.plots import trend_plot
from nstc.benchmarks.report.stored_results import read_history, trend_lines, trends
from nstc.core.errors import OptionError


@pytest.fixture
def keep(tmp_path, make_result, make_row, write_result):
    """Writes a result of a commit into the history."""
    (tmp_path / "history").mkdir()

    def write(commit, day, faster, **changes):
        taken = {"date": f"{day}T12:00:00+00:00", "commit": commit * 40, "modified": False}
        taken |= {"commit_date": f"{day}T10:00:00+02:00"} | changes.pop("taken", {})
        row = make_row(faster, **changes.pop("row", {}))
        content = make_result(row, taken=taken, **changes)
        write_result(content, f"history/{commit}.json")
        return tmp_path / "history"

    return write


def values(trend):
    return [(moment.run, moment.value.median, moment.joined) for moment in trend.moments]


def of(found, name):
    [trend] = [trend for trend in found if trend.measure.name.startswith(name)]
    return trend


def test_the_oldest_commit_comes_first_whatever_the_files_are_called(keep):
    keep("c", "2026-01-01", 10.0)
    keep("a", "2026-01-03", 30.0, taken={"modified": True})
    folder = keep("b", "2026-01-02", 20.0)
    runs = read_history(folder)
    assert [run.label for run in runs] == ["c" * 8, "b" * 8, "a" * 8 + "+"]
    assert values(of(trends(runs), "times faster")) == [
        (0, 10.0, False),
        (1, 20.0, True),
        (2, 30.0, True),
    ]
    lines = trend_lines(of(trends(runs), "times faster"), runs)
    assert lines[1] == ("b" * 8, "2026-01-02", "20.0", "+100.0 %")


def test_dates_of_different_time_zones_are_put_in_order(keep):
    keep("b", "2026-01-01", 20.0, taken={"commit_date": "2026-01-01T23:00:00+00:00"})
    folder = keep("a", "2026-01-02", 10.0, taken={"commit_date": "2026-01-02T00:30:00+05:00"})
    assert [run.label[0] for run in read_history(folder)] == ["a", "b"]


def test_what_was_measured_in_another_way_is_not_joined_but_bytes_are(keep):
    keep("a", "2026-01-01", 10.0)
    folder = keep("b", "2026-01-02", 20.0, machine={"cpu": "Sundial"}, row={"bytes": 28_000})
    runs = read_history(folder)
    found = trends(runs)
    assert values(of(found, "times faster")) == [(0, 10.0, False), (1, 20.0, False)]
    assert values(of(found, "file")) == [(0, 56_000, False), (1, 28_000, True)]
    assert trend_lines(of(found, "times faster"), runs)[1][3] == "measured in another way"
    assert trend_lines(of(found, "file"), runs)[1][3] == "-50.0 %"


def test_times_that_were_taken_in_another_way_are_not_joined_but_quality_is(keep):
    new = {"id": "a1", "times_id": "0123456789ab"}
    keep("a", "2026-01-01", 10.0, protocol={"id": "a1"})
    keep("b", "2026-01-02", 20.0, protocol=new)
    folder = keep("c", "2026-01-03", 30.0, protocol=new)
    found = trends(read_history(folder))
    assert [joined for *_, joined in values(of(found, "times faster"))] == [False, False, True]
    assert [joined for *_, joined in values(of(found, "style_ratio"))] == [False, True, True]


def test_a_row_that_is_new_begins_where_it_is_new(keep, make_row):
    keep("a", "2026-01-01", 10.0)
    folder = keep("b", "2026-01-02", 20.0, row={"model": "zoo:dawn", "quality": None})
    found = trends(read_history(folder))
    assert {(trend.row, trend.measure.name) for trend in found if values(trend)[0][0] == 1} == {
        ("zoo:dawn int8.onnx 64 px", "times faster than the reference"),
        ("zoo:dawn int8.onnx 64 px", "file"),
    }


def test_older_results_without_a_date_stand_before_all_others(keep, write_result, make_result):
    folder = keep("a", "2026-01-01", 10.0)
    write_result(make_result(), "history/old.json")
    assert [run.label for run in read_history(folder)] == ["old", "a" * 8]


def test_the_page_is_about_the_newest_and_draws_the_trend(keep, page_of, tmp_path):
    keep("a", "2026-01-01", 10.0)
    folder = keep("b", "2026-01-02", 20.0)
    output = tmp_path / "page.html"
    write_report([], output, history=folder, photos=None, layers=False)
    text = output.read_text(encoding="utf-8")
    page = page_of(text)
    assert "b" * 40 in page.sections["protocol"]
    assert "a" * 40 not in page.sections["protocol"]
    assert "a" * 8 in page.sections["history"]
    assert "+100.0 %" in page.sections["history"]
    for name in ("wide", "narrow"):
        assert f'id="trend-light-{name}' in text


def test_without_a_history_there_is_no_trend(write_result, make_result, page_of, tmp_path):
    output = tmp_path / "page.html"
    write_report([write_result(make_result())], output, photos=None, layers=False)
    assert "history" not in page_of(output.read_text(encoding="utf-8")).sections


def test_many_commits_and_hostile_names_can_be_drawn(keep, make_row):
    for number in range(40):
        folder = keep("abcdef0123456789"[number % 16], f"2026-01-{number % 28 + 1:02d}", 1.0)
    hostile = {"model": "</svg><script>$x^$_", "quality": None}
    folder = keep("f", "2026-03-01", 3.0, row=hostile)
    runs = read_history(folder)
    plot = trend_plot(runs, trends(runs))
    assert plot is not None
    assert all("<script" not in svg for _, _, svg in plot)


def test_bad_histories_are_named(tmp_path, write_result):
    with pytest.raises(OptionError, match="no folder"):
        read_history(tmp_path / "nowhere")
    (tmp_path / "history").mkdir()
    with pytest.raises(OptionError, match="no JSON files"):
        read_history(tmp_path / "history")
    write_result("{}", "history/x.json")
    with pytest.raises(OptionError, match=r"x\.json"):
        read_history(tmp_path / "history")


def test_a_result_of_the_history_is_never_overwritten(keep, tmp_path):
    folder = keep("a", "2026-01-01", 10.0)
    with pytest.raises(OptionError, match="name of its own"):
        write_report([], folder / "a.json", history=folder, photos=None, layers=False)
