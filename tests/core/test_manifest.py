import dataclasses
import hashlib
import json
import math

import pytest

from nstc.core import manifest
from nstc.core.decoding import DecodingError
from nstc.core.errors import CorruptBundleError, SchemaVersionError
from nstc.core.manifest import (
    MAX_TOTAL_BYTES,
    Architecture,
    Contract,
    FileRecord,
    Manifest,
    Origin,
    PhotoRecord,
    Step,
    Style,
    fault_of_name,
    fault_of_names,
    refuse_arguments,
    tool_versions,
)

FULL = Manifest(
    name="Nuit étoilée",
    stage="pruned",
    architecture=Architecture(name="student", arguments={"width": 24, "inner": [8, 16]}),
    contract=Contract(size_multiple=4, minimum_size=4, receptive_field=35, locality="exact"),
    style=Style(name="The Starry Night", source="painting", credit="Vincent van Gogh, 1889"),
    parent=Origin(name="student", sha256="a" * 64, path="/models/student"),
    teacher=Origin(name="teacher", sha256="b" * 64, zoo="zoo:starry-night/teacher"),
    history=(
        Step(
            verb="distill",
            recipe={"steps": 10, "learning_rate": 1e-3, "nested": {"x": None}},
            seed=3,
            photos=PhotoRecord(count=2, sets=("holiday", "work"), list_sha256="c" * 64),
            results={"loss": 0.25},
            tools={"nstc": "0.1.0"},
        ),
    ),
    measurements=({"protocol": "p1", "speedup": 41.5},),
    files={"weights.safetensors": FileRecord(sha256="d" * 64, size_bytes=12)},
)


def test_everything_comes_back_as_it_was_written() -> None:
    assert Manifest.from_json(FULL.to_json(), "m") == FULL


def test_what_is_optional_may_be_absent() -> None:
    bare = Manifest(
        name="n", stage="trained", architecture=FULL.architecture, contract=FULL.contract
    )
    assert Manifest.from_json(bare.to_json(), "m") == bare


@pytest.mark.parametrize(
    ("verbs", "expected"),
    [
        (["share"], True),
        (["distill", "share", "quantize"], True),
        (["share", "export", "quantize"], True),
        (["share", "restyle", "quantize"], False),
        (["distill"], False),
        ([], False),
    ],
)
def test_only_what_learned_the_photograph_last_gives_it(verbs: list[str], expected: bool) -> None:
    marked = {"share": {"photograph": True}}
    history = tuple(Step(verb=verb, recipe=marked.get(verb, {})) for verb in verbs)
    assert dataclasses.replace(FULL, history=history).gives_photograph is expected


def test_the_text_is_the_same_each_time() -> None:
    assert Manifest.from_json(FULL.to_json(), "m").to_json() == FULL.to_json()


@pytest.mark.parametrize(
    ("old", "new"),
    [('"size_multiple": 4', '"size_multiple": 8'), ('"width": 24', '"width": 32'), ("0.25", "0.2")],
)
def test_a_number_changed_by_hand_is_noticed(old, new) -> None:
    text = FULL.to_json()
    assert old in text
    with pytest.raises(CorruptBundleError, match="its content was changed"):
        Manifest.from_json(text.replace(old, new), "m")


def test_a_manifest_without_its_seal_is_refused() -> None:
    content = json.loads(FULL.to_json())
    del content["seal"]
    with pytest.raises(CorruptBundleError):
        Manifest.from_json(json.dumps(content), "m")


@pytest.mark.parametrize("version", [2, 99, "1"])
def test_a_newer_schema_asks_for_an_upgrade(version) -> None:
    text = json.dumps({**json.loads(FULL.to_json()), "schema_version": version})
    with pytest.raises(SchemaVersionError, match=f"here/m.json has schema version {version}"):
        Manifest.from_json(text, "here/m.json")


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "3", '{"name": "x"}'])
def test_what_is_no_manifest_is_refused_by_name(text) -> None:
    with pytest.raises(CorruptBundleError, match="here is damaged"):
        Manifest.from_json(text, "here")


