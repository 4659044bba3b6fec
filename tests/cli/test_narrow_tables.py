"""Every table in a terminal of 80 columns: no line is wider, nothing is cut."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from rich.table import Table

from nstc.benchmarks import result as results
from nstc.benchmarks.gate.keys import RowKey
from nstc.benchmarks.gate.output_formats import check_table
from nstc.benchmarks.gate.verdicts import CheckReport, ComparedWith, Finding, Verdict
from nstc.benchmarks.result import BenchProtocol, BenchResult, Reference, Row
from nstc.benchmarks.table import result_table, three_digits
from nstc.benchmarks.timing.latency import Throughput
from nstc.benchmarks.timing.machine import Roofline
from nstc.benchmarks.timing.statistics import Interval, Tail
from nstc.cli.output import print_list, print_result, print_table
from nstc.compress.pruning.analysis import Analysis, Layer
from nstc.compress.pruning.probe import Sensitivity
from nstc.core import decoding
from nstc.runtime.footprint import Footprint

ADDRESS = "ssh://measure@board-in-the-cellar:2222?threads=2&python=/opt/venv/bin/python"


@pytest.fixture
def lines(capsys, monkeypatch):
    """What was printed since, line by line; it fits a terminal of 80 columns and is whole."""

    def printed(out: str | None = None) -> list[str]:
        text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out if out is None else out)
        found = text.splitlines()
        assert found
        assert max(map(len, found)) <= 80
        assert "…" not in text
        return found

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    return printed


@pytest.fixture
def terminal(nstc, lines, monkeypatch):
    """Runs a verb on such a terminal and gives the lines it printed."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> list[str]:
        done = nstc(*arguments)
        assert done.code == 0, done.err
        return lines(done.out)

    return run


@pytest.fixture
def zoo_result() -> BenchResult:
    """An earlier student on every target of a machine, as it was measured once."""
    file = Path(__file__).with_name("results") / "one_student_everywhere.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    references = [
        {name: part for name, part in own.items() if name != "place"}
        for own in content["references"]
    ]
    return BenchResult(
        machine=content["machine"],
        protocol=decoding.decode(content["protocol"], BenchProtocol, known_keys_only=False),
        references=decoding.decode(references, tuple[Reference, ...], known_keys_only=False),
        rows=decoding.decode(
            results.rows_content(content["rows"]), tuple[Row, ...], known_keys_only=False
        ),
    )


def with_costs(result: BenchResult, **changes) -> BenchResult:
    """All that can be measured besides."""
    costs = {
        "footprint": Footprint(
            peak_bytes=84_800_000, network_bytes=1, cold_start_ms=152.3, arena_bytes=31_600_000
        ),
        "throughput": Throughput(
            frames_per_second=1343.0,
            graph_batch=1,
            batched_frames_per_second=1501.0,
            energy_mj=77.1,
        ),
        "roofline": Roofline(
            precision="int8",
            intensity=20.0,
            attainable_gmac_s=200.0,
            achieved_gmac_s=134.0,
            bound="compute",
        ),
    }
    rows = tuple(dataclasses.replace(row, **costs, **changes) for row in result.rows)
    return dataclasses.replace(result, rows=rows)


def numbers_of(row: Row) -> list[str]:
    ends = map(three_digits, (row.speedup.median, row.speedup.low, row.speedup.high))
    quality = [] if row.quality is None else [row.quality.metrics["ssim"]]
    return [
        three_digits(row.latency_ms.median),
        "{} ({}-{})".format(*ends),
        *(f"{found.median:.2f}" for found in quality),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model": "zoo:starry-night/pruned-teacher"},
        {"artifact": "int8.512x512.onnx"},
        {"artifact": "int8.512x512.onnx", "model": "zoo:starry-night/pruned-teacher"},
        {"target": ADDRESS},
        {"speedup": Interval(median=1234.0, low=1001.0, high=2345.0)},
    ],
)
def test_results_of_the_zoo(zoo_result, lines, changes) -> None:
    result = with_costs(zoo_result, **changes)
    print_result(result, costs=True)
    found = lines()
    for row in result.rows:
        assert any(all(own in line for own in numbers_of(row)) for line in found), row
        for name in (row.model, row.artifact, row.target):
            assert any(name in line.split() for line in found), name
    for heading in ("model", "artifact", "target", "(95 %)", "SSIM", "params", "GMAC/s"):
        assert any(heading in line for line in found), heading
    assert "  63.5k 1.03G" in "\n".join(found)


