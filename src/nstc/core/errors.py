"""The kinds of errors, each with the exit code of the process.

The CLI catches `NstcError` once, prints its message in one line and exits by its code.
"""

import contextlib
import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Final

_OUT_OF_MEMORY: Final = re.compile(
    r"out of memory|allocate memory|(cannot|can't|failed to|unable to) (map segment|allocate)"
    r"|allocation failed|requested bytes|bad[_ ]alloc|can't start new thread|\bMemoryError\b",
    re.IGNORECASE,
)
"""How libraries say it. No thread starts where memory, or a limit on their number, is used up."""


class NstcError(Exception):
    """Base of all errors that the user can fix. The message says what to do next."""

    exit_code: ClassVar[int] = 1

    def __init_subclass__(cls, *, exit_code: int | None = None) -> None:
        """Every kind of nstc's has its own code; those of other packages may inherit one."""
        if exit_code is not None:
            cls.exit_code = exit_code


class OptionError(NstcError, exit_code=3):
    """A flag or recipe value that is out of range, or two that contradict each other."""


class RecipeError(NstcError, exit_code=4):
    """A recipe file that is not TOML, or names keys that do not exist."""


class MissingExtraError(NstcError, exit_code=5):
    """A verb whose optional dependencies are not installed, or a file of nstc-models."""


class ExtensionError(NstcError, exit_code=6):
    """A part that another package adds to nstc and that can't be used."""


class ImageError(NstcError, exit_code=10):
    """A file that can't be read as a picture.

    `too_large` says that it may be one, but of more pixels than the limit allows.
    """

    def __init__(self, message: str, *, too_large: bool = False) -> None:
        super().__init__(message)
        self.too_large = too_large


class PhotosError(NstcError, exit_code=11):
    """A folder that holds no photographs, or too few."""


class BatchError(NstcError, exit_code=12):
    """Some of several pictures could not be stylised; the others are."""


class FetchError(NstcError, exit_code=13):
    """A URL or hub that gives no picture or model: not reachable, not allowed, past a limit.

    `no_answer` says that a hub did not answer at all.
    """

    def __init__(self, message: str, *, no_answer: bool = False) -> None:
        super().__init__(message)
        self.no_answer = no_answer


class VideoError(NstcError, exit_code=14):
    """A file or camera that gives no video, or one that can't be encoded as it was asked to."""


class DamagedVideoError(VideoError, exit_code=15):
    """A video that is truncated, or of which parts can't be decoded; the rest was stylised."""


class DisplayError(NstcError, exit_code=16):
    """A window or virtual camera that can't be opened, so that no frame can be shown."""


class AccessError(NstcError, exit_code=17):
    """An object store that refuses access: no credentials, or none with the rights it takes.

    `no_credentials` says that this machine has none, or none that the store accepts.
    """

    def __init__(self, message: str, *, no_credentials: bool = False) -> None:
        super().__init__(message)
        self.no_credentials = no_credentials


class BundleError(NstcError, exit_code=20):
    """A path that is not a bundle."""


class CorruptBundleError(BundleError, exit_code=21):
    """A bundle whose files are missing or differ from its manifest."""


class SchemaVersionError(BundleError, exit_code=22):
    """A bundle written by a newer nstc, or by an older one with parts that are gone."""


class ArtifactError(BundleError, exit_code=23):
    """A file that this bundle does not hold.

    Of one that nstc can make, `artifact` is its name and `path` the bundle. The message is what was
    `found`, and advice, which the command line replaces by a command.
    """

    def __init__(
        self, found: str, advice: str = "", *, artifact: str = "", path: Path | None = None
    ) -> None:
        super().__init__(f"{found} {advice}" if advice else found)
        self.found = found
        self.artifact = artifact
        self.path = path


class CheckpointError(NstcError, exit_code=30):
    """Weights that do not fit the architecture."""


class UnsafeFileError(CheckpointError, exit_code=31):
    """A file that would run code of its own if it were loaded."""


class TeacherError(NstcError, exit_code=32):
    """A teacher that can't be found, or is not an image-to-image network."""


