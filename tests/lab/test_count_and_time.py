"""Counts beside times: what is kept of each half, and what the page gets."""

import dataclasses
from pathlib import Path

import pytest
from lab import count_and_time
from lab.count_and_time import FILES, Entry, Record

from nstc.core import Silent

FACTS = {"cpu": "a processor", "tools": {"onnxruntime": "1.0"}}


@pytest.fixture
def whole() -> Record:
    """A millisecond for a million instructions, of every file."""
    files = {
        file.name: Entry(
            kind=file.kind,
            macs=1_000_000,
            layers="a",
            instructions=(number + 1) * 1_000_000,
            ms=number + 1.0,
        )
        for number, file in enumerate(FILES)
    }
    return Record(counted=FACTS, timed=FACTS, rounds=3, files=files)


def slowed(record: Record, number: int, times: float) -> Record:
    key = FILES[number].name
    own = record.files[key]
    assert own.ms is not None
    return record.with_files({key: dataclasses.replace(own, ms=own.ms * times)})


def test_ranks_correlate_wholly_reversed_and_in_part() -> None:
    assert count_and_time.rank_correlation([1, 5, 9], [2, 3, 400]) == pytest.approx(1)
    assert count_and_time.rank_correlation([1, 5, 9], [3, 2, 1]) == pytest.approx(-1)
    # one neighbouring pair of four changes places: 1 - 6 * 2 / (4 * 15)
    assert count_and_time.rank_correlation([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)


def test_the_table_marks_the_file_whose_count_misleads(whole: Record) -> None:
    text = count_and_time.text_of(slowed(whole, 3, 1.6))
    (marked,) = [line for line in text.splitlines() if line.startswith("|") and "●" in line]
    assert marked.startswith(f"| {FILES[3].name} | ")
    assert marked.endswith("| ● 1.60 |")


def test_correlations_are_within_kinds_too(whole: Record) -> None:
    first = next(number for number, file in enumerate(FILES) if file.kind == "float")
    text = count_and_time.text_of(slowed(whole, first, 1000))
    rows = {line.split(" | ")[0]: line.split(" | ")[2] for line in text.splitlines()[2:5]}
    assert rows["| all"] < "1.000"
    assert rows["| int8"] == "1.000"
    assert rows["| float"] < "1.000"


def test_a_page_keeps_what_is_outside_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{count_and_time.BEGIN}\nold\n{count_and_time.END}\nafter\n")
    for text in ("new", "newer"):
        count_and_time.fill(page, text)
        inside = f"{count_and_time.BEGIN}\n\n{text}\n\n{count_and_time.END}"
        assert page.read_text() == f"before\n{inside}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(ValueError, match="has no"):
        count_and_time.fill(page, "new")


def test_a_record_is_read_as_it_was_written(whole: Record, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    assert Record.read(path) == Record()
    whole.write(path)
    assert Record.read(path) == whole


def test_the_docs_page_is_the_record_s() -> None:
    record = Record.read(count_and_time.RECORD)
    assert count_and_time.text_of(record) in count_and_time.PAGE.read_text(encoding="utf-8")


def test_a_file_that_was_not_counted_is_not_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(count_and_time, "FILES", FILES[:1])
    with pytest.raises(SystemExit, match="is not counted as it is"):
        count_and_time.timed(Record(), tmp_path, 3, Silent())


def test_one_file_is_timed_in_turn_with_the_students(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_turns: None
) -> None:
    student, fast = FILES[:2]
    monkeypatch.setattr(count_and_time, "FILES", (student, fast))
    silent = Silent()
    entries = {
        own.name: count_and_time.entry_of(own, tmp_path, silent)[0] for own in (student, fast)
    }
    found = count_and_time.timed(Record(files=entries), tmp_path, 3, silent)
    for own in (student, fast):
        assert (found.files[own.name].ms or 0) > 0
