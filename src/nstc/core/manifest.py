"""The manifest of a bundle: everything about a model that is not a weight."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any, Final, Literal, TypeVar

from nstc.core.errors import CorruptBundleError, SchemaVersionError
from nstc.core.version import VERSION

SCHEMA_VERSION: Final = 1

Stage = Literal["trained", "imported", "distilled", "pruned", "quantized"]
Locality = Literal["exact", "global"]

T = TypeVar("T")

_RECORDED_TOOLS: Final = (
    "numpy",
    "pillow",
    "onnxruntime",
    "torch",
    "onnx",
    "torch-pruning",
    "executorch",
    "torchao",
)


def tool_versions() -> dict[str, str]:
    """Versions of Python, nstc and those of its libraries that are installed."""
    versions = {"python": platform.python_version(), "nstc": VERSION}
    for tool in _RECORDED_TOOLS:
        try:
            versions[tool] = metadata.version(tool)
        except metadata.PackageNotFoundError:
            continue
    return versions


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What to build before the weights are loaded.

    Attributes:
        name: A name in `nstc.models.architectures`.
        arguments: Its keyword arguments, every layer's width after pruning among them.
    """

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What goes in and comes out of the float graph, and how far a pixel sees.

    Attributes:
        size_multiple: The network works on heights and widths that are multiples of this; other
            sizes are padded by repeating the edge, and cropped back.
        minimum_size: The smallest height and width it works on; smaller ones are padded too.
        receptive_field: Side in pixels of the square an output pixel depends on, statistics of
            the whole picture aside.
        locality: "exact" if tiles with their halo and the whole picture's statistics give the
            whole picture's result, "global" if layers inside look at the whole picture.
        layout: Of the float graph's tensors.
        dtype: Of the float graph's tensors.
        value_range: Of the float graph's tensors.
        channels: Order of the colours.
    """

    size_multiple: int
    minimum_size: int
    receptive_field: int
    locality: Locality
    layout: str = "NCHW"
    dtype: str = "float32"
    value_range: tuple[float, float] = (0.0, 1.0)
    channels: str = "RGB"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Another model, as one that came from it remembers it.

    Attributes:
        name: Its name.
        sha256: Its `Bundle.identity`, or the hash of its file.
        zoo: Its zoo name, if it ships with nstc.
        path: Where it was found, if it does not.
    """

    name: str
    sha256: str
    zoo: str | None = None
    path: str | None = None


@dataclass(frozen=True, kw_only=True)
class Style:
    """Where the style statistics in `style.safetensors` come from.

    Attributes:
        name: Of the painting, or of the network.
        source: "painting", or "outputs" for the mean over a network's own pictures.
        credit: Who made the painting, if known.
    """

    name: str
    source: Literal["painting", "outputs"]
    credit: str | None = None


@dataclass(frozen=True, kw_only=True)
class PhotoRecord:
    """The photographs that a step learned from.

    Attributes:
        count: How many.
        sets: Names of the folders, or "samples".
        list_sha256: `PhotoSet.list_sha256`.
    """

    count: int
    sets: tuple[str, ...]
    list_sha256: str


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """A file of the bundle as it was written."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a model's history.

    Attributes:
        verb: What was done: train, import, distill, prune, quantize, export.
        recipe: Every setting of the step.
        seed: Of its randomness; None where there is none.
        photos: What it learned or calibrated on.
        results: Numbers the step reports of itself.
        tools: Versions of the libraries that did it.
    """

    verb: str
    recipe: Mapping[str, Any]
    seed: int | None = None
    photos: PhotoRecord | None = None
    results: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=tool_versions)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """See the module. `files` is filled in when the bundle is written."""

    name: str
    stage: Stage
    architecture: Architecture
    contract: Contract
    style: Style | None = None
    parent: Origin | None = None
    teacher: Origin | None = None
    history: tuple[Step, ...] = ()
    measurements: tuple[Mapping[str, Any], ...] = ()
    files: Mapping[str, FileRecord] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """As text, with a seal over the content so that a changed byte is noticed."""
        content = json.loads(json.dumps(asdict(self)))
        return json.dumps({**content, "seal": _seal(content)}, indent=1, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str, where: str) -> "Manifest":
        """Read back what `to_json` wrote.

        Args:
            text: The content of a `manifest.json`.
            where: Its path, for messages.

        Raises:
            SchemaVersionError: a newer nstc wrote it.
            CorruptBundleError: it is damaged.
        """
        try:
            content = json.loads(text)
            version = content["schema_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptBundleError(f"{where} is damaged: it is not a manifest.") from error
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise SchemaVersionError(
                f"{where} has schema version {version}, this nstc {VERSION} reads up to "
                f"{SCHEMA_VERSION}: upgrade nstc."
            )
        seal = content.pop("seal", None)
        if seal != _seal(content):
            raise CorruptBundleError(f"{where} is damaged: its content was changed after writing.")
        return _manifest(content)


def _seal(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _manifest(content: dict[str, Any]) -> Manifest:
    return Manifest(
        **{
            **content,
            "architecture": Architecture(**content["architecture"]),
            "contract": _contract(content["contract"]),
            "style": _optional(Style, content["style"]),
            "parent": _optional(Origin, content["parent"]),
            "teacher": _optional(Origin, content["teacher"]),
            "history": tuple(_step(step) for step in content["history"]),
            "measurements": tuple(content["measurements"]),
            "files": {name: FileRecord(**record) for name, record in content["files"].items()},
        }
    )


def _contract(content: dict[str, Any]) -> Contract:
    return Contract(**{**content, "value_range": tuple(content["value_range"])})


def _step(content: dict[str, Any]) -> Step:
    photos = content["photos"]
    if photos is not None:
        photos = PhotoRecord(**{**photos, "sets": tuple(photos["sets"])})
    return Step(**{**content, "photos": photos})


def _optional(kind: type[T], content: dict[str, Any] | None) -> T | None:
    return None if content is None else kind(**content)
