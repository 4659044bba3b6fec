import dataclasses
import json
import math
import os
import shutil
from pathlib import Path

import pytest

from nstc.benchmarks.gate.baseline import (
    SCHEMA,
    exact_facts,
    from_result,
    known_model,
    load_baseline,
    refuse_existing,
    save_baseline,
)
from nstc.benchmarks.gate.update import update_baseline
from nstc.benchmarks.subjects import find_subject
from nstc.benchmarks.timing.statistics import Tail
from nstc.core.errors import (
    BaselineError,
    BaselineSchemaError,
    CorruptBaselineError,
    OptionError,
    OutputError,
)
from nstc.core.files import cache_folder
from nstc.core.recipe import BenchRecipe
from nstc.core.remote import fetched_models, hub

RECIPE = BenchRecipe(size=32, rounds=5, targets=("cpu:1",))


@pytest.fixture
def teacher(make_bundle):
    return make_bundle("teacher", {"onnx": 0.5}, width=16)


@pytest.fixture
def student(make_bundle, teacher):
    return make_bundle("student", {"onnx": 0.5, "int8.onnx": 0.8}, teacher=teacher.origin())


@pytest.fixture
def result(fake_bench, student, teacher, photo_set):
    def run(*models, recipe=RECIPE):
        return fake_bench(
            models or [student.path, teacher.path],
            against=teacher.path,
            artifacts=(),
            photos=photo_set(2),
            recipe=recipe,
            quality=True,
            teacher=None,
        )

    return run


def updated(path, result, reason="why not", **options):
    before = load_baseline(path)
    return before.updated(from_result(result, before.folder, reason=reason, **options))


@pytest.fixture
def saved(result, tmp_path):
    path = tmp_path / "ci" / "baseline.json"
    save_baseline(from_result(result(), path.parent, date="2026-01-02"), path)
    return path


def test_what_was_saved_is_read_back(result, tmp_path, fake_bench):
    fake_bench.metrics["psnr_db"] = math.inf
    fake_bench.tails = {"ssim": Tail(p90=0.9, worst=math.inf, worst_photo="inf.jpg")}
    path = tmp_path / "ci" / "baseline.json"
    made = from_result(result(), path.parent)
    save_baseline(made, path)
    assert load_baseline(path) == made
    assert '"psnr_db": "inf"' in path.read_text()
    assert '"worst": "inf"' in path.read_text()


def test_a_baseline_of_an_older_nstc_has_the_names_that_metrics_have_now(saved):
    text = saved.read_text().replace('"ssim": 0.8', '"ssim": 0.8, "edge_preservation": "inf"')
    saved.write_text(text)
    read = load_baseline(saved)
    assert read.rows[0].quality.metrics["edge_difference"] == math.inf
    assert "edge_preservation" not in read.rows[0].quality.metrics
    save_baseline(read, saved)
    assert '"edge_difference": "inf"' in saved.read_text()
    assert load_baseline(saved) == read


def test_it_says_what_was_measured(saved, student, teacher):
    baseline = load_baseline(saved)
    assert [(row.key.model, row.key.artifact) for row in baseline.rows] == [
        ("../student", "int8.onnx"),
        ("../student", "onnx"),
        ("../teacher", "onnx"),
    ]
    first = baseline.rows[0]
    assert (first.key.target, first.key.size) == ("cpu:1", 32)
    assert first.facts == {"params": 1000, "macs": 2_000_000, "bytes": 30_000}
    assert first.quality is not None
    assert first.quality.metrics == {"ssim": 0.8, "style_ratio": 1.2}
    assert first.quality.teacher is not None
    assert (first.quality.teacher.place, first.quality.teacher.sha256) == (
        "../teacher",
        teacher.identity,
    )
    judged_by_itself = baseline.rows[2].quality
    assert judged_by_itself is not None
    assert judged_by_itself.teacher is None
    assert [model.sha256 for model in baseline.models] == [student.identity, teacher.identity]
    assert baseline.reference.place == "../teacher"
    time = baseline.times[0]
    assert time.machine_class == "x86_64/avx2+avx512_vnni/onnxruntime-1.31.0"
    assert (time.speedup.median, time.latency_ms, time.rounds) == (10.0, 10.0, 5)
    assert [(entry.date, entry.reason) for entry in baseline.log] == [("2026-01-02", "created")]


def test_places_hold_when_the_whole_folder_moves(saved, tmp_path):
    shutil.copytree(tmp_path, tmp_path.parent / "moved", dirs_exist_ok=True)
    moved = load_baseline(tmp_path.parent / "moved" / "ci" / "baseline.json")
    assert moved.locate(moved.models[0]) == tmp_path.parent / "moved" / "student"


