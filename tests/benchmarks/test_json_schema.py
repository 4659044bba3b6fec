"""Results beside the committed JSON Schema."""

import copy
import dataclasses

import pytest
from jsonschema import Draft202012Validator, ValidationError

from nstc.benchmarks.bench import bench
from nstc.benchmarks.result import SCHEMA, LatencySummary, json_schema, migrated
from nstc.benchmarks.timing import latency, machine
from nstc.core.manifest import Origin
from nstc.core.recipe import BenchRecipe

VALIDATOR = Draft202012Validator(json_schema())


@pytest.fixture(scope="module")
def module_patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture
def result(make_bundle, photo_set, foreign_file, module_patch):
    """Everything that a result can have on this machine: quality, memory, roofline."""
    module_patch.setattr(latency, "PAUSE_S", 0.0)
    module_patch.setattr(latency, "STRETCH_S", 0.0)
    module_patch.setattr(machine, "MATRIX_SIDE", 64)
    module_patch.setattr(machine, "COPIED_BYTES", 2**20)
    teacher = make_bundle("teacher", {"onnx": 0.5}, width=16)
    origin = Origin(name="teacher", sha256=teacher.identity, path=str(teacher.path))
    student = make_bundle("student", {"int8.onnx": 0.8}, teacher=origin)
    return bench(
        [student.path, foreign_file],
        against=teacher.path,
        teacher=teacher.path,
        photos=photo_set(2),
        recipe=BenchRecipe(size=32, rounds=3, targets=("cpu:1",), memory=True, roofline=True),
    )


def test_the_schema_is_one_and_of_this_form():
    Draft202012Validator.check_schema(json_schema())
    assert json_schema()["properties"]["schema"]["const"] == SCHEMA


def test_a_real_result_keeps_to_it_and_each_of_its_keys_is_described(result):
    content = result.to_dict()
    VALIDATOR.validate(content)
    assert content["rows"][0]["roofline"] is not None
    assert content["rows"][0]["memory"]["arena_bytes"] > 0
    known = json_schema()["$defs"]
    for row in content["rows"]:
        assert set(row) <= set(known["row"]["properties"])
        for part in ("throughput", "roofline", "memory", "precision"):
            assert set(row.get(part, ())) <= set(known[part]["properties"]), part
    for reference in content["references"]:
        assert set(reference) <= set(known["reference"]["properties"])
    assert set(content) <= set(json_schema()["properties"])
    for name in (field.name for field in dataclasses.fields(result.protocol)):
        assert name in known["protocol"]["properties"]

    def broken(change):
        other = copy.deepcopy(content)
        change(other)
        with pytest.raises(ValidationError):
            VALIDATOR.validate(other)

    broken(lambda own: own.update(schema="nstc.bench/1"))
    broken(lambda own: own["rows"][0].pop("params"))
    broken(lambda own: own["rows"][0]["latency_ms"].update(median="fast"))
    broken(lambda own: own["rows"][0]["latency_ms"].update(samples=[]))
    broken(lambda own: own["rows"][0]["precision"].update(verdict="PASS"))
    broken(lambda own: own["rows"][0]["quality"].update(style_ratio="good"))
    broken(lambda own: own["rows"][0]["quality"]["tails"]["style_ratio"].pop("worst_photo"))
    broken(lambda own: own["references"][0]["watch"].pop("tick_ns"))


def test_a_result_without_times_keeps_to_it(result):
    none = LatencySummary.of(())
    content = dataclasses.replace(
        result,
        protocol=dataclasses.replace(result.protocol, rounds=0),
        references=tuple(dataclasses.replace(own, latency_ms=none) for own in result.references),
        rows=tuple(dataclasses.replace(own, latency_ms=none) for own in result.rows),
    ).to_dict()
    VALIDATOR.validate(content)
    assert not {"latency_ms", "speedup"} & content["rows"][0].keys()


def test_an_older_result_keeps_to_it_once_it_is_migrated(result):
    """`nstc.bench/1` knew one reference and none of what was added since."""
    content = result.to_dict()
    del content["unfinished"]
    (reference,) = content.pop("references")
    old = {**content, "schema": "nstc.bench/1", "reference": reference}
    for key in ("place", "watch", "roofline"):
        del reference[key]
    del reference["latency_ms"]["p95"]
    for row in old["rows"]:
        for key in ("counts", "precision", "provider", "throughput", "memory", "roofline"):
            row.pop(key, None)
        row.pop("cold_start_ms", None)
        row["quality"].pop("tails")
    with pytest.raises(ValidationError):
        VALIDATOR.validate(old)
    VALIDATOR.validate(migrated(old))
