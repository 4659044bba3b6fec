"""A row for every picture, which a program reads again."""

import json
import os

import pytest

from nstc.core.errors import ImageError, OptionError, OutputError
from nstc.runtime.files.batch import PictureOutcome
from nstc.runtime.files.reports import refuse_unfit_report, report_to

DONE = PictureOutcome(source="a.jpg", output="out/a.jpg", status="done", seconds=0.12345)
BAD = PictureOutcome(
    source="b.jpg", output="out/b.jpg", status="failed", error=ImageError("b.jpg is empty.")
)
ODD = PictureOutcome(
    source=os.fsdecode(b"caf\xe9.png"), output="-", status="skipped", notes=("one", "two")
)
ROWS = [
    {"path": "a.jpg", "outcome": "done", "output": "out/a.jpg", "seconds": 0.1235}
    | {"error": None, "notes": None},
    {"path": "b.jpg", "outcome": "failed", "output": "out/b.jpg", "seconds": 0.0}
    | {"error": "b.jpg is empty.", "notes": None},
    {"path": "caf\\udce9.png", "outcome": "skipped", "output": "-", "seconds": 0.0}
    | {"error": None, "notes": "one; two"},
]


def write(path) -> None:
    with report_to(path) as add:
        for outcome in (DONE, BAD, ODD):
            add(outcome)


def test_json_lines(tmp_path) -> None:
    write(tmp_path / "report.jsonl")
    lines = (tmp_path / "report.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == ROWS


@pytest.mark.ray
def test_parquet(tmp_path) -> None:
    from pyarrow import parquet

    write(tmp_path / "report.parquet")
    table = parquet.read_table(tmp_path / "report.parquet")
    assert table.to_pylist() == ROWS
    assert str(table.schema.field("seconds").type) == "double"


def test_an_interrupted_run_leaves_none(tmp_path) -> None:
    def stop(outcome: PictureOutcome) -> None:
        with report_to(tmp_path / "report.jsonl") as add:
            add(outcome)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop(DONE)
    assert list(tmp_path.iterdir()) == []


def test_one_that_can_not_be_written_is_known_before(tmp_path) -> None:
    with pytest.raises(OptionError, match=r"expected a name that ends in \.jsonl or \.parquet"):
        refuse_unfit_report(tmp_path / "report.csv")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a file is where a folder is needed"):
        refuse_unfit_report(tmp_path / "file" / "report.jsonl")
