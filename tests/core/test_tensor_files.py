"""Tables of tensors, beside the safetensors package that other tools use."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from nstc.core.decoding import DecodingError
from nstc.core.tensor_files import read_tensors, tensor_bytes

TENSORS = {
    "b": np.array(3.5, np.float32),
    "a": np.arange(6, dtype=np.int32).reshape(2, 3),
    "z": np.array([7, 255], np.uint8),
    "d": np.array([1.5, -2]),
}


def same(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> bool:
    return one.keys() == two.keys() and all(
        one[name].dtype == two[name].dtype and np.array_equal(one[name], two[name]) for name in one
    )


def test_both_read_what_both_write(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    path.write_bytes(tensor_bytes(TENSORS))
    assert same(load_file(path), TENSORS)
    assert same(read_tensors(path), TENSORS)
    save_file(TENSORS, path)
    assert same(read_tensors(path), TENSORS)


def header(**tensor: object) -> bytes:
    usual = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **tensor}
    return json.dumps({"a": usual}).encode()


@pytest.mark.parametrize(
    ("text", "data", "told"),
    [
        (header(dtype="F16"), b"\0" * 4, "dtype"),
        (header(shape=[2]), b"\0" * 4, "not where its header says"),
        (header(shape=[0], data_offsets=[0, 0]), b"", "shape"),
        (header(shape=[2**31, 2**31]), b"\0" * 4, "not where its header says"),
        (header(data_offsets=[4, 8]), b"\0" * 8, "not where its header says"),
        (header(), b"\0" * 3, "not where its header says"),
        (header(), b"\0" * 5, "bytes behind"),
        (header(), np.float32(np.nan).tobytes(), "not finite"),
        (header(more=1), b"\0" * 4, "more is not a key"),
        (b"[]", b"", "expected an object"),
        (b"", b"", "not a safetensors file"),
    ],
)
def test_what_no_table_is(tmp_path: Path, text: bytes, data: bytes, told: str) -> None:
    path = tmp_path / "t.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    with pytest.raises(DecodingError, match=told):
        read_tensors(path)


def test_a_header_longer_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    path.write_bytes((2**40).to_bytes(8, "little") + b"{}")
    with pytest.raises(DecodingError, match="not a safetensors file"):
        read_tensors(path)
