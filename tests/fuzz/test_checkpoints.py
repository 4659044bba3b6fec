"""Checkpoints changed at random, in bytes and in what they hold: one line of error, or weights.

Derandomised: each run sees the same files, 5,000 of them and more.
"""

import io
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch.serialization import MAGIC_NUMBER

from nstc.compress.importing.checkpoint_files import read_checkpoint
from nstc.compress.importing.import_model import matching_part
from nstc.core.errors import NstcError

pytestmark = pytest.mark.fuzz

SHAPES = {"conv1.weight": (2, 3, 3, 3), "conv1.bias": (2,), "in1.weight": (2,)}
"""Of a small network, so that thousands of its files are read in a minute or two."""


def state() -> "OrderedDict[str, torch.Tensor]":
    return OrderedDict((name, torch.full(shape, 0.5)) for name, shape in SHAPES.items())


def saved(content: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


WHOLE = (
    saved({"epoch": 1, "state_dict": state()}),
    saved(state(), _use_new_zipfile_serialization=False),
    save(dict(state())),
    pickle.dumps({"a": [1, 2.0, "three"]}),
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.sampled_from(
        [
            torch.zeros(2),
            torch.zeros(2, dtype=torch.int32),
            torch.zeros(1).expand(10**12),
            torch.zeros(2, device="meta"),
            torch.eye(2).to_sparse(),
            torch.zeros(2, dtype=torch.complex64),
            torch.tensor([1.0, float("nan")]),
            torch.nn.Parameter(torch.zeros(2)),
        ]
    ),
)
NAMES = st.one_of(
    st.sampled_from([*SHAPES, *(f"module.{name}" for name in SHAPES), "ema", "vgg.x"]),
    st.text(max_size=6),
    st.integers(0, 3),
)
NESTED = st.recursive(
    ODD,
    lambda inner: st.one_of(
        st.dictionaries(NAMES, inner, max_size=5), st.lists(inner, max_size=3), st.tuples(inner)
    ),
    max_leaves=12,
)
OPCODES = b"().0123ABCDFGIJKLMNPQRSTUVXabcdeghijlopqrstu]}\x80\x81\x85\x86\x87\x88\x8a\x93\x94"


def read(folder: Path, content: bytes, key: str | None = None) -> None:
    path = folder / "net.pth"
    path.write_bytes(content)
    message, shapes = "", SHAPES
    try:
        part = matching_part(read_checkpoint(path), SHAPES, path, key)
        shapes = {name: tuple(value.shape) for name, value in part.tensors.items()}
    except NstcError as error:
        message = str(error)
    assert shapes == SHAPES
    assert "\n" not in message
    assert len(message) < 2000
    assert [found.name for found in folder.iterdir()] == ["net.pth"]


def examples(count: int) -> Any:
    return settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=10_000,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@examples(2500)
@given(
    whole=st.sampled_from(WHOLE),
    changes=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4)), min_size=1, max_size=6),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_changed_bytes(
    folder: Path, whole: bytes, changes: list[tuple[float, bytes]], kept: float
) -> None:
    content = bytearray(whole[: round(len(whole) * kept)])
    for place, value in changes:
        start = round(place * len(content))
        content[start : start + len(value)] = value
    read(folder, bytes(content))


@examples(1500)
@given(
    inside=NESTED,
    zipped=st.booleans(),
    key=st.one_of(st.none(), st.sampled_from([".", "module", "state_dict"]), st.text(max_size=5)),
    among=st.booleans(),
)
def test_changed_structure(
    folder: Path, inside: Any, zipped: bool, key: str | None, among: bool
) -> None:
    content = {"model": state(), "more": inside} if among else inside
    read(folder, saved(content, _use_new_zipfile_serialization=zipped), key)


@examples(1500)
@given(
    instructions=st.lists(
        st.tuples(st.sampled_from([bytes([code]) for code in OPCODES]), st.binary(max_size=5)),
        max_size=40,
    ),
    repeated=st.sampled_from([1, 1, 1, 3000]),
)
def test_instructions_at_random(
    folder: Path, instructions: list[tuple[bytes, bytes]], repeated: int
) -> None:
    start = [pickle.dumps(value, 2) for value in (MAGIC_NUMBER, 1001, {"little_endian": True})]
    body = b"".join(code + value for code, value in instructions) * repeated
    read(folder, b"".join([*start, b"\x80\x02", body, b"."]))


@examples(500)
@given(length=st.integers(0, 2**64 - 1), header=st.binary(max_size=60))
def test_headers_of_safetensors(folder: Path, length: int, header: bytes) -> None:
    read(folder, struct.pack("<Q", length) + header)
    read(folder, struct.pack("<Q", len(header) + 1) + b"{" + header)
