"""Pictures through standard input and output."""

import os
import sys

from nstc.core.errors import ImageError, OptionError, OutputError


def read_standard_input(max_bytes: int) -> bytes:
    """All that is piped in.

    Raises:
        OptionError: nothing is: it is a terminal.
        ImageError: there is more than `max_bytes`.
    """
    if sys.stdin.isatty():
        raise OptionError("- is standard input, which is a terminal: pipe a picture into it.")
    content = sys.stdin.buffer.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ImageError(
            f"standard input holds more than {max_bytes / 1e6:g} MB: raise --max-download-mb."
        )
    return content


def refuse_terminal_output() -> None:
    """Raise `OptionError` if standard output is a terminal, which a picture would upset."""
    if sys.stdout.isatty():
        raise OptionError("-o - is a terminal: send it to a file or a program.")


def write_standard_output(content: bytes) -> None:
    """Write it all, at once.

    Raises:
        OutputError: whoever reads it went away, or there is no room.
    """
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except OSError as error:
        # what is left in the buffer would fail once more when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OutputError(f"cannot write standard output: {error.strerror}.") from error
