"""Core ML packages: what they hold and promise. Only Apple's systems run them.

Core ML's own form is a folder. A bundle holds plain files, so the folder is in a zip file:
`model.256x256.mlpackage.zip` with `model.256x256.mlpackage/Manifest.json` and what that names.
"""

import importlib.util
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nstc.core.errors import CorruptBundleError, MissingExtraError
from nstc.core.portable_names import LARGEST_SIDE
from nstc.runtime.programs import quiet

ENDING: Final = "mlpackage.zip"
INPUT: Final = "image"
OUTPUT: Final = "stylized"
IDENTITY: Final = "nstc.identity"
"""The entry of a model's metadata that names the bundle whose weights it has."""

MODEL: Final = "com.apple.CoreML/model.mlmodel"
WEIGHTS: Final = "com.apple.CoreML/weights/weight.bin"
MANIFEST: Final = "Manifest.json"
_DATA: Final = "Data"
_MEMBERS: Final = (MANIFEST, f"{_DATA}/{MODEL}", f"{_DATA}/{WEIGHTS}")
_MOST_BYTES: Final = 64 * 1024**2  # of each; students have some hundred thousand
_NAMES: Final = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})\.mlpackage\.zip")
_MOST_NAMED: Final = 3  # operations in a message
_PACKED: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_DAMAGED: Final = (  # what zipfile raises of bytes that are no zip file, or of damaged members
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError),
    *(NotImplementedError, RuntimeError, OverflowError, struct.error),
)
OPERATIONS: Final = frozenset(
    {
        *("add", "avg_pool", "cast", "clip", "const", "conv", "maximum", "mul", "pixel_shuffle"),
        *("pow", "real_div", "reduce_mean", "relu", "slice_by_index", "sqrt", "sub"),
    }
)
"""What programs of students are made of, as MIL names it; none has operations inside."""


@dataclass(frozen=True)
class CoremlModel:
    """A package that was read."""

    spec: Any  # `coremltools.proto.Model_pb2.Model`
    weights: bytes  # the storage that the program's constants point into

    @property
    def operations(self) -> Any:
        """What the program does, in order, as MIL operations."""
        function = self.spec.mlProgram.functions["main"]
        return function.block_specializations[function.opset].operations


def coreml_artifact(size: tuple[int, int]) -> str:
    """The artifact's name of a package for pictures of that height and width."""
    return f"{size[0]}x{size[1]}.{ENDING}"


def coreml_size(artifact: str) -> tuple[int, int] | None:
    """Height and width of the pictures that a package of that full name takes; None of others."""
    found = _NAMES.fullmatch(artifact)
    if found is None or max(map(int, found.groups())) > LARGEST_SIDE:
        return None
    return int(found[1]), int(found[2])


def missing_coremltools() -> str | None:
    """None if coremltools is installed, or how to install it."""
    if importlib.util.find_spec("coremltools") is None:
        return 'Core ML files need coremltools: pip install "nstc[coreml]"'
    return None


def read_coreml(path: Path) -> CoremlModel:
    """Read a package, of which nothing is unpacked to the disk.

    `MissingExtraError` without coremltools, `CorruptBundleError` if it is no package of nstc's.
    """
    if (missing := missing_coremltools()) is not None:
        raise MissingExtraError(missing)
    with quiet():
        from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    spec = Model_pb2.Model()
    try:
        held = _members(path)
        spec.ParseFromString(held[f"{_DATA}/{MODEL}"])
    except (*_DAMAGED, DecodeError) as error:
        raise CorruptBundleError(
            f"{path} is no Core ML package of nstc's: {error}. Make it again."
        ) from error
    return CoremlModel(spec, held[f"{_DATA}/{WEIGHTS}"])


def _members(path: Path) -> Mapping[str, bytes]:
    """The files of a package by their path in it; `ValueError` if they are not those of one."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        folder = members[0].filename.partition("/")[0] if members else ""
        if sorted(own.filename for own in members) != sorted(f"{folder}/{n}" for n in _MEMBERS):
            raise ValueError(f"it does not hold exactly {', '.join(_MEMBERS)} in one folder")
        if large := [own.filename for own in members if own.file_size > _MOST_BYTES]:
            raise ValueError(f"{large[0]} has more than {_MOST_BYTES // 1024**2} MB")
        if any(own.compress_type not in _PACKED for own in members):
            raise ValueError("its files are packed by another method than deflate")
        return {name: archive.read(f"{folder}/{name}") for name in _MEMBERS}


def kept_coreml_contract(path: Path, size: tuple[int, int], identity: str) -> str:
    """What a package takes and gives, in words, if it is what its name and bundle promise.

    Args:
        path: The package.
        size: Height and width in pixels that it should take.
        identity: Of the bundle whose weights it should have.

    Raises:
        MissingExtraError: coremltools is not installed.
        CorruptBundleError: it is damaged, or of another size, bundle or kind.
    """
    model = read_coreml(path)
    spec, used = model.spec, {operation.type for operation in model.operations}
    unknown = sorted(used - OPERATIONS)[:_MOST_NAMED]
    faults = {
        "is no ML Program": spec.WhichOneof("Type") != "mlProgram",
        f"does not take and give RGB pictures of {size[0]}x{size[1]}": _edges(spec)
        != {INPUT: size, OUTPUT: size},
        "was made of other weights": spec.description.metadata.userDefined[IDENTITY] != identity,
        "has no program": not used,
        f"has operations that students lack ({', '.join(unknown)})": unknown != [],
    }
    for fault, found in faults.items():
        if found:
            raise CorruptBundleError(f"{path} {fault}: make it again, or copy the bundle again.")
    return f"an ML Program, RGB pictures of {size[0]}x{size[1]} in and out"


def _edges(spec: Any) -> dict[str, tuple[int, int]]:
    """Height and width of the RGB pictures that go in and out, by name; (0, 0) of anything else."""
    found = {}
    for edge in (*spec.description.input, *spec.description.output):
        picture = edge.type.imageType
        is_rgb = picture.colorSpace == picture.ColorSpace.Value("RGB")
        found[edge.name] = (picture.height, picture.width) if is_rgb else (0, 0)
    return found