def sealed(**changes: object) -> str:
    """A manifest as a hostile maker would write it: changed, and with a seal that is right."""
    content = {**json.loads(FULL.to_json()), **changes}
    del content["seal"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return json.dumps({**content, "seal": hashlib.sha256(text.encode()).hexdigest()})


def architecture(name: str, arguments: object) -> dict[str, object]:
    return {"architecture": {"name": name, "arguments": arguments}}


CONTRACT = json.loads(FULL.to_json())["contract"]
RECORD = {"sha256": "d" * 64, "size_bytes": 12}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"files": {"../.bashrc": RECORD}}, "lead out of the folder"),
        ({"files": {"/etc/passwd": RECORD}}, "lead out of the folder"),
        ({"files": {"manifest.json": RECORD}}, "one file on some systems"),
        ({"files": ["model.onnx"]}, "files is .*: expected an object"),
        ({"files": {"a": {**RECORD, "sha256": "x"}}}, "files.a.sha256 is 'x'"),
        ({"files": {"a": {**RECORD, "sha256": "x" * 64}}}, "expected 64 hexadecimal digits"),
        ({"files": {"a": {**RECORD, "size_bytes": -1}}}, "files.a.size_bytes is -1"),
        ({"files": {"a": {**RECORD, "size_bytes": MAX_TOTAL_BYTES + 1}}}, "its files have 2 GB"),
        ({"files": {f"{i}": RECORD for i in range(1001)}}, "files is .*of length <= 1000"),
        ({"contract": {**CONTRACT, "size_multiple": 0}}, "size_multiple is 0: .* >= 1"),
        ({"contract": {**CONTRACT, "minimum_size": 10**9}}, "minimum_size is 1000000000"),
        ({"contract": {**CONTRACT, "receptive_field": "35"}}, "receptive_field is '35'"),
        ({"contract": {**CONTRACT, "value_range": [0, 0]}}, "value_range is 0.0 to 0.0"),
        ({"contract": {**CONTRACT, "value_range": [0]}}, "value_range is .*a list of length 2"),
        ({"contract": {**CONTRACT, "locality": "none"}}, "contract.locality is 'none'"),
        ({"contract": {**CONTRACT, "layout": "NHWC"}}, "contract.layout is 'NHWC'"),
        (
            {"architecture": {"name": "student", "arguments": {"width": 10**9, "inner": []}}},
            "width",
        ),
        ({"architecture": {"name": "new", "arguments": [8]}}, "architecture.arguments is .8.:"),
        ({"history": 7}, "history is 7: expected a list"),
        ({"history": [{"verb": "distill"}]}, r"history\[0\] has no recipe"),
        ({"measurements": [3]}, r"measurements\[0\] is 3: expected an object"),
        ({"name": ""}, "name is ''"),
        ({"name": "a\x1b[2J"}, "control characters"),
        ({"measurements": [{"artifact": "a" * 4097}]}, "a text of more than 4096 characters"),
        ({"name": "x" * 5000}, "name is .*of length <= 4096"),
        ({"schema_version": 0}, "schema_version is 0"),
        ({"brush": "new"}, "brush is not a key that this nstc knows"),
    ],
)
def test_a_manifest_with_a_right_seal_and_a_wrong_value_is_damaged(change, reason) -> None:
    with pytest.raises(CorruptBundleError, match=f"here is damaged: .*{reason}"):
        Manifest.from_json(sealed(**change), "here")


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ({"block": "inverted"}, "block inverted"),
        ({"block": "large7"}, "block large7"),
        ({"block": "reparameterised"}, "block reparameterised"),
        ({"finish": 3}, "finish 3"),
    ],
)
def test_parts_that_are_gone_are_told_with_the_last_version_that_reads_them(argument, told) -> None:
    text = sealed(**architecture("student", {"width": 8, "inner": [8], **argument}))
    with pytest.raises(SchemaVersionError) as caught:
        Manifest.from_json(text, "here/m.json")
    assert str(caught.value) == (
        f"here/m.json is of a student with {told}: nstc 0.1.0 was the last to read those. "
        "Open it with that version, or distill the student again."
    )


def test_a_step_of_the_history_may_name_settings_that_are_gone() -> None:
    (step,) = json.loads(FULL.to_json())["history"][:1]
    step["recipe"] |= {"finish": None, "hint_weight": 0.5, "sizes": [192, 256], "gram_weight": 2.0}
    read = Manifest.from_json(sealed(history=[step]), "m")
    assert read.history[0].recipe["hint_weight"] == 0.5


def test_names_that_can_not_be_read_again_are_written_so_that_they_can() -> None:
    named = dataclasses.replace(
        FULL,
        name="a\nb\ud800",
        style=Style(name="x" * 9000, source="painting"),
        measurements=({"psnr_db": math.inf},),
    )
    read = Manifest.from_json(named.to_json(), "m")
    assert read.name == "a\ufffdb\ufffd"
    assert read.style is not None
    assert read.style.name == "x" * 4096
    assert read.measurements == ({"psnr_db": None},)


