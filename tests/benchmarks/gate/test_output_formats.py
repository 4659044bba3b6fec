import dataclasses
import io
import json
import math
import xml.etree.ElementTree as ET

import pytest
from rich.console import Console

from nstc.benchmarks.gate import output_formats
from nstc.benchmarks.gate.keys import FileKey, RowKey
from nstc.benchmarks.gate.verdicts import CheckReport, ComparedWith, Finding, Verdict
from nstc.core import files
from nstc.core.errors import OutputError

INT8 = RowKey(model="zoo:starry-night", artifact="int8.onnx", target="cpu:2", size=512)
FLOAT = dataclasses.replace(INT8, artifact="onnx")


def finding(fact, verdict, *, row=INT8, baseline=None, value=None, explanation="why"):
    return Finding(
        row=row,
        fact=fact,
        verdict=Verdict(verdict),
        baseline=baseline,
        value=value,
        explanation=explanation,
    )


def report(*findings, strict=False, notes=()) -> CheckReport:
    return CheckReport(
        baseline="ci/baseline.json",
        machine_class="x86_64/avx2/onnxruntime-1.31.0",
        times_compared_with=ComparedWith.BASELINE,
        strict=strict,
        findings=findings,
        notes=tuple(notes),
        results=(),
    )


BYTES = finding("bytes", "REGRESSED", baseline=81_300, value=89_430, explanation="+8,130")
SSIM = finding("ssim", "PASS", baseline=0.81234567, value=0.8125)
SPEED = finding("speedup", "MISSING_BASELINE", row=FLOAT, value=26.04, explanation="no time")
MIXED = report(BYTES, SSIM, SPEED, notes=["not checked: zoo:udnie"])


def shown(given: CheckReport, *, every: bool = False) -> str:
    sink = io.StringIO()
    table = output_formats.check_table(given, every=every)
    Console(file=sink, width=100, color_system=None).print(table)
    return sink.getvalue()


def test_the_table_has_every_finding_and_the_count():
    output = shown(MIXED)
    assert "81,300" in output
    assert "89,430" in output
    assert "0.8123" in output
    assert "REGRESSED: 1 REGRESSED, 1 MISSING_BASELINE, 1 PASS" in output
    assert "not checked: zoo:udnie" in output
    assert all(len(line) <= 100 for line in output.splitlines())


def test_metrics_that_bench_does_not_show_are_in_the_table_where_they_do_not_pass():
    drift, tail = (finding(own, "PASS", value=0.0625) for own in ("color_drift", "ssim_worst"))
    output = shown(report(BYTES, drift, SSIM, tail))
    assert all(name in output for name in ("bytes", "ssim ", "ssim_worst"))
    assert "color_drift" not in output
    assert "1 more PASS: --all-metrics lists them" in output
    worse = shown(report(SSIM, dataclasses.replace(drift, verdict=Verdict.REGRESSED)))
    assert "color_drift" in worse
    assert "--all-metrics" not in worse
    every = shown(report(drift), every=True)
    assert "color_drift" in every
    assert "--all-metrics" not in every
    assert "| color\\_drift |" in output_formats.markdown(report(drift))


def test_names_are_no_markup():
    odd = dataclasses.replace(INT8, model="../[bold]net[/bold]")
    assert "[bold]net[/bold]" in "".join(shown(report(finding("bytes", "PASS", row=odd))).split())


def test_nothing_compared_is_said():
    assert output_formats.summary_line(report()) == "MISSING_BASELINE: nothing was compared"


def test_markdown_puts_what_did_not_pass_on_top():
    text = output_formats.markdown(MIXED)
    top, _, folded = text.partition("<details>")
    assert top.startswith("### nstc check: REGRESSED: 1 REGRESSED, 1 MISSING\\_BASELINE, 1 PASS\n")
    assert "| zoo:starry-night int8.onnx cpu:2 512px | bytes | 81,300 | 89,430 |" in top
    assert "| ssim |" not in top
    assert "| ssim |" in folded
    assert "- not checked: zoo:udnie" in top


def test_markdown_says_why_below_the_table_and_only_of_what_did_not_pass():
    pictures = finding(
        "pictures", "CHANGED", row=FileKey(model="a_b", artifact="int8.onnx"), explanation="anew"
    )
    top, _, folded = output_formats.markdown(report(pictures, SSIM)).partition("<details>")
    assert "| model | what | baseline | now | verdict |\n" in top
    assert "\n\n- **CHANGED** a\\_b int8.onnx, pictures: anew\n" in top
    assert "**PASS** |" in folded
    assert "- **PASS**" not in folded


def test_markdown_has_one_table_when_all_passed():
    assert "|---|" not in output_formats.markdown(report(SSIM)).partition("<details>")[0]


