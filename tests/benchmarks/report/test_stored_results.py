import json
import math

import pytest

from nstc.benchmarks.report.stored_results import flattened, read_results
from nstc.benchmarks.result import SCHEMA, SCHEMAS
from nstc.core.errors import OptionError


def test_what_this_nstc_writes_can_be_read():
    assert SCHEMA in SCHEMAS


def test_a_row_keeps_its_numbers_and_what_it_stands_on(read):
    run = read()
    (row,) = run.rows
    assert run.name == "monday"
    assert (row.model, row.artifact, row.target, row.size) == ("zoo:dusk", "int8.onnx", "cpu:2", 64)
    assert (row.latency_ms.median, row.latency_ms.iqr, row.size_bytes) == (5.0, 1.0, 56_000)
    assert (row.speedup.median, row.speedup.low, row.speedup.high) == (40.0, 36.0, 44.0)
    assert row.quality.metrics["style_ratio"].high == 1.5
    assert row.quality.metrics["psnr_db"].median == math.inf
    assert list(row.quality.metrics) == ["style_ratio", "ssim", "psnr_db"]
    assert (row.quality.photos, row.quality.few_photos) == (12, True)
    assert row.extra == {}
    assert run.protocol["photos.count"] == 12
    assert run.reference == "zoo:dusk/teacher"
    assert "latency_ms.samples" not in run.references[0]


def test_unknown_keys_are_kept_by_their_path(read, make_row, make_quality):
    latency = {"median": 5.0, "iqr": 1.0, "samples": [], "p95": 7.0}
    run = read(
        make_row(
            memory={"peak_bytes": 1},
            delegates=3,
            latency_ms=latency,
            quality=make_quality(1.0, jury="x"),
        ),
        host="mill",
    )
    assert run.rows[0].extra == {
        "memory.peak_bytes": 1,
        "delegates": 3,
        "latency_ms.p95": 7.0,
        "quality.jury": "x",
    }
    assert run.extra == {"host": "mill"}


def test_a_foreign_row_without_quality_or_counts(read, make_row):
    (row,) = read(make_row(params=None, macs=None, quality=None, speedup=None)).rows
    assert (row.params, row.macs, row.quality) == (None, None, None)
    assert math.isnan(row.speedup.median)


def test_characters_that_turn_text_around_are_replaced(read, make_row):
    (row,) = read(make_row(model="\u202egnp.exe\x00\ud800")).rows
    assert row.model == "\ufffdgnp.exe\ufffd\ufffd"


def test_missing_files_and_folders_are_said(tmp_path):
    with pytest.raises(OptionError, match="does not exist"):
        read_results(tmp_path / "none.json")
    with pytest.raises(OptionError, match="is a folder"):
        read_results(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "\x00", "[" * 100_000, '{"a": 1} x'])
def test_what_is_no_json_is_said(write_result, text):
    with pytest.raises(OptionError, match=r"can't be read: it (is not JSON|nests more)"):
        read_results(write_result(text))


@pytest.mark.parametrize("text", ["[]", "3", "null"])
def test_json_that_is_no_object(write_result, text):
    with pytest.raises(OptionError, match="expected an object"):
        read_results(write_result(text))


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "x.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionError, match="it is not text in UTF-8"):
        read_results(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("nstc.bench/99", "schema nstc.bench/99, this nstc reads"),
        ("pytest-benchmark", "not a result of nstc bench"),
        (None, "not a result of nstc bench"),
        (["nstc.bench/1"], "not a result of nstc bench"),
    ],
)
def test_a_foreign_schema_is_named(write_result, make_result, schema, message):
    with pytest.raises(OptionError, match=message):
        read_results(write_result(make_result(schema=schema)))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"model": 3}, r"rows\[0\].model is 3: expected text"),
        ({"size": "big"}, r"rows\[0\].size is 'big': expected a whole number"),
        ({"size": True}, r"rows\[0\].size"),
        ({"latency_ms": {}}, r"rows\[0\].latency_ms has no median"),
        ({"latency_ms": None}, r"rows\[0\].latency_ms is None: expected an object"),
        ({"latency_ms": {"median": 10**400}}, r"rows\[0\].latency_ms.median"),
        ({"speedup": [1]}, r"rows\[0\].speedup"),
        ({"quality": {}}, r"rows\[0\].quality has no intervals"),
        ({"quality": "fine"}, r"rows\[0\].quality"),
    ],
)
def test_a_wrong_value_is_named_by_its_place(write_result, make_result, make_row, changes, where):
    with pytest.raises(OptionError, match=where):
        read_results(write_result(make_result(make_row(**changes))))


@pytest.mark.parametrize("key", ["rows", "protocol", "references"])
def test_a_missing_part_is_named(write_result, make_result, key):
    content = make_result()
    del content[key]
    with pytest.raises(OptionError, match=f"it has no {key}"):
        read_results(write_result(content))


def test_not_a_number_is_no_number(write_result, make_result, make_row):
    text = json.dumps(make_result(make_row(params=float("nan"))))
    assert read_results(write_result(text)).rows[0].params is None


def test_nested_keys_become_paths():
    assert flattened({"a": {"b": 1, "c": {}}, "d": [2]}) == {"a.b": 1, "d": [2]}
