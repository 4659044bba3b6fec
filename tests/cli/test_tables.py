import dataclasses
import re

import pytest
from rich.table import Table

from nstc.benchmarks.result import (
    BenchProtocol,
    BenchResult,
    LatencySummary,
    Quality,
    Reference,
    Row,
)
from nstc.benchmarks.timing.latency import Throughput
from nstc.benchmarks.timing.statistics import Interval
from nstc.cli.output import print_list, print_result, print_table
from nstc.core.manifest import PhotoRecord


@pytest.fixture
def fake_result() -> BenchResult:
    protocol = BenchProtocol(
        rounds=3,
        size=512,
        photos=PhotoRecord(count=12, sets=("samples",), list_sha256="0" * 64),
        seed=0,
        vgg=None,
        reference="1" * 64,
    )
    row = Row(
        model="zoo:starry-night",
        artifact="int8.onnx",
        target="cpu:2",
        size=512,
        latency_ms=LatencySummary.of((6.8, 6.9, 7.1)),
        speedup=Interval(median=80.3, low=79.9, high=81.6),
        params=57_912,
        macs=940_000_000,
        size_bytes=81_300,
        quality=None,
        throughput=Throughput(frames_per_second=143.0, graph_batch="any"),
    )
    reference = Reference(
        model="zoo:starry-night/teacher",
        artifact="onnx",
        target="cpu:2",
        latency_ms=LatencySummary.of((586.4,) * 3),
    )
    return BenchResult(machine={}, protocol=protocol, references=(reference,), rows=(row,))


def _plain(printed: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", printed)


@pytest.fixture
def into_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have set a width."""
    monkeypatch.delenv("COLUMNS", raising=False)


def test_no_column_is_lost_where_all_could_be_sentences(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = Table(*(f"column {number:02d}" for number in range(8)))
    table.add_row(*(f"012345678{number}" for number in range(8)))
    print_table(table)
    printed = capsys.readouterr().out
    assert all(f"012345678{number}" in printed for number in range(8))
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.usefixtures("into_a_log")
def test_a_log_gets_all_columns(capsys) -> None:
    table = Table(*(f"column {number:02d}" for number in range(8)))
    table.add_row(*("0123456789" for _ in range(8)))
    print_table(table)
    printed = capsys.readouterr().out
    assert "column 07" in printed
    assert printed.count("0123456789") == 8


def test_long_sentences_wrap_and_names_do_not(capsys) -> None:
    reason = "no: " + "why not " * 12
    print_list(
        ("target",), (), [("ssh://[USER@]HOST[:PORT]", reason, reason)], sentences=("a", "b")
    )
    printed = capsys.readouterr().out
    assert "ssh://[USER@]HOST[:PORT]" in printed
    assert printed.count("why") == 24
    assert "…" not in printed


@pytest.fixture
def table() -> Table:
    table = Table(title="what it is", caption="below it, " + "in words " * 20)
    table.add_column("a name that does not wrap", no_wrap=True)
    for number in range(5):
        table.add_column(f"number\n{number} per cent", justify="right", no_wrap=True)
    table.add_row(*("0.123 (0.100-0.145)" for _ in range(6)))
    return table


@pytest.mark.parametrize("columns", ["40", "80", "100"])
@pytest.mark.parametrize("terminal", [True, False])
def test_no_header_and_no_caption_is_cut(table, capsys, monkeypatch, columns, terminal) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    assert not print_table(table) or not terminal
    printed = _plain(capsys.readouterr().out)
    assert "…" not in printed
    for whole in ("a name that does not wrap", "what it is", *(f"{n} per cent" for n in range(5))):
        assert whole in printed
    assert printed.count("0.123 (0.100-0.145)") >= 6  # a name is repeated if its numbers are parted
    assert printed.count("words") == 20


def test_a_narrow_table_takes_the_place_of_one_that_does_not_fit(
    table, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert not print_table(table, lambda: "narrow")
    assert capsys.readouterr().out == "narrow\n"


def test_a_result_at_80_columns_has_every_number_in_one_of_two_tables(
    capsys, monkeypatch, fake_result
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    found = Interval(median=0.81, low=0.8, high=0.82)
    quality = Quality(
        metrics=dict.fromkeys(("style_ratio", "content_ratio", "ssim"), found),
        photos=12,
        teacher="zoo:starry-night/teacher",
        style_source="painting",
    )
    judged = dataclasses.replace(fake_result.rows[0], quality=quality)
    print_result(dataclasses.replace(fake_result, rows=(judged,)), costs=False)
    printed = _plain(capsys.readouterr().out)
    first, _, second = printed.partition("What running them costs besides latency")
    assert "SSIM" in first
    assert "params" not in first
    assert max(map(len, first.splitlines())) <= 80
    assert "57.9k 940M" in second


@pytest.mark.usefixtures("into_a_log")
def test_the_second_table_says_what_it_is(capsys, fake_result) -> None:
    print_result(fake_result, costs=True)
    printed = capsys.readouterr().out
    assert "57.9k 940M" in printed.partition("What running them costs besides latency")[0]
    assert "frames/s: pictures a second without a pause" in printed