def test_names_cant_break_the_markdown():
    odd = dataclasses.replace(INT8, model="a|b`c`<img src=x>\n# d")
    text = output_formats.markdown(report(finding("bytes", "REGRESSED", row=odd)))
    [line] = [line for line in text.splitlines() if "img" in line][:1]
    assert line.replace("\\|", "").count("|") == 6
    assert "<img" not in text.replace("\\<", "")


def test_junit_has_a_suite_a_row_and_a_case_a_number():
    suites = ET.fromstring(output_formats.junit(MIXED))  # noqa: S314  (made above)
    int8, other = suites.findall("testsuite")
    assert int8.attrib == {
        "name": "zoo:starry-night int8.onnx cpu:2 512px",
        "tests": "2",
        "failures": "1",
        "errors": "0",
        "skipped": "0",
    }
    assert (other.get("failures"), other.get("errors")) == ("0", "1")
    failure = int8.find("testcase[@name='bytes']/failure")
    assert failure is not None
    assert failure.get("message") == "REGRESSED: +8,130"
    assert failure.text == "baseline 81,300, now 89,430"
    assert list(int8.findall("testcase")[1]) == []


def test_improved_fails_only_a_strict_junit():
    better = finding("bytes", "IMPROVED", baseline=2, value=1)
    assert "failure " not in output_formats.junit(report(better))
    assert "<failure" in output_formats.junit(report(better, strict=True))


def test_what_was_not_judged_is_skipped_in_junit_and_an_error_if_strict():
    newer = finding("style_ratio_worst", "NOT_JUDGED", value=1.5, explanation="too old")
    [suite] = ET.fromstring(output_formats.junit(report(SSIM, newer)))  # noqa: S314
    assert (suite.get("skipped"), suite.get("errors")) == ("1", "0")
    skipped = suite.find("testcase[@name='style_ratio_worst']/skipped")
    assert skipped is not None
    assert skipped.get("message") == "NOT_JUDGED: too old"
    [suite] = ET.fromstring(output_formats.junit(report(newer, strict=True)))  # noqa: S314
    assert (suite.get("skipped"), suite.get("errors")) == ("0", "1")


def test_markdown_has_what_was_not_judged_on_top_only_where_it_fails():
    newer = finding("style_ratio_worst", "NOT_JUDGED", value=1.5)
    assert "|---|" not in output_formats.markdown(report(newer)).partition("<details>")[0]
    strict = output_formats.markdown(report(newer, strict=True)).partition("<details>")[0]
    assert "| style\\_ratio\\_worst |" in strict


def test_names_cant_break_the_xml():
    odd = dataclasses.replace(INT8, model='a<b>&"\x00\x1b')
    [suite] = ET.fromstring(  # noqa: S314
        output_formats.junit(report(finding("bytes", "PASS", row=odd)))
    )
    assert suite.attrib["name"].startswith('a<b>&"��')


def test_json_holds_everything():
    content = json.loads(output_formats.to_json(MIXED))
    assert content["schema"] == "nstc.check/1"
    assert (content["verdict"], content["exit_status"]) == ("REGRESSED", 70)
    assert content["timed_beside"] == "baseline"
    assert content["findings"][0] == {
        "model": "zoo:starry-night",
        "artifact": "int8.onnx",
        "target": "cpu:2",
        "size": 512,
        "fact": "bytes",
        "verdict": "REGRESSED",
        "baseline": 81_300,
        "value": 89_430,
        "explanation": "+8,130",
        "rounds_needed": None,
    }


def test_findings_on_rows_and_on_files_have_the_same_keys_in_json():
    tiles = FileKey(model="zoo:starry-night", artifact="int8.tiles.onnx")
    both = report(finding("bytes", "PASS"), finding("agreement", "PASS", row=tiles))
    of_row, of_file = json.loads(output_formats.to_json(both))["findings"]
    assert of_row.keys() == of_file.keys()
    assert (of_file["artifact"], of_file["target"]) == ("int8.tiles.onnx", None)


def test_infinity_is_text_in_json():
    psnr = finding("psnr_db", "PASS", baseline=math.inf, value=60.0)
    [found] = json.loads(output_formats.to_json(report(psnr)))["findings"]
    assert (found["baseline"], found["value"]) == ("inf", 60.0)


def test_files_are_written_whole_or_not_at_all(tmp_path):
    files.write_text(tmp_path / "new" / "file.md", "text\n")
    assert (tmp_path / "new" / "file.md").read_text() == "text\n"
    with pytest.raises(OutputError):
        files.write_text(tmp_path / "new" / "file.md" / "under", "text")
