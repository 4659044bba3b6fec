"""Reading a file of weights that someone else saved: none of its code is run.

Errors say what the file is instead. `torch.load` reads with `weights_only=True`, without a
fallback. Harmless objects that training scripts put beside the weights (a NumPy scalar, a path, the
command line's flags) become stand-ins that hold nothing and run nothing. What a pickle names and
how deep it is nested is found before, by reading its instructions and running none.
"""

import contextlib
import io
import pickletools
import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, ClassVar, Final, NamedTuple

import torch
from safetensors import SafetensorError
from torch.serialization import MAGIC_NUMBER

from nstc.core.errors import CheckpointError, UnsafeFileError
from nstc.core.unusable_models import wrong_file
from nstc.models.tensors import read_safetensors

# Of a file, and of what it says it unpacks to. A full-size style network has 7 MB.
LARGEST_BYTES: Final = 2 * 2**30
# Of a pickle that is read. Beside tensors, which it only names, it may hold NumPy arrays.
LARGEST_PICKLE: Final = 256 * 2**20
# A state dict has some thousands, and a history of losses one for each. Their reader is slow, and
# each may make an object.
MOST_INSTRUCTIONS: Final = 500_000
# Python ends the process when it is asked for the hash of one that is nested very deep.
_DEEPEST_TUPLE: Final = 100

_SHOWN: Final = 3  # names in a message
_ADVICE: Final = "Save the state dict alone: torch.save(network.state_dict(), FILE)."
_OVERLONG: Final = f"holds far more beside the values of its tensors than weights need. {_ADVICE}"
_NOT_TORCHS: Final = "is damaged, or not a file that torch.save wrote"
_RENAMED: Final = {"__builtin__": "builtins", "copy_reg": "copyreg"}
# What reading a damaged archive or pickle raises.
_DAMAGED: Final = (
    *(ValueError, LookupError, OSError, EOFError, TypeError, OverflowError, MemoryError),
    *(RuntimeError, StopIteration, zipfile.BadZipFile),
)


class OverlongPickleError(Exception):
    """A pickle of too many instructions, or of tuples too deep in one another.

    It would take minutes to read, and gigabytes, or end the process.
    """


@dataclass
class Pickle:
    """What a pickle says of itself, found without running it."""

    names: set[str] = field(default_factory=set)  # classes and functions it names
    protocol: int = 0  # its version
    whole: bool = False  # whether its end was found
    magic: bool = False  # whether it is the first one of torch.save's older format

    def scan(self, stream: IO[bytes]) -> None:
        """Read it up to its end; `ValueError` or `IndexError` if it is damaged, or not a pickle."""
        # A stack machine without values: of each it keeps its text and how deep tuples nest in it.
        stack: list[_Value | None] = []  # None is a mark
        memo: dict[int, _Value | None] = {}
        for number, (code, argument, _) in enumerate(pickletools.genops(stream), start=1):
            if number > MOST_INSTRUCTIONS:
                raise OverlongPickleError
            if code.name == "PROTO":
                self.protocol = int(argument or 0)
            elif code.name in {"GLOBAL", "INST"}:
                module, _, name = str(argument).partition(" ")
                self.names.add(f"{_RENAMED.get(module, module)}.{name}")
            elif code.name == "STACK_GLOBAL":
                self.names.add(".".join(str(value and value.text) for value in stack[-2:]))
            elif code.name.endswith("PUT") or code.name == "MEMOIZE":
                memo[len(memo) if argument is None else int(argument)] = stack[-1]
                continue
            made = memo.get(int(argument or 0)) if code.name.endswith("GET") else None
            taken = _taken(stack, code)
            if code.name.startswith("TUPLE"):
                made = _Value(1 + max((value.depth for value in taken if value), default=0))
                if made.depth > _DEEPEST_TUPLE:
                    raise OverlongPickleError
            if code.name == "MARK":
                stack.append(None)
            else:
                made = made or _Value(0, argument if isinstance(argument, str) else None)
                stack.extend([made] * len(code.stack_after))
            self.magic |= argument == MAGIC_NUMBER
        self.whole = True


class _Value(NamedTuple):
    """A value on the scan's stack."""

    depth: int  # of tuples nested in it
    text: str | None = None


def _taken(stack: list[_Value | None], code: pickletools.OpcodeInfo) -> list[_Value | None]:
    """Take off the stack what an instruction takes."""
    before = code.stack_before
    if pickletools.stackslice not in before:
        return [stack.pop() for _ in before]
    taken: list[_Value | None] = list(iter(stack.pop, None))  # up to the mark
    for _ in range(before.index(pickletools.markobject)):
        stack.pop()
    return taken


