"""The JSON Schema that is installed, beside the types that it is generated from."""

from jsonschema import Draft202012Validator
from lab.bench_schema import generated

from nstc.benchmarks.result import json_schema


def test_the_installed_file_is_what_the_types_give():
    assert json_schema() == generated(), "run python -m lab.bench_schema"
    Draft202012Validator.check_schema(generated())


def test_bounds_and_names_of_the_written_form():
    parts = generated()["$defs"]
    row = parts["row"]["properties"]
    assert {"bytes", "memory", "cold_start_ms", "precision"} <= set(row)
    assert not {"size_bytes", "footprint"} & set(row)
    assert row["size"] == {"type": "integer", "minimum": 1}
    assert row["params"] == {"type": ["integer", "null"], "minimum": 0}
    assert parts["interval"]["properties"]["high"] == {"type": ["number", "null"]}
    assert parts["latency"]["required"] == ["median", "iqr", "samples"]
    assert parts["reference"]["properties"]["watch"] == {"$ref": "#/$defs/watch"}