def test_a_result_without_costs_as_compress_and_baseline_update_print_it(zoo_result, lines) -> None:
    print_result(zoo_result, costs=False)
    assert any("40.8 (36.4-42.8)‡ 266  1.22    1.18 0.50" in line for line in lines())


def test_a_check(lines) -> None:
    noisy = (
        "19.5 % faster (95 %: 45.1 % faster to 8.2 % slower), where the reference is 22.7 % slower "
        "itself, 5.0 % is allowed: the machine is not in the state that the baseline was taken in: "
        "about --rounds 1234 would settle it once it is, or give --base"
    )
    elsewhere = (
        "no time of aarch64/neon+dotprod+i8mm/onnxruntime-1.32.0, only of "
        "x86_64/avx2+avx512_vnni+amx_int8/onnxruntime-1.31.0, "
        "x86_64/avx2+avx512_vnni/onnxruntime-1.32.0: give --base with the files before the change"
    )
    numbers = [
        ("params", Verdict.PASS, 12_345_678, 12_345_678, "the same"),
        ("macs", Verdict.REGRESSED, 41_315_000_000, 43_315_000_000, "+2,000,000,000 (+4.84 %)"),
        ("checkerboard_ratio", Verdict.INCOMPARABLE, 0.1569, 1.157, "judged by the-other-one"),
        ("speedup", Verdict.INCONCLUSIVE, 166.5, 206.7, noisy),
        ("speedup", Verdict.MISSING_BASELINE, None, 206.7, elsewhere),
    ]
    key = RowKey(
        model="zoo:starry-night/pruned-teacher",
        artifact="int8.512x512.onnx",
        target=ADDRESS,
        size=512,
    )
    found = [Finding(key, name, verdict, *rest) for name, verdict, *rest in numbers]
    report = CheckReport(
        baseline="baseline.json",
        machine_class="aarch64/neon+dotprod+i8mm/onnxruntime-1.32.0",
        times_compared_with=ComparedWith.BASELINE,
        strict=False,
        findings=tuple(found),
        notes=("not checked, since other models were named: " + "zoo:the-scream, " * 8,),
        results=(),
    )
    print_table(check_table(report))
    printed = lines()
    text = "\n".join(printed)
    for name, verdict, was, now, _ in numbers:
        figures = [f"{own:,}" if isinstance(own, int) else str(own) for own in (was, now) if own]
        assert any(all(w in line.split() for w in (name, verdict, *figures)) for line in printed)
    assert re.search(
        "12,345,678 +12,345,678 +PASS +the same", text
    )  # what is short stays in its row
    assert ADDRESS in text.split()
    for figure in ("19.5 %", "(95 %:", "22.7 %", "5.0 %", "--rounds 1234", "+4.84 %"):
        assert figure in text
    assert "aarch64/neon+dotprod+i8mm/onnxruntime-1.32.0," in text.split()


def test_an_analysis_has_its_costs_and_what_is_lost_in_two_tables(terminal, record) -> None:
    lost = Sensitivity(style=1.304, content=0.301, distance=0.5)
    layer = Layer(
        name="blocks.10.project.0",
        kind="3x3 depthwise",
        params=57_912,
        macs=110_600_000,
        activation_bytes=49_200_000,
        ms=0.00213,
        share=0.475,
        halved=lost,
        makers=("stem", "blocks.10.project.0"),
        rounded=lost,
    )
    record(
        "nstc.compress.pruning.analysis.analyze",
        Analysis(
            model="model",
            artifact="int8.onnx",
            size=512,
            threads=1,
            layers=(layer, layer),
            other_ms=12.0,
            importance="group-norm",
        ),
    )
    found = terminal("analyze", "model")
    first, second = (line.split() for line in found if line.startswith("layer  "))
    assert first == ["layer", "kernel", "params", "MACs", "memory", "ms", "time", "%"]
    assert second == ["layer", "halved", "8", "bits"]
    assert sum("+130.4 / +30.1*  +130.4 / +30.1" in line for line in found) == 2
    assert found[-1].endswith("halved together.")


