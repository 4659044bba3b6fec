"""Whether the numbers of a model can be used: weights, a style's statistics, learned ranges.

A tensor file is read without safetensors, which a device has not: `nstc verify` reads it there too.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nstc.core.errors import CorruptBundleError, UnusableModelError

Values = npt.NDArray[Any]

_LARGEST_HEADER: Final = 4 * 2**20
_FLOATS: Final = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}


def refuse_not_finite(tensors: Iterable[tuple[str, Values]], where: str | Path) -> None:
    """Refuse tensors that hold infinities or what is not a number.

    Args:
        tensors: Names and values of any shape.
        where: The file or model that they are of, for messages.

    Raises:
        UnusableModelError: some do. The message names the first, and counts its values.
    """
    found = [
        (name, bad, values.size) for name, values in tensors if (bad := _count_not_finite(values))
    ]
    if not found:
        return
    name, bad, total = found[0]
    more = f", and so do {len(found) - 1} more tensors" if len(found) > 1 else ""
    raise UnusableModelError(
        f"{where} can't be used: {bad} of the {total} values of {name} are not finite (NaN or "
        f"infinity){more}. Take a checkpoint from before training failed, or copy the file again."
    )


def refuse_constant(tensors: Iterable[tuple[str, Values]], where: str | Path) -> None:
    """Refuse statistics of which every value is the same: no picture has such.

    Weights may well be constant: biases of zeros, scales of ones. So may the range of a layer that
    gives zeros whatever comes in.

    Args:
        tensors: Names and values of any shape. Single values are passed over.
        where: The file that they are of, for messages.

    Raises:
        UnusableModelError: one is.
    """
    for name, values in tensors:
        if values.size > 1 and values.min() == values.max():
            raise UnusableModelError(
                f"{where} can't be used: every value of {name} is {float(values.max()):g}, which "
                "comes from no picture. Copy the file again, or make it anew."
            )


def refuse_unusable_file(path: Path, *, statistics: bool) -> None:
    """Refuse a safetensors file by its values.

    Args:
        path: The file.
        statistics: Whether it holds a style's statistics, not weights or ranges.

    Raises:
        UnusableModelError: some are not finite, or statistics are one constant.
        CorruptBundleError: it is not such a file.
    """
    try:
        refuse_not_finite(_floats_of(path), path)
        if statistics:
            refuse_constant(_floats_of(path), path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptBundleError(
            f"{path} is not a whole safetensors file. Copy the bundle again."
        ) from error


def _count_not_finite(values: Values) -> int:
    if values.dtype.kind != "f":
        return 0
    return int(values.size - np.count_nonzero(np.isfinite(values)))


def _floats_of(path: Path) -> Iterator[tuple[str, Values]]:
    """Names and values of a file's floating-point tensors, flat; the file is mapped, not read."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _LARGEST_HEADER:
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(stream.read(length))
    content = np.memmap(path, np.uint8, mode="r", offset=8 + length)
    for name, record in header.items():
        if name == "__metadata__" or record["dtype"] not in _FLOATS:
            continue
        begin, end = record["data_offsets"]
        if not 0 <= begin <= end <= content.size:
            raise ValueError(f"{name} is outside of the file")
        values = content[begin:end].view(_FLOATS[record["dtype"]])
        if record["dtype"] == "BF16":  # which NumPy has not: the upper half of a float32
            values = (values.astype("<u4") << 16).view("<f4")
        yield name, values