class GraphLimitError(NstcError, exit_code=36):
    """A network made by others that crashes, or goes over --max-ram or --timeout, when tried."""


class UnusableModelError(NstcError, exit_code=33):
    """A model whose numbers are NaN or infinite, or whose pictures are one colour throughout."""


class OutputError(NstcError, exit_code=40):
    """A path that can't be written: missing rights, a full disk, a path under a file."""


class ServeError(NstcError, exit_code=41):
    """An address that can't be served on: a port in use, not of this machine, no certificate."""


class ClusterError(NstcError, exit_code=42):
    """A Ray cluster that does not answer, does not start, or whose workers can't run nstc."""


class DivergedError(NstcError, exit_code=50):
    """Training whose loss became infinite or not a number."""


class ExportMismatchError(NstcError, exit_code=51):
    """An exported file whose output differs from the network it came from."""


class MemoryCapError(NstcError, exit_code=52):
    """A network that needs more memory than the target may have."""


class TargetError(NstcError, exit_code=53):
    """A target that can't be reached, hangs, or sends invalid messages."""


class BudgetError(NstcError, exit_code=54):
    """A compressed model that is slower, larger or worse than the limits that were given."""


class MemoryLimitError(NstcError, exit_code=55):
    """A picture that can't be stylised within --max-ram; the message says the least it needs.

    Also where the machine, or a limit on the process, has no more memory. `needed_bytes` is 0 where
    it is not known.
    """

    def __init__(self, message: str, needed_bytes: int = 0) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes


class NoGainError(NstcError, exit_code=56):
    """A quantized file, written all the same, that is no better than the float one."""


class BaselineError(NstcError, exit_code=60):
    """A baseline that is not there, or can't be used in this way."""


class CorruptBaselineError(BaselineError, exit_code=61):
    """A file that is not a baseline, or lacks what every baseline has."""


class BaselineSchemaError(BaselineError, exit_code=62):
    """A baseline that an older or newer nstc wrote in another form."""


class Interrupted(NstcError, exit_code=130):  # noqa: N818  (it is the user's wish, not a fault)
    """Stopped by the user; the message says what was kept and how to resume."""


def out_of_memory(error: BaseException) -> MemoryLimitError | None:
    """What a library raised because there is no more memory; None for anything else.

    Not every library raises `MemoryError`: the loader, ONNX Runtime and torch say it in words.
    """
    reason = ""
    cause: BaseException | None = error
    while cause is not None and not reason:  # NumPy explains at length, and keeps the cause
        lines = str(cause).splitlines()
        reason = next((line.strip() for line in lines if _OUT_OF_MEMORY.search(line)), "")
        cause = cause.__cause__
    if not reason and not isinstance(error, MemoryError):
        return None
    return MemoryLimitError(
        f"there is not enough memory{f' ({reason[-150:]})' if reason else ''}: close other "
        "programs, raise the limit (ulimit -v, the container's), or give a smaller picture, --size "
        "or --max-ram."
    )


@contextlib.contextmanager
def memory_reported() -> Iterator[None]:
    """Raise `MemoryLimitError` for what a library raises in the block as it has no more memory."""
    try:
        yield
    except NstcError:
        raise
    except Exception as error:
        no_memory = out_of_memory(error)
        if no_memory is None:
            raise
        raise no_memory from error


def did_you_mean(given: str, known: Mapping[str, str], *, least: float = 0.6) -> str:
    """A question to end a message with: " Did you mean .jpg?", or nothing where none is near.

    `known` is what is compared, and how it is shown; `least` the similarity asked for, of 1.
    """
    near = difflib.get_close_matches(given, known, n=1, cutoff=least)
    near = near or [name for name in known if len(given) > 1 and name.startswith(given)]
    return f" Did you mean {known[near[0]]}?" if near else ""


def nearest_ending(given: str, known: Mapping[str, object]) -> str:
    """As `did_you_mean`, for the ending of a file such as .jgp."""
    return did_you_mean(given.lower().lstrip("."), {ending.lstrip("."): ending for ending in known})
