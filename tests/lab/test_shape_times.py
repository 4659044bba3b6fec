"""Shapes without training, timed: what is counted is exact, and what is timed is of their files."""

from pathlib import Path

import pytest
from lab import shape_times

TINY, FAST = list(shape_times.SHAPES)[:2]


@pytest.mark.slow
@pytest.mark.executorch
def test_a_row_counts_the_shape_and_times_its_files(tmp_path: Path) -> None:
    ((name, row),) = shape_times.timed([FAST], tmp_path, 64, 3)
    assert name == FAST
    assert row.params == 68_144
    assert row.int8_bytes == (tmp_path / "int8-1" / "model.int8.onnx").stat().st_size
    assert len(row.ms) == len(row.of_reference) == len(row.of_float) == 2
    assert all(value > 0 for value in (*row.ms, *row.of_reference, *row.of_float))
    assert row.xnnpack_ms > 0
    assert row.xnnpack_of_reference > 0
    assert row.xnnpack_of_float > 0


@pytest.mark.slow
def test_a_bundle_is_made_once(tmp_path: Path) -> None:
    made = shape_times.made(TINY, tmp_path)
    again = shape_times.made(TINY, tmp_path)
    assert made.identity == again.identity
