"""A link as a QR code on a terminal, for the camera of a phone."""

import importlib.util
import io
import shutil
from typing import IO


def terminal_code(link: str, stream: IO[str]) -> str:
    """The lines of the code, each with its end; none where the link alone has to do.

    So it is where the stream is no terminal, or one that lacks the characters or the columns, and
    where segno, a part of `nstc[serve]`, is not installed.
    """
    encoding = (getattr(stream, "encoding", None) or "").lower()
    if not (stream.isatty() and encoding.startswith("utf")):
        return ""
    if importlib.util.find_spec("segno") is None:
        return ""
    import segno

    lines = io.StringIO()
    code = segno.make(link, micro=False)
    code.terminal(lines, compact=True)
    width, _height = code.symbol_size()  # with the margin that readers need
    return lines.getvalue() if width <= shutil.get_terminal_size().columns else ""
