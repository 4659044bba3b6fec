"""What `nstc export` was asked for, and whether that can be."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nstc.compress.export import (
    FOLDER,
    FORMATS,
    LITERT,
    OF_ONE_SIZE,
    PORTABLE,
    WEB,
    ExportFormat,
)
from nstc.core import extensions
from nstc.core.bundle import Bundle
from nstc.core.errors import OptionError
from nstc.core.portable_names import EDGES, LARGEST_SIDE, Portable
from nstc.runtime.litert import litert_size

# Formats of other packages.
ADDED: Final = extensions.Extensions(extensions.FORMATS, ExportFormat, (*FORMATS, FOLDER, WEB))

INT8: Final = "int8.onnx"
INT8_ORT: Final = "int8.ort"

Size = tuple[int, int]  # height and width in pixels


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one file is made by; see `nstc.compress.export.export_model.export`."""

    form: str
    size: Size | None = None
    edges: str = "float"


def request_for(bundle: Bundle, artifact: str) -> Request | None:
    """What makes an artifact of a bundle, by its full name; None if nothing does."""
    quantized, portable = INT8 in bundle.artifacts, Portable.called(artifact)
    if portable is not None and (quantized or not portable.quantized):
        return Request(form=PORTABLE, size=portable.size, edges=portable.edges)
    if (size := litert_size(artifact)) is not None:
        return Request(form=LITERT, size=size)
    if artifact == INT8_ORT and quantized:
        return Request(form="ort")
    known = {own.artifact: name for name, own in FORMATS.items() if name not in OF_ONE_SIZE}
    form = known.get(artifact) or (artifact if artifact in ADDED.names() else None)
    return None if form is None else Request(form=form)


def parse_size(text: str, name: str = "static") -> Size:
    """Height and width of "512x512"; `OptionError`, which calls it `name`, for anything else."""
    height, separator, width = text.lower().partition("x")
    if not (separator and height.isdecimal() and width.isdecimal()):
        raise OptionError(f"{name} is {text}: expected HEIGHTxWIDTH in pixels, such as 512x512.")
    return int(height), int(width)


def refuse_bad_options(
    models: int,
    formats: Sequence[str],
    output: Path | None,
    *,
    static: Size | None,
    size: Size | None,
    edges: str | None,
) -> None:
    """Raise `OptionError` for what can't be written of so many models."""
    known: tuple[str, ...] = (*FORMATS, FOLDER, WEB)
    if not set(formats) <= set(known):
        known += ADDED.names()
    unknown = [name for name in formats if name not in known]
    if unknown or not formats:
        given = ", ".join(unknown) or "empty"
        raise OptionError(f"format is {given}: expected some of {', '.join(known)}.")
    alone = next((name for name in (FOLDER, WEB) if name in formats), None)
    if alone and (len(formats) > 1 or (static or size) is not None or output is None):
        raise OptionError(
            f"{alone} is written alone, beside the bundle: give --format {alone} with --output "
            "FOLDER and no other format or size."
        )
    if models != 1 and (not models or alone != WEB):
        raise OptionError(
            f"{models} models are given, and {', '.join(formats)} takes one. Only a page, "
            f"--format {WEB}, takes several."
        )
    if static is not None and "onnx" not in formats:
        raise OptionError("static writes ONNX files only: give --format onnx with it.")
    for name, given_size in (("static", static), ("size", size)):
        if given_size is not None and not all(1 <= side <= LARGEST_SIDE for side in given_size):
            raise OptionError(
                f"{name} is {given_size[0]}x{given_size[1]}: expected HEIGHTxWIDTH, "
                f"each from 1 to {LARGEST_SIDE}."
            )
    _refuse_bad_size(formats, static, size, edges)


def _refuse_bad_size(
    formats: Sequence[str], static: Size | None, size: Size | None, edges: str | None
) -> None:
    if edges is not None and PORTABLE not in formats:
        raise OptionError(f"edges is of portable files: give --format {PORTABLE} with it.")
    chosen = [name for name in OF_ONE_SIZE if name in formats]
    if not chosen:
        if size is not None:
            raise OptionError(
                f"size is of files of one size: give --format {' or '.join(OF_ONE_SIZE)} with it."
            )
        return
    if static is not None:
        raise OptionError(
            f"static writes no {chosen[0]} files: give --format {chosen[0]} alone, and --size."
        )
    if size is None:
        raise OptionError(
            f"{chosen[0]} files take one size: give --size HEIGHTxWIDTH, such as --size 256x256."
        )
    if edges is not None and edges not in EDGES:
        raise OptionError(f"edges is {edges}: expected one of {', '.join(EDGES)}.")
