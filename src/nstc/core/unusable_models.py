"""Models that can't be used: files of another kind, and numbers that are not finite.

A tensor file is read without safetensors: `nstc verify` reads it on devices without it too.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from nstc.core.errors import CorruptBundleError, UnusableModelError

Values = npt.NDArray[Any]

_FLOATS: Final = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}


def refuse_not_finite(tensors: Iterable[tuple[str, Values]], where: str | Path) -> None:
    """Raise `UnusableModelError` for tensors that are not finite; it names and counts the first."""
    found = [
        f"{bad} of the {values.size} values of {name} are not finite (NaN or infinity)"
        for name, values in tensors
        if values.dtype.kind == "f" and (bad := values.size - np.count_nonzero(np.isfinite(values)))
    ]
    if found:
        more = f", and so do {len(found) - 1} more tensors" if len(found) > 1 else ""
        raise UnusableModelError(
            f"{where} can't be used: {found[0]}{more}. Take a checkpoint from before training "
            "failed, or copy the file again."
        )


def refuse_constant(tensors: Iterable[tuple[str, Values]], where: str | Path) -> None:
    """Raise `UnusableModelError` for statistics, not single ones, that are one value throughout."""
    for name, values in tensors:
        if values.size > 1 and values.min() == values.max():
            raise UnusableModelError(
                f"{where} can't be used: every value of {name} is {float(values.max()):g}, which "
                "comes from no picture. Copy the file again, or make it anew."
            )


def refuse_unusable_file(path: Path, *, statistics: bool) -> None:
    """Check the values of a safetensors file of weights and ranges, or of a style's statistics.

    `UnusableModelError` if some are not finite, or statistics are one constant;
    `CorruptBundleError` if it is not such a file.
    """
    try:
        refuse_not_finite(_floats_of(path), path)
        if statistics:
            refuse_constant(_floats_of(path), path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptBundleError(
            f"{path} is not a whole safetensors file. Copy the bundle again."
        ) from error


def _floats_of(path: Path) -> Iterator[tuple[str, Values]]:
    """Names and values of a file's floating-point tensors, flat; the file is mapped, not read."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > 4 * 2**20:
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
        if record["dtype"] == "BF16":  # not a type of NumPy: the upper half of a float32
            values = (values.astype("<u4") << 16).view("<f4")
        yield name, values


def wrong_file(path: Path, expected: str) -> str | None:
    """What a file or folder is that was given for, say, "a checkpoint", and what to do.

    None if its first bytes don't tell; `OSError` if it is not there or can't be read.
    """
    if path.is_dir():
        return f"{path} is a folder: give the file in it that is {expected}."
    with path.open("rb") as stream:
        content = stream.read(512)
    if not content:
        return f"{path} is empty: download or copy it again."
    start = content.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"version https://git-lfs"):
        return (
            f"{path} is a Git LFS pointer, not the file it stands for: run `git lfs pull` in its "
            "repository, or download the file itself."
        )
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<error")):
        return (
            f"{path} is a web page, not {expected}: the download gave a page, as links to log-in "
            "or preview pages do. Download the file itself."
        )
    if start.startswith((b'{"', b"{\n", b"[{")):
        return (
            f"{path} is JSON text, not {expected}: a server's answer or a settings file. "
            "Download the file itself."
        )
    return None
