"""The manifest of a bundle: everything about a model that is not a weight."""

import contextlib
import hashlib
import json
import platform
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from nstc.core import VERSION, decoding
from nstc.core.decoding import Count, DecodingError, Name, Sha256, Text
from nstc.core.errors import CorruptBundleError, SchemaVersionError
from nstc.core.graph_form import GraphForm
from nstc.core.model_names import is_lasting, is_name

MANIFEST_FILE: Final = "manifest.json"
SCHEMA_VERSION: Final = 1

# Of all files of a bundle. The largest networks that nstc builds, in five formats, have less.
MAX_TOTAL_BYTES: Final = 2 * 1024**3

Stage = Literal["trained", "imported", "distilled", "pruned", "quantized"]

Pixels = Annotated[int, Meta(ge=1, le=4096)]
Level = Annotated[float, Meta(ge=-1e6, le=1e6)]
Width = Annotated[int, Meta(ge=1, le=4096)]  # channels of a layer; recipes take up to 1024
Dilation = Annotated[int, Meta(ge=1, le=64)]  # of a residual block's convolutions
MAX_DILATIONS: Final = 2047  # their sum: one more, and the receptive field is beyond `Contract`'s
# Channels inside each residual block; recipes take up to 32 blocks.
Blocks = Annotated[tuple[Width, ...], Meta(max_length=64)]