def test_what_a_hub_gave_is_named_by_its_commit(make_bundle, monkeypatch, tmp_path):
    name = f"hf:me/night@{'1' * 40}"
    folder = cache_folder(fetched_models.KIND) / hub.HubName.read(name).place()
    folder.parent.mkdir(parents=True)
    shutil.copytree(make_bundle("night", {"onnx": 0.5}).path, folder)
    known = known_model(find_subject(name), tmp_path)
    assert known.place == name


def test_what_a_zip_file_gave_is_named_by_where_it_is_kept(make_bundle, tmp_path):
    name = f"https://host/night.zip#sha256={'1' * 64}"
    folder = cache_folder(fetched_models.KIND) / "zip" / ("1" * 64)
    folder.parent.mkdir(parents=True)
    shutil.copytree(make_bundle("night", {"onnx": 0.5}).path, folder)
    subject = find_subject(name)
    assert subject.name == name
    assert (tmp_path / known_model(subject, tmp_path).place).resolve() == folder.resolve()


def test_a_place_that_is_an_address_or_a_branch_is_not_asked(saved):
    baseline = load_baseline(saved)
    for place in ("https://10.0.0.1/a.zip#sha256=" + "0" * 64, "hf:me/night"):
        model = dataclasses.replace(baseline.models[0], place=place)
        assert isinstance(baseline.locate(model), Path)
    named = dataclasses.replace(baseline.models[0], place=f"hf:me/night@{'1' * 40}")
    assert baseline.locate(named) == named.place


def test_facts_are_all_whole_numbers_but_settings(result):
    assert set(exact_facts(result().rows[0])) == {"params", "macs", "bytes"}


def test_a_foreign_file_has_only_the_facts_that_are_known(result, fake_bench):
    fake_bench.changes = {"params": None, "macs": None}
    assert set(exact_facts(result().rows[0])) == {"bytes"}


def test_a_missing_baseline_says_how_to_make_one(tmp_path):
    with pytest.raises(BaselineError, match="--save-baseline"):
        load_baseline(tmp_path / "none.json")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '"nstc.baseline/1"',
        '{"schema": "nstc.bench/1"}',
        '{"schema": 1}',
        f'{{"schema": "{SCHEMA}"}}',
        f'{{"schema": "{SCHEMA}", "x": NaN}}',
        "<<<<<<< ours\n{}\n=======\n{}\n>>>>>>> theirs\n",
        "[" * 100_000,
    ],
)
def test_what_is_no_baseline_is_damaged(tmp_path, text):
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(CorruptBaselineError, match=r"baseline\.json"):
        load_baseline(path)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "baseline.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorruptBaselineError):
        load_baseline(path)


def test_a_folder_is_no_baseline(tmp_path):
    with pytest.raises(BaselineError, match="is a folder: make a baseline"):
        load_baseline(tmp_path)


@pytest.mark.parametrize(
    ("schema", "what"), [("nstc.baseline/0", "make it anew"), ("nstc.baseline/2", "upgrade nstc")]
)
def test_another_schema_is_an_error(saved, schema, what):
    content = json.loads(saved.read_text())
    saved.write_text(json.dumps({**content, "schema": schema}))
    with pytest.raises(BaselineSchemaError, match=what):
        load_baseline(saved)


def _without(key):
    return lambda content: content.pop(key)


def _with(path, value):
    def damage(content):
        *way, last = path
        for key in way:
            content = content[key]
        content[last] = value

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        *(_without(key) for key in ("protocol", "reference", "models", "rows", "times", "log")),
        _with(["rows"], []),
        _with(["rows"], {}),
        _with(["rows"], None),
        _with(["models"], []),
        _with(["rows", 0, "model"], "../another"),
        _with(["rows", 0, "facts"], None),
        _with(["rows", 0, "facts", "bytes"], 1.5),
        _with(["rows", 0, "facts", "bytes"], True),
        _with(["rows", 0, "facts", "bytes"], -1),
        _with(["rows", 0, "quality", "metrics", "ssim"], None),
        _with(["rows", 0, "quality", "metrics", "ssim"], "0.8"),
        _with(["rows", 0, "size"], "32"),
        _with(["rows", 0, "size"], 300_000),
        _with(["rows", 1, "artifact"], "int8.onnx"),
        _with(["protocol", "photos"], None),
        _with(["protocol", "rounds"], None),
        _with(["times", 0, "speedup"], {"median": 10, "low": 11, "high": 12}),
        _with(["times", 0, "speedup"], {"median": 0, "low": 0, "high": 0}),
        _with(["times", 0, "speedup", "median"], "fast"),
        _with(["log"], "created"),
    ],
)
def test_a_baseline_that_lacks_something_is_damaged(saved, damage):
    content = json.loads(saved.read_text())
    damage(content)
    saved.write_text(json.dumps(content))
    with pytest.raises(CorruptBaselineError, match="is damaged"):
        load_baseline(saved)


