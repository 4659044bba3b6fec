import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nstc.core import drafts
from nstc.core.errors import CorruptBundleError, UnusableModelError
from nstc.core.files import atomic_file
from nstc.core.zoo import resolve_model_path
from nstc.models.tensors import (
    faster_in_bf16,
    images_to_tensor,
    load_tensors,
    mixed_precision,
    save_tensors,
    tensor_to_images,
)


@pytest.fixture
def processor(monkeypatch):
    """Makes a processor that multiplies bf16 of what torch tells of it."""

    def make(**known):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
        faster_in_bf16.cache_clear()

    yield make
    faster_in_bf16.cache_clear()


@pytest.mark.parametrize(
    ("known", "dtype"),
    [
        ({"cpu_name": "Intel Xeon", "amx_bf16": False}, torch.float32),
        ({"cpu_name": "Intel Xeon", "amx_bf16": True}, torch.bfloat16),
        ({"cpu_name": "AMD EPYC 9V74", "amx_bf16": False}, torch.bfloat16),
        ({}, torch.bfloat16),
    ],
)
def test_bf16_is_used_where_it_is_faster(processor, known, dtype):
    processor(**known)
    with mixed_precision(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_pictures_become_a_tensor_from_0_to_1():
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[1, 2] = (255, 51, 0)

    tensor = images_to_tensor([picture])

    assert tensor.shape == (1, 3, 2, 3)
    assert tensor.dtype == torch.float32
    torch.testing.assert_close(tensor[0, :, 1, 2], torch.tensor([1.0, 0.2, 0.0]))


def test_every_byte_survives_the_round_trip():
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)

    (back,) = tensor_to_images(images_to_tensor([picture]))

    assert np.array_equal(back, picture)


def test_values_are_clamped_and_rounded():
    values = torch.tensor([-0.5, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 7.0]).view(1, 1, 1, 6)

    (picture,) = tensor_to_images(values.repeat(1, 3, 1, 1))

    assert picture[0, :, 0].tolist() == [0, 0, 0, 1, 255, 255]


def test_tensors_are_read_back_as_written(tmp_path):
    tensors = {"a": torch.rand(2, 3).T, "b": torch.arange(4).half()}  # a is not contiguous

    save_tensors(tensors, tmp_path / "t.safetensors")

    read = load_tensors(tmp_path / "t.safetensors")
    assert all(torch.equal(read[key], value) for key, value in tensors.items())
    assert read["b"].dtype == torch.float16


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc here")
def test_a_folder_whose_name_is_not_utf_8(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()

    save_tensors({"a": torch.arange(4.0)}, folder / "t.safetensors")

    assert load_tensors(folder / "t.safetensors")["a"].tolist() == [0, 1, 2, 3]


def test_the_bytes_are_those_of_safetensors_own_files(tmp_path):
    shipped = resolve_model_path("zoo:starry-night/student") / "weights.safetensors"

    save_tensors(load_tensors(shipped), tmp_path / "w.safetensors")

    assert (tmp_path / "w.safetensors").read_bytes() == shipped.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="no locks that end with a process")
def test_another_run_leaves_a_file_that_has_no_name_yet(tmp_path, monkeypatch):
    with atomic_file(tmp_path / "t.safetensors") as draft:
        save_tensors({"a": torch.arange(4.0)}, draft)
        monkeypatch.setattr(drafts, "_searched", set())  # as of another run
        drafts.remove_abandoned(tmp_path)
    assert load_tensors(tmp_path / "t.safetensors")["a"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("content", [None, b"", b"\x80\x04 a pickle"])
def test_a_missing_or_foreign_file_is_damaged(tmp_path, content):
    path = tmp_path / "t.safetensors"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(CorruptBundleError, match=r"t\.safetensors can't be read"):
        load_tensors(path)


def written(path, header, data=b"\x00" * 16):
    """A file with a header of our own."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def tensor(begin, end, dtype="F32", shape=(2,)):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "header",
    [
        {"a": tensor(0, 8), "b": tensor(4, 12)},
        {"a": tensor(0, 8), "b": tensor(8, 400, shape=(98,))},
        {"a": tensor(0, 16, shape=(2**62, 4))},
        {"a": tensor(0, 16, shape=(-4,))},
        {"a": tensor(0, 16, shape="4")},
        {"a": {"dtype": "F32"}},
        {"a\n\x1b[2J": tensor(0, 16, "I32", (4,))},
        {"a": tensor(0, 16, dtype="F99")},
        b'{"a":' * 5000,
        b"[]",
        b"\xff\xff",
    ],
)
def test_a_header_that_says_what_can_not_be(header, tmp_path):
    with pytest.raises(CorruptBundleError, match="can't be read") as caught:
        load_tensors(written(tmp_path / "w.safetensors", header))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [0, 1, 10**6, 2**63, 2**64 - 1])
def test_a_header_longer_than_the_file_is_not_given_memory(length, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}" + b"\x00" * 100)
    with pytest.raises(CorruptBundleError, match="does not begin with the header"):
        load_tensors(path)


@pytest.mark.parametrize(("dtype", "size"), [("I64", 16), ("U8", 2), ("BOOL", 2)])
def test_weights_that_are_not_floats(dtype, size, tmp_path):
    path = written(tmp_path / "w.safetensors", {"a": tensor(0, size, dtype)}, b"\x00" * size)
    with pytest.raises(CorruptBundleError, match=f"a is of {dtype}, expected floats"):
        load_tensors(path)


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        ({"a": (2,), "b": (2,)}, "b is missing"),
        ({"b": (2,)}, "b is missing, and 1 more"),
        ({}, "a is not expected"),
        ({"a": (1, 2)}, "a is 2, expected 1x2"),
        ({"a": ()}, "a is 2, expected one number"),
    ],
)
def test_tensors_of_another_network(expected, reason, tmp_path):
    save_tensors({"a": torch.zeros(2)}, tmp_path / "w.safetensors")
    assert load_tensors(tmp_path / "w.safetensors", {"a": (2,)}).keys() == {"a"}
    with pytest.raises(CorruptBundleError, match=f"do not fit the architecture.*: {reason}"):
        load_tensors(tmp_path / "w.safetensors", expected)


def test_tensors_that_are_not_finite_are_neither_read_nor_written(tmp_path):
    path = tmp_path / "t.safetensors"
    bad = {"a": torch.zeros(3), "b": torch.tensor([1.0, float("nan")]).bfloat16()}

    with pytest.raises(UnusableModelError, match=r"t\.safetensors .* 1 of the 2 values of b"):
        save_tensors(bad, path)
    assert not path.exists()

    save_file(bad, path)
    with pytest.raises(UnusableModelError, match=r"t\.safetensors .* 1 of the 2 values of b"):
        load_tensors(path)


def test_a_tensor_of_more_dimensions_than_any_network_has(tmp_path):
    save_tensors({"gram": torch.zeros((1,) * 9)}, tmp_path / "t.safetensors")
    with pytest.raises(CorruptBundleError, match="gram has 9 dimensions, expected at most 8"):
        load_tensors(tmp_path / "t.safetensors")