# Of a name in UTF-8. File systems take 255, and drafts beside a file have longer names.
MAX_NAME_BYTES: Final = 200
# What Windows opens instead of a file, whatever the ending.
_PORTS: Final = (f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")
_DEVICES: Final = frozenset(("con", "prn", "aux", "nul", "conin$", "conout$", "clock$", *_PORTS))

# Values of a student's arguments that nstc 0.1.0 was the last to build.
_REMOVED: Final = {"block": ("inverted", "large5", "large7", "reparameterised"), "finish": (3, 5)}

# The student that gives what it is given: its name, and the mark in the step that trained it.
PHOTOGRAPH: Final = "photograph"
_TABLE_START: Final = "style-"
_TABLE_END: Final = ".safetensors"
_CONVERSIONS: Final = ("quantize", "export")  # verbs that leave what a network learned

_RECORDED_TOOLS: Final = (
    *("numpy", "pillow", "onnxruntime", "torch", "onnx"),
    *("torch-pruning", "executorch", "torchao", "coremltools", "ai-edge-litert", "litert-torch"),
)


def tool_versions() -> dict[str, str]:
    """Versions of Python, nstc and those of its libraries that are installed."""
    versions = {"python": platform.python_version(), "nstc": VERSION}
    for tool in _RECORDED_TOOLS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[tool] = metadata.version(tool)
    return versions


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What `nstc.models.architectures` builds before the weights are loaded."""

    name: Name
    # Keywords, among them every layer's width after pruning.
    arguments: Annotated[Mapping[Name, Any], Meta(max_length=64)]


@dataclass(frozen=True, kw_only=True)
class _Student:
    """See `nstc.models.student.Student`."""

    width: Width
    inner: Blocks
    block: Name = "separable"
    scale: Literal[4, 8] = 4
    norm: Literal["none", "instance"] = "none"
    head: Literal["plain", "separable"] = "plain"
    batch_norm: bool = False


@dataclass(frozen=True, kw_only=True)
class _TwoScaleStudent:
    """See `nstc.models.student.TwoScaleStudent`."""

    width: Width
    inner: Blocks
    skip: Width
    dilations: Annotated[tuple[Dilation, ...], Meta(max_length=64)]
    block: Name = "separable"
    head: Literal["plain", "separable"] = "separable"
    details: Blocks = ()
    batch_norm: bool = False

    def __post_init__(self) -> None:
        """Refuse blocks that reach too far together."""
        total = sum(self.dilations) + len(self.details)  # one of these reaches less far than 1
        if total > MAX_DILATIONS:
            raise ValueError(
                f"dilations and details add up to {total}: expected at most {MAX_DILATIONS}"
            )


@dataclass(frozen=True, kw_only=True)
class _Transformer:
    """See `nstc.models.transformer.TransformerNet`."""

    down: Annotated[tuple[Width, ...], Meta(min_length=3, max_length=3)] = (32, 64, 128)
    inner: Blocks = (128,) * 5
    up: Annotated[tuple[Width, ...], Meta(min_length=2, max_length=2)] = (64, 32)


_SHAPES: Final[Mapping[str, type]] = {
    "student": _Student,
    "two-scale-student": _TwoScaleStudent,
    "transformer": _Transformer,
}


@dataclass(frozen=True, kw_only=True)
class Contract:
    """The float graph's input, output and receptive field."""

    # Heights and widths are multiples of it; others are padded by repeating the edge, and cropped.
    size_multiple: Pixels
    minimum_size: Pixels  # of height and width; smaller ones are padded too
    # Side in pixels of the square an output pixel depends on, apart from the picture's statistics.
    receptive_field: Annotated[int, Meta(ge=1, le=65536)]
    # "exact" if tiles with their halo and the whole picture's statistics give the whole picture's
    # result, "global" if layers inside depend on the whole picture.
    locality: Literal["exact", "global"]
    layout: Literal["NCHW"] = "NCHW"
    dtype: Literal["float32"] = "float32"
    value_range: tuple[Level, Level] = (0.0, 1.0)
    channels: Literal["RGB"] = "RGB"

    def __post_init__(self) -> None:
        """Refuse an empty range, which values would be divided by."""
        low, high = self.value_range
        if not low < high:
            raise ValueError(f"value_range is {low} to {high}: expected the smaller number first")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A model that another was made from."""

    name: Name
    sha256: Sha256  # its `Bundle.identity`, or the hash of its file
    zoo: Text | None = None  # its name in the zoo or on a hub, if it has one
    path: Text | None = None  # where it was, if it has none
    form: GraphForm | None = None  # how it was fed, if it is a file made by others

    def __post_init__(self) -> None:
        decoding.refuse_other_than_sha256(self.sha256)
        # What a manifest names is opened by verbs: it must not lead them to any address.
        if self.zoo is not None and not is_lasting(self.zoo):
            raise ValueError(
                f"zoo is {self.zoo!r:.80}: expected a name of the zoo, or of a hub with its commit"
            )
        if self.path is not None and is_name(self.path):
            raise ValueError(f"path is {self.path!r:.80}: expected a path of a file")
        if self.form is not None:
            self.form.refuse_unhashed_pictures()


@dataclass(frozen=True, kw_only=True)
class Style:
    """The source of `style.safetensors`: a painting, or the mean of a network's "outputs"."""

    name: Name  # of the painting or the network
    source: Literal["painting", "outputs"]
    credit: Text | None = None  # who made the painting, if known


@dataclass(frozen=True, kw_only=True)
class PhotoRecord:
    """The photographs of a step or a measurement."""

    count: Count  # how many
    sets: tuple[Text, ...]  # names of their folders, or "samples"
    list_sha256: Sha256  # hash of their contents, in order

    def __post_init__(self) -> None:
        decoding.refuse_other_than_sha256(self.list_sha256)


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """A file of the bundle as it was written."""

    sha256: Sha256
    size_bytes: Count

    def __post_init__(self) -> None:
        decoding.refuse_other_than_sha256(self.sha256)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a model's history."""

    verb: Name  # what was done: train, import, distill, prune, quantize, export
    recipe: Mapping[str, Any]  # every setting of the step
    seed: Count | None = None  # of its randomness; None where there is none
    photos: PhotoRecord | None = None  # what it learned or calibrated on
    results: Mapping[str, Any] = field(default_factory=dict)  # numbers the step reports of itself
    # Versions of the libraries that did it.
    tools: Mapping[Name, Text] = field(default_factory=tool_versions)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """See the module. `files` is set when the bundle is written."""

    name: Name
    stage: Stage
    architecture: Architecture
    contract: Contract
    style: Style | None = None
    parent: Origin | None = None
    teacher: Origin | None = None
    history: Annotated[tuple[Step, ...], Meta(max_length=1000)] = ()
    measurements: Annotated[tuple[Mapping[str, Any], ...], Meta(max_length=1000)] = ()
    files: Annotated[Mapping[str, FileRecord], Meta(max_length=1000)] = field(default_factory=dict)
    schema_version: Annotated[int, Meta(ge=1, le=SCHEMA_VERSION)] = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Refuse files that are not plain ones of the bundle's folder, or are too large."""
        if (fault := fault_of_names(self.files, reserved=MANIFEST_FILE)) is not None:
            raise ValueError(fault)
        total = sum(record.size_bytes for record in self.files.values())
        if total > MAX_TOTAL_BYTES:
            raise ValueError(
                f"its files have {total / 1e9:.0f} GB, expected at most {MAX_TOTAL_BYTES / 1e9:.0f}"
            )

    @property
    def learned(self) -> Step | None:
        """The step that the weights were last learned in; None if the history has none."""
        learned = [step for step in self.history if step.verb not in _CONVERSIONS]
        return learned[-1] if learned else None

    @property
    def gives_photograph(self) -> bool:
        """Whether it learned to give the photograph itself, see `nstc share --photograph`."""
        return self.learned is not None and self.learned.recipe.get(PHOTOGRAPH) is True

    @property
    def packed_styles(self) -> tuple[str, ...]:
        """The names of a pack's styles, sorted; none of any other bundle."""
        return tuple(own for name in sorted(self.files) if (own := style_of_table(name)))

    def to_json(self) -> str:
        """As text, with a seal over the content by which a changed byte is found."""
        content = json.loads(json.dumps(decoding.as_readable(asdict(self))))
        for origin in (content["parent"], content["teacher"]):
            if origin is not None and origin["form"] is not None:
                # without what is open: an nstc that lacks a newer field can read the rest
                given = {name: own for name, own in origin["form"].items() if own is not None}
                origin["form"] = given
        return json.dumps({**content, "seal": _seal(content)}, indent=1, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str | bytes, where: str) -> "Manifest":
        """Read back what `to_json` wrote to the path `where`.

        `SchemaVersionError` if a newer nstc wrote it, or one so old that its parts are gone;
        `CorruptBundleError` if it is damaged, or names what no bundle may hold.
        """
        try:
            content = decoding.parse_json(text, one_line_texts=True)
            if not isinstance(content, dict) or content.get("schema_version") is None:
                raise DecodingError("it is not a manifest")
            version = content["schema_version"]
            if type(version) is not int or version > SCHEMA_VERSION:
                raise SchemaVersionError(
                    f"{where} has schema version {decoding.printable(str(version))[:40]}, expected "
                    f"at most {SCHEMA_VERSION} by this nstc {VERSION}: upgrade nstc."
                )
            if content.pop("seal", None) != _seal(content):
                raise DecodingError("its content was changed after writing")
            manifest = decoding.decode(content, Manifest)
            decoding.refuse_long_texts(content)
            built = manifest.architecture
            if built.name == "student" and built.arguments.get("finish") == 0:
                # nstc 0.1.0 wrote it for what is the only behaviour now
                kept = {key: value for key, value in built.arguments.items() if key != "finish"}
                built = replace(built, arguments=kept)
                manifest = replace(manifest, architecture=built)
            for name, values in _REMOVED.items():
                if built.name == "student" and built.arguments.get(name) in values:
                    raise SchemaVersionError(
                        f"{where} is of a student with {name} {built.arguments[name]}: nstc 0.1.0 "
                        "was the last to read those. Open it with that version, or distill the "
                        "student again."
                    )
            refuse_arguments(built.name, built.arguments)
        except DecodingError as error:
            raise CorruptBundleError(f"{where} is damaged: {error}. Copy it again.") from error
        return manifest


def _seal(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def fault_of_name(name: str) -> str | None:
    """Why a name is not a plain file name, as the end of "NAME is not ...: "; None if it is."""
    if not name or not name.isprintable():
        return "it is empty or has characters that can't be shown"
    faults = {
        "it has a separator, and would lead out of the folder": set("/\\:") & set(name),
        'it has one of <>"|?*, which not every system takes': set('<>"|?*') & set(name),
        "it begins or ends with a blank, or ends with a dot": name != name.strip(" ").rstrip("."),
        f"it has more than {MAX_NAME_BYTES} bytes": len(name.encode()) > MAX_NAME_BYTES,
        "its accents are separate characters (not NFC)": unicodedata.normalize("NFC", name) != name,
        "it is a device on Windows": name.partition(".")[0].rstrip().casefold() in _DEVICES,
    }
    return next((fault for fault, found in faults.items() if found), None)


def fault_of_names(names: Iterable[str], reserved: str) -> str | None:
    """What is wrong with names of files in one folder, of which none may be `reserved`, or None."""
    taken = {reserved.casefold(): reserved}
    for name in names:
        if (fault := fault_of_name(name)) is not None:
            return f"{name!r:.80} is not the name of a file in it: {fault}"
        other = taken.setdefault(name.casefold(), name)
        if other is not name:
            return f"{name!r:.80} and {other!r:.80} are one file on some systems"
    return None


def table_file(style: str) -> str:
    """The file of a pack that has what a style has of its own."""
    return f"{_TABLE_START}{style}{_TABLE_END}"


def style_of_table(name: str) -> str | None:
    """The style of such a file, by its name; None for another file."""
    style = name.removeprefix(_TABLE_START).removesuffix(_TABLE_END)
    return style if style and table_file(style) == name else None


def refuse_arguments(architecture: str, arguments: Mapping[str, Any]) -> None:
    """Raise `DecodingError` for arguments that a known architecture lacks, or out of bounds."""
    if architecture in _SHAPES:
        try:
            decoding.decode(arguments, _SHAPES[architecture])
        except DecodingError as error:
            raise DecodingError(f"architecture.arguments: {error}") from error