def test_versions_name_what_is_installed_only(monkeypatch) -> None:
    versions = tool_versions()
    assert {"python", "nstc", "numpy", "pillow", "onnxruntime"} <= versions.keys()
    monkeypatch.setattr(manifest, "_RECORDED_TOOLS", ("numpy", "no-such-tool"))
    assert tool_versions().keys() == {"python", "nstc", "numpy"}


@pytest.mark.parametrize("tool", ["coremltools", "ai-edge-litert", "litert-torch"])
def test_versions_name_a_converter_that_is_installed(monkeypatch, tool) -> None:
    monkeypatch.setattr(manifest.metadata, "version", lambda name: f"{name} 9")
    assert tool_versions()[tool] == f"{tool} 9"


def test_a_manifest_can_not_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.name = "other"  # type: ignore[misc]


STUDENT = {"width": 48, "inner": [48] * 5, "block": "separable", "head": "separable"}


@pytest.mark.parametrize(
    "change",
    [
        {"width": 10**9},
        {"width": 0},
        {"width": True},
        {"width": "48"},
        {"inner": "abc"},
        {"inner": [48] * 65},
        {"inner": [0]},
        {"scale": 5},
        {"norm": "layer"},
        {"depth": 3},
    ],
)
def test_a_student_that_is_not_built(change) -> None:
    refuse_arguments("student", STUDENT)
    with pytest.raises(DecodingError, match=rf"^architecture.arguments: {next(iter(change))}"):
        refuse_arguments("student", {**STUDENT, **change})


@pytest.mark.parametrize("arguments", [{"down": [8, 8]}, {"up": [8] * 3}, {"inner": [10**9]}])
def test_a_transformer_that_is_not_built(arguments) -> None:
    refuse_arguments("transformer", {})
    with pytest.raises(DecodingError):
        refuse_arguments("transformer", arguments)


def test_blocks_that_reach_too_far_together() -> None:
    shape = {"width": 8, "inner": [8] * 32, "skip": 8}
    most = {**shape, "dilations": [64] * 31 + [63]}
    refuse_arguments("two-scale-student", most)
    for beyond in ({"dilations": [64] * 32}, {"details": [8]}):
        with pytest.raises(DecodingError, match="details add up to 2048: expected at most 2047"):
            refuse_arguments("two-scale-student", {**most, **beyond})


def test_an_architecture_of_the_future_has_arguments_of_its_own() -> None:
    refuse_arguments("mamba", {"state": 10**9})


def test_a_student_whose_last_convolution_was_switched_off_is_read() -> None:
    shape = {"width": 8, "inner": [8]}
    text = sealed(**architecture("student", {**shape, "finish": 0}))
    assert Manifest.from_json(text, "m").architecture.arguments == shape


LEADS_ELSEWHERE = ["../notes.txt", "/etc/passwd", "a/b", "a\\b", "C:notes", "C:\\notes", "x:y"]
NOT_SHOWN = ["", "a\n", "\x1b[2J", "a\x00b", "\u202egnp.exe", "a\ud800"]
NOT_ONE_NAME = [".", "..", " a", "a ", "a.", "a" * 201, "e\u0301.onnx"]
NOT_ON_WINDOWS = ["con", "NUL", "aux.onnx", "COM1.txt", "lpt9", "com¹", "what?", "a*", "a|b", '"a"']


@pytest.mark.parametrize("name", LEADS_ELSEWHERE)
def test_a_name_that_leads_elsewhere(name) -> None:
    assert "would lead out of the folder" in (fault_of_name(name) or "")


@pytest.mark.parametrize("name", [*NOT_SHOWN, *NOT_ONE_NAME, *NOT_ON_WINDOWS])
def test_a_name_that_is_not_the_same_file_everywhere(name) -> None:
    assert fault_of_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "weights.safetensors",
        "model.int8.tiles.onnx",
        ".hidden",
        "a b",
        "é.onnx",
        "console",
        "a" * 200,
    ],
)
def test_a_plain_name(name) -> None:
    assert fault_of_name(name) is None


def test_names_that_are_one_file_on_some_systems() -> None:
    assert fault_of_names(["a.onnx", "b.onnx"], reserved="manifest.json") is None
    assert "one file on some systems" in (fault_of_names(["a.onnx", "A.ONNX"], "m") or "")
    assert "manifest.json" in (fault_of_names(["Manifest.JSON"], "manifest.json") or "")