def pickles_of(path: Path) -> list[Pickle]:
    """The pickles of a file of torch.save, or a bare one, as far as they can be read.

    `OverlongPickleError` if one must not be read.
    """
    found: list[Pickle] = []
    with contextlib.suppress(*_DAMAGED):  # what came before the damage is found
        if zipfile.is_zipfile(path):
            count = 1
            with zipfile.ZipFile(path) as archive:
                name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
                with archive.open(name) as packed:
                    content = packed.read(LARGEST_PICKLE + 1)
            if len(content) > LARGEST_PICKLE:
                raise OverlongPickleError
        else:
            # The older format: a number that marks it, its version, the machine, what was saved.
            count = 4
            with path.open("rb") as file:
                content = file.read(LARGEST_PICKLE)
        stream = io.BytesIO(content)  # in memory a false length gets no more than there is
        for _ in range(count):
            found.append(Pickle())
            found[-1].scan(stream)
    return found


class StandIn:
    """What a harmless Python object in a checkpoint is read as: it ignores all it is given."""

    kind: ClassVar[str]

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class _PlainDict:
    def __new__(cls, *_: object) -> Any:
        return OrderedDict()


class _PlainList:
    def __new__(cls, *_: object) -> Any:
        return []


def _kind(name: str) -> type[StandIn]:
    return type("StandIn", (StandIn,), {"kind": name})


_NUMPY: Final = ("numpy.core.multiarray", "numpy._core.multiarray")
_PATHS: Final = ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath")
_OTHER_CLASSES: Final = (
    *("argparse.Namespace", "types.SimpleNamespace", "torch.torch_version.TorchVersion"),
    *("datetime.datetime", "datetime.date", "datetime.timedelta", "decimal.Decimal"),
    *("fractions.Fraction", "uuid.UUID", "builtins.range", "builtins.slice", "builtins.frozenset"),
    *(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "str")),
)
_ARRAY, _SCALAR, _PATH = _kind("a NumPy array"), _kind("a NumPy scalar"), _kind("a path")
# Classes and functions that are not called: in their place stands what is read instead.
_HARMLESS: Final[dict[str, type]] = {
    **{f"{module}._reconstruct": _ARRAY for module in _NUMPY},
    **{f"{module}.scalar": _SCALAR for module in _NUMPY},
    "numpy.ndarray": _ARRAY,
    "numpy.dtype": _kind("a NumPy dtype"),
    **{f"{module}.{name}": _PATH for module in ("pathlib", "pathlib._local") for name in _PATHS},
    **{name: _kind(f"a {name.rpartition('.')[2]}") for name in _OTHER_CLASSES},
    "collections.defaultdict": _PlainDict,
    "collections.deque": _PlainList,
    "easydict.EasyDict": _PlainDict,
    "lightning_fabric.utilities.data.AttributeDict": _PlainDict,
    "lightning.fabric.utilities.data.AttributeDict": _PlainDict,
    "pytorch_lightning.utilities.parsing.AttributeDict": _PlainDict,
}
# What torch's safe reader loads by itself.
_TORCHS_OWN: Final = re.compile(
    r"torch\.(_utils\._rebuild\w*|_tensor\._rebuild\w*|\w*Storage|storage\.\w*Storage|Tensor|Size|"
    r"device|serialization\._get_layout|nn\.parameter\.Parameter|\w*int\d+|\w*float\d\w*|bool|"
    r"complex\d+|per_\w+|\w+Tensor)|"
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.set"
)

_ZIP: Final = b"PK\x03\x04"
_PACKED: Final = "unpack it, and give the checkpoint in it."
_MAGIC: Final = {
    b"\x1f\x8b": f"compressed by gzip: {_PACKED}",
    b"BZh": f"compressed by bzip2: {_PACKED}",
    b"\xfd7zXZ": f"compressed by xz: {_PACKED}",
    b"7z\xbc\xaf\x27\x1c": f"a 7-Zip archive: {_PACKED}",
    b"Rar!": f"a RAR archive: {_PACKED}",
    b"\x89HDF": "an HDF5 file, as Keras writes: export that network to ONNX for nstc distill.",
    b"GGUF": "a GGUF file, not a checkpoint that torch.save wrote.",
    b"\x93NUMPY": f"a NumPy array, not a checkpoint. {_ADVICE}",
}
_WEIGHTS: Final = (".pth", ".pt", ".ckpt", ".model", ".bin", ".safetensors", ".t7", ".pkl")


def read_checkpoint(path: Path) -> Any:
    """The content of a file of weights: mappings of names to tensors, nested as they were saved.

    It is a safetensors file, or one of `torch.save`, in the zip format or the older one.
    `CheckpointError` says what it is if it is something else, damaged or too large;
    `UnsafeFileError` if reading it would run code.
    """
    if not (path.is_file() or path.is_dir()):
        raise CheckpointError(f"no checkpoint at {path}: there is no such file.")
    wrong = wrong_file(path, "a checkpoint")
    if wrong is not None:
        raise CheckpointError(wrong)
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        raise CheckpointError(
            f"{path} has {size / 2**30:.1f} GiB, at most {LARGEST_BYTES / 2**30:.0f} are read. "
            f"{_ADVICE}"
        )
    with path.open("rb") as stream:
        head = stream.read(1024)
    if path.suffix == ".safetensors" or (head[8:9] == b"{" and head[5:8] == b"\0\0\0"):
        try:
            return read_safetensors(path)
        except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(
                f"{path} is damaged, or not a safetensors file: {reason}. Download or copy it "
                "again."
            ) from error
    _refuse_by_content(path, head)
    try:
        pickles = pickles_of(path)
    except OverlongPickleError as error:
        raise CheckpointError(f"{path} {_OVERLONG}") from error
    allowed = [(kind, name) for name, kind in _HARMLESS.items()]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):  # type: ignore[arg-type]
            warnings.simplefilter("ignore")  # of what is not a checkpoint, which is said below
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle makes torch's reader raise almost anything
        _explain(path, pickles, error)
        raise CheckpointError(f"{path} {_NOT_TORCHS}. Download or copy it again.") from error


