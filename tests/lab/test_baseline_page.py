"""The reference page of the baseline's file format, beside the types and the gate's tolerances."""

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab import baseline_page

from nstc.benchmarks.gate.baseline import BaselineTime
from nstc.benchmarks.quality.metrics import METRICS
from nstc.benchmarks.timing.instruction_counts import InstructionCount
from nstc.benchmarks.timing.statistics import Tail

ROOT = Path(__file__).resolve().parents[2]


def rows(text: str) -> dict[str, list[str]]:
    """The cells behind the first one, by that one, of every table."""
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    return {first.strip("`"): rest for first, *rest in cells}


def test_every_key_of_a_file_is_in_the_section_of_its_object():
    """Of the baseline of the included models, whatever it nests."""
    sections = dict(re.findall(r"^## (.+)\n([\s\S]+?)(?=^## |\Z)", baseline_page.page(), re.M))
    content = json.loads(baseline_page.ZOO.read_text(encoding="utf-8"))
    parts = {
        "Protocol": content["protocol"],
        "Photographs": content["protocol"]["photos"],
        "Model": content["models"][0],
        "Row": {"instructions": {}, **content["rows"][0]},  # older files lack these
        "Quality": {"tails": {}, **content["rows"][0]["quality"]},  # and these
        "Tail": dataclasses.asdict(Tail(p90=1.0, worst=1.0, worst_photo="a.jpg")),
        "Instructions": dataclasses.asdict(
            InstructionCount(per_picture=1, functions={}, operators={})
        ),
        "Time": content["times"][0],
        "Interval": content["times"][0]["speedup"],
        "Log entry": content["log"][0],
        "The file": {key: own for key, own in content.items() if key != "schema"},
    }
    for name, part in parts.items():
        assert set(rows(sections[name])) == {"key", "---", *part}, name


def test_nothing_is_said_of_keys_that_are_gone():
    keys = {
        f"{heading}.{each.name}"
        for kind, heading in baseline_page.HEADINGS.items()
        for each in dataclasses.fields(kind)
    }
    assert set(baseline_page.COMPARED) == keys


def test_types_and_meanings_are_those_of_the_code():
    found = {name: (kind, meaning) for name, kind, meaning in baseline_page.fields_of(BaselineTime)}
    assert found["size"] == ("whole number", "Side of the pictures in pixels")
    assert found["speedup"][0] == "[interval](#interval)"


def test_a_field_without_a_comment_stops_the_build():
    @dataclass
    class Silent:
        number: int

    with pytest.raises(KeyError, match="number"):
        list(baseline_page.fields_of(Silent))


def test_tolerances_are_those_of_the_gate_here_and_among_the_metrics():
    here = rows(baseline_page.page())
    assert here["style_ratio"] == ["lower", "0.002 or 2 %"]
    assert here["lightness_shift"][1] == r"0.1 L\*"
    assert here["speedup"] == ["higher", "5 %"]
    by_hand = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    table = rows(by_hand.partition("\n## Tolerances of nstc check\n")[2])
    for metric in METRICS:
        absolute, relative = table[metric.name][:2]
        share = metric.tolerance.relative
        assert re.match(rf"{metric.tolerance.absolute:g}\b(?!\.)", absolute), metric.name
        assert relative == (f"{share * 100:g} %" if share else ""), metric.name