@pytest.mark.parametrize(
    ("arguments", "whole"),
    [
        (["models"], ["zoo:starry-night/pruned-teacher", "int8.tiles.onnx,", "88.7"]),
        (["targets"], ["web:open-https[:N]", "ssh://[USER@]HOST[:PORT]"]),
        (["doctor"], ["processor", "onnxruntime"]),
        (["doctor", "-m", "zoo:udnie"], ["NeuralNetwork", "model.int8.tiles.onnx", "ReduceSum,"]),
        (["verify", "zoo:udnie"], ["quantization.safetensors", "picture"]),
    ],
)
def test_lists(terminal, arguments, whole) -> None:
    words = " ".join(terminal(*arguments)).split()
    for word in whole:
        assert word in words


def test_long_names_are_above_their_rows_once(lines) -> None:
    rows = [
        (name, delegate, "a reason " * 20, "1,234,567", "98.5")
        for name in ("a-model-of-a-very-long-name-indeed.int8.onnx", "b.onnx")
        for delegate in ("CoreML NeuralNetwork", "XNNPACK in ExecuTorch")
    ]
    print_list(("file", "delegate"), ("operators", "per cent"), rows, sentences=("why",))
    found = lines()
    assert found[0] == "file"
    assert found.count("a-model-of-a-very-long-name-indeed.int8.onnx") == found.count("b.onnx") == 1
    assert sum("XNNPACK in ExecuTorch 1,234,567" in line for line in found) == 2
    assert sum(line.startswith("    why: a reason") for line in found) == 4


def test_numbers_that_do_not_fit_go_on_in_another_table(lines) -> None:
    table = Table()
    table.add_column("name", no_wrap=True)
    for number in range(9):
        table.add_column(f"metric {number}", justify="right", no_wrap=True)
    table.add_row("model", *(f"{number}.123456 ± 0.12" for number in range(9)))
    print_table(table)
    text = "\n".join(lines())
    assert [text.count(f"{number}.123456 ± 0.12") for number in range(9)] == [1] * 9
    assert text.count("model") == 3


def test_what_goes_to_a_file_has_a_line_a_row(zoo_result, capsys, monkeypatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(result_table(with_costs(zoo_result, target=ADDRESS)))
    found = [line for line in capsys.readouterr().out.splitlines() if ADDRESS in line]
    assert len(found) == len(zoo_result.rows)
    assert all("zoo:starry-night" in line and "63.5k" in line for line in found)


@pytest.mark.parametrize("end", [160.2, 1234.5])
def test_what_goes_to_a_file_has_all_metrics_if_asked_for_however_wide_it_is(
    zoo_result, capsys, monkeypatch, end
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    tails = dict.fromkeys(
        ("style_ratio", "content_ratio"), Tail(p90=6.661, worst=7.777, worst_photo="sky.jpg")
    )
    rows = tuple(
        dataclasses.replace(
            row,
            target=ADDRESS,
            quality=row.quality and dataclasses.replace(row.quality, tails=tails),
            speedup=dataclasses.replace(row.speedup, high=end),
        )
        for row in zoo_result.rows
    )
    print_result(dataclasses.replace(zoo_result, rows=rows), costs=False, every=True)
    found = [line for line in capsys.readouterr().out.splitlines() if ADDRESS in line]
    assert len(found) == len(rows)
    for line, row in zip(found, rows, strict=True):
        assert "63.5k" in line
        assert (line.count("6.66"), line.count("7.78")) == ((2, 2) if row.quality else (0, 0))
