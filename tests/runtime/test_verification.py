"""Check vectors that somebody else wrote."""

import dataclasses
import json
import zlib
from base64 import b64encode

import msgspec
import pytest

from nstc.core.bundle import open_bundle, revised_bundle
from nstc.core.errors import CorruptBundleError
from nstc.runtime.check_vectors import CHECKS_FILE, read_check_vectors
from nstc.runtime.verification import record, verify


def packed(values: bytes) -> str:
    return b64encode(zlib.compress(values)).decode()


@pytest.fixture
def recorded(bundle):
    record(bundle.path)
    return open_bundle(bundle.path)


def with_checks(bundle, content):
    """The bundle with other check vectors, under a seal that is right."""
    text = content if isinstance(content, str) else json.dumps(content)
    with revised_bundle(bundle, bundle.path, bundle.manifest) as draft:
        (draft / CHECKS_FILE).write_text(text, encoding="utf-8")
    return open_bundle(bundle.path)


def content_of(bundle):
    return json.loads((bundle.path / CHECKS_FILE).read_text())


def test_what_was_recorded_is_read(recorded) -> None:
    vectors = read_check_vectors(recorded)
    assert vectors.keys() == {"int8.onnx", "onnx"}
    assert vectors["onnx"].kept.shape == (45, 59, 3)
    assert msgspec.to_builtins(vectors) == content_of(recorded)["vectors"]


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"height": 16384, "width": 16384, "stride": 1},
        {"height": 16384, "width": 16384, "stride": 16384},
        {"stride": 0},
        {"stride": 10**30},
        {"seed": -1},
        {"seed": 2**70},
        {"seed": 1.5},
        {"height": "45"},
        {"values": None},
        {"values": "not base 64!"},
        {"values": b64encode(b"not zlib").decode()},
        {"values": packed(b"")},
        {"values": packed(b"\x00" * 10**7)},
        {"file_sha256": "0" * 63},
    ],
)
def test_a_vector_with_a_wrong_value_is_damaged(recorded, change) -> None:
    content = content_of(recorded)
    content["vectors"]["onnx"] |= change
    with pytest.raises(CorruptBundleError, match=r"checks\.json can't be read") as caught:
        read_check_vectors(with_checks(recorded, content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[" * 100_000,
        {"schema": "nstc.checks/2", "vectors": {}},
        {"vectors": {}},
        {"schema": "nstc.checks/1", "vectors": []},
        {"schema": "nstc.checks/1", "vectors": {"onnx": 3}},
    ],
)
def test_what_is_no_check_vectors_is_damaged(recorded, content) -> None:
    with pytest.raises(CorruptBundleError, match=r"checks\.json can't be read"):
        read_check_vectors(with_checks(recorded, content))


def test_a_vector_of_a_picture_that_nstc_does_not_make_is_not_painted(recorded) -> None:
    vector = read_check_vectors(recorded)["onnx"]
    values = zlib.compress(bytes(40 * 40 * 3))
    large = dataclasses.replace(vector, height=4000, width=4000, stride=101, values=values)
    content = content_of(recorded)
    content["vectors"]["onnx"] = msgspec.to_builtins(large)
    (error,) = verify(with_checks(recorded, content).path).errors
    assert "is of a picture of 4000x4000" in str(error)
