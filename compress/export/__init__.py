"""Files that run elsewhere: ONNX, ORT, TorchScript, ExecuTorch, Core ML, LiteRT, a folder, a page.

This is the table of formats. It imports nothing heavy, so that the CLI builds its help from it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from nstc.compress.export.export_model import ExportSource


@dataclass(frozen=True)
class ExportedFile:
    """A file to write: `write` fills a path, `check` raises if it came out wrong."""

    artifact: str
    write: Callable[[Path], object]
    check: Callable[[Path], object]


@dataclass(frozen=True)
class ExportFormat:
    """What `nstc export --format` takes."""

    artifact: str  # what it is for a bundle; its file is model.ARTIFACT
    files: "Callable[[ExportSource], Sequence[ExportedFile]]"  # one as a rule


# Written alone and beside bundles, so that neither is in the table: what it makes are artifacts,
# files that a bundle keeps under its manifest's seal and that `--artifact` runs.
FOLDER: Final = "folder"  # for a board
WEB: Final = "web"  # a page for any static host, with one model or several
PORTABLE: Final = "portable"  # its artifacts are called by size and edges: `core.portable_names`
COREML: Final = "coreml"  # likewise by size: `runtime.coreml`
LITERT: Final = "litert"  # likewise: 256x256.tflite
OF_ONE_SIZE: Final = (PORTABLE, COREML, LITERT)  # what `--size` is for
_OF_SIZE: Final = re.compile(
    r"(?:int8\.)?(?:(portable)(-bytes)?\.)?([1-9][0-9]{0,4}x[1-9][0-9]{0,4})\.(onnx|tflite|mlpackage\.zip)"
)
FORMATS: Final[Mapping[str, ExportFormat]] = {
    "onnx": ExportFormat("onnx", lambda source: [source.onnx_of(None)]),
    "torchscript": ExportFormat("ts", lambda source: [source.torchscript()]),
    "executorch": ExportFormat("pte", lambda source: [source.executorch()]),
    "executorch-int8": ExportFormat("int8.pte", lambda source: [source.executorch_int8()]),
    "ort": ExportFormat("ort", lambda source: source.ort()),
    # `core.bundle.TILES_ARTIFACT`, whose module takes too long to load for help
    PORTABLE: ExportFormat(PORTABLE, lambda source: source.portable()),
    COREML: ExportFormat(COREML, lambda source: source.coreml()),
    LITERT: ExportFormat(LITERT, lambda source: source.litert()),
    "tiles": ExportFormat("int8.tiles.onnx", lambda source: [source.tiles()]),
}


def options_of_size(artifact: str) -> str | None:
    """What `nstc export` is given to make a file of one size; None of files of any size."""
    if artifact in OF_ONE_SIZE:
        return f"--format {artifact} --size HEIGHTxWIDTH"
    found = _OF_SIZE.fullmatch(artifact)
    if found is None:
        return None
    portable, edges, size, ending = found.groups()
    if portable is not None:
        return f"--format {PORTABLE} --size {size}" + (" --edges bytes" if edges else "")
    form = {"tflite": LITERT, "mlpackage.zip": COREML}.get(ending)
    return f"--static {size}" if form is None else f"--format {form} --size {size}"
