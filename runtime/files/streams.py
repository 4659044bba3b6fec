"""Pictures through standard input and output."""

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import IO, Any, Final

from nstc.core.errors import ImageError, OptionError, OutputError

_WHY: Final = {
    errno.EBADF: "it is closed. Open it, or send it to a file",
    errno.EPIPE: "the program that read it has ended",
    errno.ENOSPC: "No space left on device. Choose a place with room",
}


def read_standard_input(max_bytes: int) -> bytes:
    """All that is piped in.

    Raises:
        OptionError: nothing is: it is a terminal, or closed.
        ImageError: there is more than `max_bytes`, or reading it fails.
    """
    if sys.stdin is None or sys.stdin.isatty():
        kind = "closed" if sys.stdin is None else "a terminal"
        raise OptionError(f"- is standard input, which is {kind}: pipe a picture into it.")
    try:
        content = sys.stdin.buffer.read(max_bytes + 1) or b""  # None: it waits for no writer
    except OSError as error:
        raise ImageError(f"standard input can't be read: {error.strerror or error}.") from error
    if len(content) > max_bytes:
        raise ImageError(
            f"standard input holds more than {max_bytes / 1e6:g} MB: raise --max-download-mb."
        )
    return content


def refuse_terminal_output() -> None:
    """Raise `OptionError` if standard output is a terminal, which can't show a file's bytes."""
    if sys.stdout is not None and sys.stdout.isatty():
        raise OptionError("-o - is a terminal: send it to a file or a program.")


def write_standard_output(encode: Callable[[IO[bytes]], object]) -> None:
    """Write all that is encoded, at once; `OutputError` if it can't be written."""
    encoded = io.BytesIO()
    encode(encoded)
    if sys.stdout is None:
        raise unwritable_output(OSError(errno.EBADF, os.strerror(errno.EBADF)))
    try:
        sys.stdout.buffer.write(encoded.getvalue())
        sys.stdout.buffer.flush()
    except OSError as error:
        discard_the_rest(sys.stdout)
        raise unwritable_output(error) from error


def unwritable_output(error: OSError) -> OutputError:
    """What to say where standard output can't be written."""
    why = _WHY.get(error.errno or 0, error.strerror or str(error))
    return OutputError(f"cannot write standard output: {why}.")


def discard_the_rest(stream: IO[Any]) -> None:
    """Redirect a stream that can't be written to the null device."""
    # what is left in its buffer would fail once more when Python ends, with a traceback
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
