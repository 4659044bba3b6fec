"""A check's findings for a terminal, a pull request, a test reporter and a program."""

import dataclasses
import json
import math
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from nstc.benchmarks.gate.keys import RowKey
from nstc.benchmarks.gate.verdicts import SEVERITY, CheckReport, Finding, Verdict, exit_status
from nstc.benchmarks.quality.metrics import KNOWN
from nstc.benchmarks.table import as_markdown
from nstc.core import terminal

SCHEMA: Final = "nstc.check/1"
_ROW_KEYS: Final = [field.name for field in dataclasses.fields(RowKey)]

_STYLES: Final = {
    Verdict.PASS: "green",
    Verdict.NOT_JUDGED: "yellow",
    Verdict.IMPROVED: "cyan",
    Verdict.CHANGED: "yellow",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.MISSING_BASELINE: "magenta",
    Verdict.INCOMPARABLE: "magenta",
    Verdict.REGRESSED: "bold red",
}
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def check_table(report: CheckReport, *, every: bool = False) -> Group:
    """A table for each row and file, then the summary and what else a reader must know.

    Metrics that `nstc bench` does not show are left out where they pass, unless `every` one is
    asked for.
    """
    tables, left_out = [], 0
    for row, findings in report.by_row.items():
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        table.title, table.title_justify = terminal.as_text(str(row)), "left"
        for heading in ("fact", "baseline", "now", "verdict"):
            numeric = heading in {"baseline", "now"}
            table.add_column(heading, justify="right" if numeric else "left", no_wrap=True)
        table.add_column("", overflow="fold")
        for finding in findings:
            metric = KNOWN.get(finding.fact)
            if metric and not metric.label and finding.verdict is Verdict.PASS and not every:
                left_out += 1
                continue
            table.add_row(
                terminal.as_text(finding.fact),
                _number(finding.baseline),
                _number(finding.value),
                Text(finding.verdict, style=_STYLES[finding.verdict]),
                terminal.as_text(finding.explanation),
            )
        tables.append(table)
    notes = [f"{left_out} more PASS: --all-metrics lists them"] if left_out else []
    lines = [summary_line(report), *report.notes, *notes]
    return Group(*tables, terminal.as_text("\n".join(lines)))


def summary_line(report: CheckReport) -> str:
    """The worst verdict and how many there are of each: "REGRESSED: 1 REGRESSED, 14 PASS"."""
    counts = Counter(finding.verdict for finding in report.findings)
    found = [f"{counts[verdict]} {verdict}" for verdict in reversed(SEVERITY) if counts[verdict]]
    return f"{report.verdict}: {', '.join(found) or 'nothing was compared'}"


def markdown(report: CheckReport) -> str:
    """For a job's summary or a comment: what did not pass on top, everything behind a fold.

    Below each table are the reasons for all that did not pass, in words. What was not judged is on
    top in a note, and only where it fails in the table too.
    """
    quiet = {Verdict.PASS} if report.strict else {Verdict.PASS, Verdict.NOT_JUDGED}
    notable = [finding for finding in report.findings if finding.verdict not in quiet]
    lines = [f"### nstc check: {summary_line(report).replace('_', chr(92) + '_')}", ""]
    if notable:
        lines += [*_markdown_table(notable), ""]
    lines += [f"- {as_markdown(note)}" for note in report.notes]
    where = f"baseline {report.baseline}, machine class {report.machine_class}"
    lines += [f"- {as_markdown(where)}"]
    lines += ["", "<details><summary>All numbers</summary>", ""]
    lines += [*_markdown_table(report.findings), "", "</details>"]
    return "\n".join(lines) + "\n"


def junit(report: CheckReport) -> str:
    """JUnit XML: a suite for each row or file and a test for each number.

    REGRESSED and CHANGED are failures, and IMPROVED is one if the check is strict. What could not
    be judged is an error, but NOT_JUDGED is skipped unless the check is strict.
    """

    def xml(text: object) -> str:
        return _NOT_XML.sub("�", str(text))

    def kind(finding: Finding) -> str | None:
        if exit_status(finding.verdict, strict=report.strict) == 0:
            return "skipped" if finding.verdict is Verdict.NOT_JUDGED else None
        failed = finding.verdict in (Verdict.REGRESSED, Verdict.CHANGED, Verdict.IMPROVED)
        return "failure" if failed else "error"

    suites = ET.Element("testsuites", name="nstc check")
    for row, findings in report.by_row.items():
        suite = ET.SubElement(suites, "testsuite", name=xml(row), tests=str(len(findings)))
        kinds = [kind(finding) for finding in findings]
        suite.set("failures", str(kinds.count("failure")))
        suite.set("errors", str(kinds.count("error")))
        suite.set("skipped", str(kinds.count("skipped")))
        for finding, own in zip(findings, kinds, strict=True):
            case = ET.SubElement(suite, "testcase", classname=xml(row), name=xml(finding.fact))
            if own is not None:
                problem = ET.SubElement(case, own, type=str(finding.verdict))
                problem.set("message", xml(f"{finding.verdict}: {finding.explanation}"))
                problem.text = f"baseline {_number(finding.baseline)}, now {_number(finding.value)}"
    ET.indent(suites, " ")
    return ET.tostring(suites, encoding="unicode", xml_declaration=False) + "\n"


def to_dict(report: CheckReport) -> dict[str, Any]:
    """Plain JSON values; an infinite number is the text "inf"."""
    findings = []
    for finding in map(dataclasses.asdict, report.findings):
        del finding["more_rounds_may_settle"]
        for name in ("baseline", "value"):
            if finding[name] is not None and not math.isfinite(finding[name]):
                finding[name] = str(finding[name])
        # A finding on a file, which is of no target or size, has the same keys.
        row = dict.fromkeys(_ROW_KEYS) | finding.pop("row")
        findings.append({**row, **finding, "verdict": str(finding["verdict"])})
    return {
        "schema": SCHEMA,
        "verdict": str(report.verdict),
        "exit_status": report.exit_status,
        "strict": report.strict,
        "baseline": report.baseline,
        "machine_class": report.machine_class,
        "timed_beside": str(report.times_compared_with),
        "notes": list(report.notes),
        "findings": findings,
        "results": [result.to_dict() for result in report.results],
    }


def to_json(report: CheckReport) -> str:
    """`to_dict` as text."""
    return json.dumps(to_dict(report), indent=1, allow_nan=False) + "\n"


def _markdown_table(findings: Sequence[Finding]) -> list[str]:
    lines = ["| model | what | baseline | now | verdict |", "|---|---|---:|---:|---|"]
    reasons = []
    for own in findings:
        texts = (str(own.row), own.fact, own.verdict, own.explanation)
        row, fact, verdict, why = map(as_markdown, texts)
        numbers = f"{_number(own.baseline)} | {_number(own.value)}"
        lines.append(f"| {row} | {fact} | {numbers} | **{verdict}** |")
        if own.verdict is not Verdict.PASS:
            reasons.append(f"- **{verdict}** {row}, {fact}: {why}")
    return [*lines, *[""][: len(reasons)], *reasons]


def _number(value: float | None) -> str:
    """Whole numbers in full, others with four digits that count."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if abs(value) < 1e4 or not math.isfinite(value) else f"{value:,.0f}"