def _refuse_by_content(path: Path, head: bytes) -> None:
    """Name what is not a checkpoint, by its first bytes."""
    for magic, what in _MAGIC.items():
        if head.startswith(magic):
            raise CheckpointError(f"{path} is {what}")
    if path.suffix.lower() == ".onnx" or (head[:1] == b"\x08" and head[2:3] in {b"\x12", b"\x1a"}):
        raise CheckpointError(
            f"{path} is an ONNX file, not a checkpoint: give it to nstc distill instead."
        )
    if head[257:262] == b"ustar":
        raise CheckpointError(f"{path} is a tar archive: unpack it, and give the checkpoint in it.")
    if head.startswith(_ZIP) or zipfile.is_zipfile(path):  # which may have anything in front
        _refuse_zip(path)


def _refuse_zip(path: Path) -> None:
    """Refuse zip archives that torch did not write, and those that unpack to far more."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} {_NOT_TORCHS}: it begins as one and breaks off. Download or copy it again."
        ) from error
    names = [entry.filename for entry in entries]
    if any("/code/" in name for name in names):
        raise CheckpointError(
            f"{path} is TorchScript, not a checkpoint: give it to nstc distill --trust."
        )
    if not any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        inside = [name for name in names if name.lower().endswith(_WEIGHTS)]
        if inside:
            listed = ", ".join(inside[:_SHOWN]) + (", ..." if len(inside) > _SHOWN else "")
            counted = "1 checkpoint" if len(inside) == 1 else f"{len(inside)} checkpoints"
            raise CheckpointError(
                f"{path} is a zip archive of {counted} ({as_one_line(listed)}): unpack it, and "
                "give one of them."
            )
        if any(name.endswith(".npy") for name in names):
            raise CheckpointError(f"{path} is an archive of NumPy arrays (.npz). {_ADVICE}")
        raise CheckpointError(f"{path} {_NOT_TORCHS}: a zip archive without the data.pkl of one.")
    if any(e.file_size > LARGEST_PICKLE for e in entries if e.filename.endswith(".pkl")):
        raise CheckpointError(f"{path} {_OVERLONG}")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise CheckpointError(
            f"{path} was compressed after torch.save wrote it: unpack it and store it uncompressed "
            "(zip -0), or save it again."
        )
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > min(LARGEST_BYTES, 2 * path.stat().st_size):
        raise CheckpointError(
            f"{path} is damaged: its parts are said to have {unpacked} bytes in all, and the file "
            f"has {path.stat().st_size}."
        )


def _explain(path: Path, pickles: Sequence[Pickle], error: Exception) -> None:
    """Raise a nearer reason for what torch's safe reader refused, if there is one."""
    names = set().union(*(found.names for found in pickles)) - _HARMLESS.keys()
    unknown = sorted(name for name in names if not _TORCHS_OWN.fullmatch(name))
    bare = bool(pickles) and pickles[0].whole and not pickles[0].magic
    bare = bare and not zipfile.is_zipfile(path)
    # torch's words of what it does not load, as against what it can't read
    refused = re.search("Unsupported|GLOBAL|Can only|unrecognized function", str(error))
    if unknown and (refused or bare):
        others = " and others" if len(unknown) > _SHOWN else ""
        what = as_one_line(", ".join(unknown[:_SHOWN]) + others)
        if any(name.startswith("torch.nn.modules.") for name in unknown):
            what = f"a whole network, not its weights alone ({what})"
        raise UnsafeFileError(
            f"{path} was not loaded: rebuilding what it holds, {what}, would run code. {_ADVICE}"
        ) from error
    if bare:
        raise CheckpointError(
            f"{path} is a bare pickle, as pickle.dump writes, not a file of torch.save. {_ADVICE}"
        ) from error
    protocol = max((found.protocol for found in pickles), default=2)
    if "Unsupported operand" in str(error) and protocol > 2:
        raise CheckpointError(
            f"{path} was saved with pickle protocol {protocol}, and torch's safe reader takes only "
            "2: save it again without pickle_protocol, or as safetensors."
        ) from error


def as_one_line(text: str) -> str:
    """Names out of a file, as one line of bounded length."""
    return "".join(c if c.isprintable() else "?" for c in text[:300])
