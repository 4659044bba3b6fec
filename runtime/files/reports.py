"""Reports of batches: a row for every picture, as JSON lines or Parquet."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from nstc.core.errors import OptionError
from nstc.core.files import atomic_file, refuse_unwritable_file
from nstc.core.terminal import printable
from nstc.runtime.files.batch import PictureOutcome
from nstc.runtime.files.object_stores import looks_remote

AddOutcome = Callable[[PictureOutcome], None]

ENDINGS: Final = (".jsonl", ".parquet")
_ROWS_AT_ONCE: Final = 10_000


def refuse_unfit_report(path: Path) -> None:
    """Raise `OptionError` for another ending, `OutputError` if the file can't be written."""
    if path.suffix.lower() not in ENDINGS:
        raise OptionError(f"report is {path}: expected a name that ends in {' or '.join(ENDINGS)}.")
    if looks_remote(str(path)):
        raise OptionError(f"report is {path}: expected a file of this machine.")
    refuse_unwritable_file(path)


@contextlib.contextmanager
def report_to(path: Path) -> Iterator[AddOutcome]:
    """Give what adds a row; the report is there when the block succeeds, whole.

    Its columns are path, outcome (done, skipped or failed), output, seconds, error and notes. Text
    that is not UTF-8, such as of a file's name, has escapes. `OutputError` if it can't be written.
    """
    with atomic_file(path) as draft:
        if path.suffix.lower() == ".jsonl":
            with draft.open("w", encoding="utf-8") as stream:

                def add(outcome: PictureOutcome) -> None:
                    stream.write(json.dumps(_row(outcome)) + "\n")

                yield add
        else:
            with _parquet_to(draft) as add_to_table:
                yield add_to_table


def _row(outcome: PictureOutcome) -> dict[str, Any]:
    return {
        "path": printable(outcome.source),
        "outcome": outcome.status,
        "output": printable(outcome.output),
        "seconds": round(outcome.seconds, 4),
        "error": outcome.error and printable(str(outcome.error)),
        "notes": printable("; ".join(outcome.notes)) or None,
    }


@contextlib.contextmanager
def _parquet_to(draft: Path) -> Iterator[AddOutcome]:
    import pyarrow
    from pyarrow import parquet

    text = pyarrow.string()
    schema = pyarrow.schema(
        [
            ("path", text),
            ("outcome", text),
            ("output", text),
            ("seconds", pyarrow.float64()),
            ("error", text),
            ("notes", text),
        ]
    )
    rows: list[dict[str, Any]] = []
    with parquet.ParquetWriter(draft, schema) as writer:

        def flush() -> None:
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
            rows.clear()

        def add(outcome: PictureOutcome) -> None:
            rows.append(_row(outcome))
            if len(rows) >= _ROWS_AT_ONCE:
                flush()

        yield add
        flush()