def test_an_update_replaces_what_was_measured_and_keeps_the_rest(
    saved, result, fake_bench, student
):
    fake_bench.changes = {"params": 900}
    fake_bench.speeds = {"student": 12.0}
    after = updated(saved, result(student.path), " pruned  a\nchannel ", date="2026-02-03")
    facts = {(row.key.model, row.key.artifact): row.facts["params"] for row in after.rows}
    assert facts == {
        ("../student", "int8.onnx"): 900,
        ("../student", "onnx"): 900,
        ("../teacher", "onnx"): 1000,
    }
    times = {(time.key.model, time.key.artifact): time.speedup.median for time in after.times}
    assert times == {
        ("../student", "int8.onnx"): 12.0,
        ("../student", "onnx"): 12.0,
        ("../teacher", "onnx"): 10.0,
    }
    assert len(after.times) == 3
    assert [(entry.date, entry.reason) for entry in after.log] == [
        ("2026-01-02", "created"),
        ("2026-02-03", "pruned a channel"),
    ]
    save_baseline(after, saved)
    assert load_baseline(saved) == after


def test_another_machine_adds_its_times(saved, result, fake_bench):
    fake_bench.machine = {**fake_bench.machine, "int8": ["avx2"]}
    after = updated(saved, result())
    assert len(after.times) == 6
    assert len({time.machine_class for time in after.times}) == 2


def test_an_update_wants_a_reason(saved, photo_set):
    with pytest.raises(OptionError, match="--reason"):
        update_baseline([], saved, "  ", photos=photo_set(2))


def test_another_protocol_takes_all_rows_or_none(saved, result, fake_bench, student):
    fake_bench.protocol = {"vgg": "another eye"}
    with pytest.raises(OptionError, match=r"leaves out \.\./teacher onnx"):
        updated(saved, result(student.path))
    after = updated(saved, result())
    assert after.protocol.vgg == "another eye"


def test_a_result_that_makes_no_baseline(result, student, tmp_path):
    with pytest.raises(OptionError, match="twice"):
        from_result(result(student.path, student.path), tmp_path)


def test_a_first_baseline_replaces_nothing(saved, tmp_path):
    with pytest.raises(OutputError, match="nstc baseline update"):
        refuse_existing(saved)
    refuse_existing(tmp_path / "new.json")


def test_the_same_numbers_give_the_same_text(result, tmp_path):
    for name in ("a", "b"):
        made = from_result(result(), tmp_path, date="2026-01-02")
        save_baseline(made, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"schema": 1, "schema": 2}', "the key 'schema' stands twice"),
        ('{"schema": "nstc.baseline/' + "9" * 5000 + '"}', "its schema is"),
        (f'{{"schema": "{SCHEMA}", "x": "\\u0000"}}', "control characters"),
        (f'{{"schema": "{SCHEMA}", "x": {"1" * 40}}}', "more than 64 bits"),
    ],
)
def test_values_that_no_baseline_has(tmp_path, text, what):
    path = tmp_path / "baseline.json"
    path.write_text(text)
    with pytest.raises(CorruptBaselineError, match=what):
        load_baseline(path)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "baseline.json")
    with pytest.raises(CorruptBaselineError, match="it is a pipe, not a file"):
        load_baseline(tmp_path / "baseline.json")


def test_names_are_written_as_people_write_them(result, tmp_path):
    path = tmp_path / "baseline.json"
    save_baseline(from_result(result(), tmp_path, reason="schärfer: 神奈川沖浪裏"), path)
    assert '"reason": "schärfer: 神奈川沖浪裏"' in path.read_text(encoding="utf-8")
    assert load_baseline(path).log[0].reason == "schärfer: 神奈川沖浪裏"


def test_what_is_wrong_in_a_row_is_named_with_its_place(saved):
    content = json.loads(saved.read_text())
    content["rows"][1]["facts"]["bytes"] = -1
    saved.write_text(json.dumps(content))
    with pytest.raises(CorruptBaselineError, match=r"\(rows\[1\].facts.bytes is -1: expected"):
        load_baseline(saved)
