"""Numbers that can't be used are refused by the name of their tensor, and counted."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from nstc.core.errors import CorruptBundleError, UnusableModelError
from nstc.core.unusable_models import refuse_constant, refuse_not_finite, refuse_unusable_file


def test_the_first_tensor_is_named_and_its_values_are_counted() -> None:
    good, bad = np.ones(4), np.array([[1, np.nan], [np.inf, 2]])
    with pytest.raises(UnusableModelError, match=r"^net\.pth .* 2 of the 4 values of b are not"):
        refuse_not_finite([("a", good), ("b", bad), ("c", bad)], "net.pth")


def test_numbers_of_any_size_and_integers_are_usable() -> None:
    refuse_not_finite([("a", np.array([1e38, -1e-45])), ("n", np.array([2**60]))], "net.pth")


def test_statistics_of_one_constant_are_named_and_single_values_pass() -> None:
    refuse_constant([("scale", np.zeros(1)), ("gram", np.array([0, 1.0]))], "style")
    with pytest.raises(UnusableModelError, match=r"every value of gram is 0"):
        refuse_constant([("gram", np.zeros(3))], "style")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_file_is_read_in_every_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "w.safetensors"
    values = torch.tensor([1.5, -3.0, float("inf"), float("nan")]).to(dtype)
    save_file({"a": values[:2].clone(), "count": torch.tensor([3]), "b": values}, path)
    with pytest.raises(UnusableModelError, match="2 of the 4 values of b"):
        refuse_unusable_file(path, statistics=False)
    save_file({"a": values[:2].clone(), "count": torch.tensor([3])}, path)
    refuse_unusable_file(path, statistics=True)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 40,
        (9).to_bytes(8, "little") + b"[[[[[[[[[",
        (2).to_bytes(8, "little") + b"[]" + bytes(8),
        (lambda header: len(header).to_bytes(8, "little") + header + bytes(8))(
            json.dumps({"a": {"dtype": "F32", "data_offsets": [0, 4000], "shape": [1000]}}).encode()
        ),
    ],
)
def test_what_is_not_such_a_file_is_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(CorruptBundleError, match=r"w\.safetensors"):
        refuse_unusable_file(path, statistics=False)
