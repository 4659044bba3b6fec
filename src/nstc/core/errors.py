"""Everything nstc can say went wrong, each kind with the exit code of the process.

    NstcError                 1
    ├── OptionError           3   a flag or recipe value out of range, or two that contradict
    ├── RecipeError           4   a recipe file that can't be used
    ├── MissingExtraError     5   an optional part of nstc is not installed
    ├── ImageError           10   a file that can't be read as a picture
    ├── PhotosError          11   a folder without photographs
    ├── BatchError           12   some of several pictures that could not be made; the rest are
    ├── FetchError           13   an address that gives no picture
    ├── VideoError           14   a file or camera that gives no video, or one that can't be written
    │   └── DamagedVideoError    15   a video of which parts can't be read; the rest is done
    ├── BundleError          20   a path that is not a bundle
    │   ├── CorruptBundleError   21   a file that is missing or not what the manifest says
    │   ├── SchemaVersionError   22   written by a newer nstc, or one whose parts are gone
    │   └── ArtifactError        23   a file the bundle does not hold
    ├── CheckpointError      30   weights of another architecture
    │   └── UnsafeFileError      31   a file that would run code when loaded
    ├── TeacherError         32   a teacher that can't be found or is not an image-to-image network
    ├── UnusableModelError   33   weights or pictures that are not finite, or one colour throughout
    ├── GraphLimitError      36   a network that goes over --max-ram or --timeout when it is tried
    ├── OutputError          40   a place that can't be written
    ├── DivergedError        50   training that ran into infinities
    ├── ExportMismatchError  51   an exported file that differs from the network it came from
    ├── MemoryCapError       52   a network that needs more memory than --memory-cap allows
    ├── TargetError          53   a place to measure that can't be reached or answers nonsense
    ├── BudgetError          54   a compressed model that breaks its --budget
    ├── MemoryLimitError     55   what needs more memory than --max-ram allows, or than there is
    ├── NoGainError          56   a quantized file that is no faster, or no smaller, than float
    ├── BaselineError        60   a baseline that is not there
    │   ├── CorruptBaselineError  61   a file that is not a baseline, or half of one
    │   └── BaselineSchemaError   62   a baseline of an older or newer form
    └── Interrupted         130   stopped by the user, with what was done kept

The CLI catches `NstcError` once, prints its message in one line and exits by its code.
"""

import re
from typing import ClassVar, Final

_OUT_OF_MEMORY: Final = re.compile(
    r"out of memory|allocate memory|(cannot|can't|failed to|unable to) (map segment|allocate)"
    r"|allocation failed|requested bytes|bad[_ ]alloc|can't start new thread|\bMemoryError\b",
    re.IGNORECASE,
)
"""How libraries say it. That of threads is for want of memory, or of a limit on their number."""


class NstcError(Exception):
    """Base of all errors that are the user's to mend. The message says what to do next."""

    exit_code: ClassVar[int] = 1


class OptionError(NstcError):
    """A flag or recipe value that is out of range, or two that contradict each other."""

    exit_code = 3


class RecipeError(NstcError):
    """A recipe file that is not TOML, or names keys that do not exist."""

    exit_code = 4


class MissingExtraError(NstcError):
    """A verb whose optional dependencies are not installed."""

    exit_code = 5


class ImageError(NstcError):
    """A file that can't be read as a picture."""

    exit_code = 10


class PhotosError(NstcError):
    """A folder that holds no photographs, or too few."""

    exit_code = 11


class BatchError(NstcError):
    """Some of several pictures could not be made; the others are."""

    exit_code = 12


class FetchError(NstcError):
    """An address that gives no picture: not reachable, not allowed, or past a limit."""

    exit_code = 13


class VideoError(NstcError):
    """A file or camera that gives no video, or one that can't be encoded as it was asked to."""

    exit_code = 14


class DamagedVideoError(VideoError):
    """A video that breaks off, or of which parts can't be decoded; the rest was stylised."""

    exit_code = 15


class BundleError(NstcError):
    """A path that is not a bundle."""

    exit_code = 20


class CorruptBundleError(BundleError):
    """A bundle whose files are missing or differ from its manifest."""

    exit_code = 21


class SchemaVersionError(BundleError):
    """A bundle written by a newer nstc, or by an older one with parts that are gone."""

    exit_code = 22


class ArtifactError(BundleError):
    """A file that this bundle does not hold."""

    exit_code = 23


class CheckpointError(NstcError):
    """Weights that do not fit the architecture."""

    exit_code = 30


class UnsafeFileError(CheckpointError):
    """A file that would run code of its own if it were loaded."""

    exit_code = 31


class TeacherError(NstcError):
    """A teacher that can't be found, or is not an image-to-image network."""

    exit_code = 32


class GraphLimitError(NstcError):
    """A network that did not come with nstc and can't be opened and tried within limits.

    It goes over --max-ram or --timeout, or crashes.
    """

    exit_code = 36


class UnusableModelError(NstcError):
    """A model whose numbers are NaN or infinite, or whose pictures are one colour throughout."""

    exit_code = 33


class OutputError(NstcError):
    """A place that can't be written: missing rights, a full disk, a path under a file."""

    exit_code = 40


class DivergedError(NstcError):
    """Training whose loss became infinite or not a number."""

    exit_code = 50


class ExportMismatchError(NstcError):
    """An exported file whose output differs from the network it came from."""

    exit_code = 51


class MemoryCapError(NstcError):
    """A network that needs more memory than the target may have."""

    exit_code = 52


class TargetError(NstcError):
    """A place to measure that can't be reached, hangs, or answers with rubbish."""

    exit_code = 53


class BudgetError(NstcError):
    """A compressed model that costs more, or is worth less, than it was asked to."""

    exit_code = 54


class MemoryLimitError(NstcError):
    """A picture that can't be stylised within --max-ram; the message says the least it needs.

    The command line also ends by it where the machine, or a limit set on the process, has no more.

    Args:
        message: In one line.
        needed_bytes: The least; 0 where it is not known.
    """

    exit_code = 55

    def __init__(self, message: str, needed_bytes: int = 0) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes


def out_of_memory(error: BaseException) -> MemoryLimitError | None:
    """What a library raised because there is no more memory; None for anything else.

    Not every library raises `MemoryError`: the loader, ONNX Runtime and torch say it in words.
    """
    said = ""
    link: BaseException | None = error
    while link is not None and not said:  # NumPy explains at length, and says whose error it was
        said = next((line for line in str(link).splitlines() if _OUT_OF_MEMORY.search(line)), "")
        link = link.__cause__
    if not said and not isinstance(error, MemoryError):
        return None
    return MemoryLimitError(
        f"there is not enough memory{f' ({said.strip()[-150:]})' if said else ''}: close other "
        "programs, raise the limit (ulimit -v, the container's), or give a smaller picture, --size "
        "or --max-ram."
    )


class NoGainError(NstcError):
    """A quantized file, written all the same, that gives nothing over the float one."""

    exit_code = 56


class BaselineError(NstcError):
    """A baseline that is not there, or can't be used as it was asked to."""

    exit_code = 60


class CorruptBaselineError(BaselineError):
    """A file that is no baseline, or lacks what every baseline has."""

    exit_code = 61


class BaselineSchemaError(BaselineError):
    """A baseline that an older or newer nstc wrote in another form."""

    exit_code = 62


class Interrupted(NstcError):  # noqa: N818  (it is the user's wish, not a fault)
    """Stopped by the user; the message says what was kept and how to go on."""

    exit_code = 130
