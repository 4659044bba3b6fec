"""Names of files in a bundle: one plain name that means the same file on every system."""

import unicodedata
from collections.abc import Iterable
from typing import Final

MAX_BYTES: Final = 200
"""Of a name in UTF-8. File systems take 255, and drafts beside a file have longer names."""

_SEPARATORS: Final = frozenset("/\\:")
_NOT_ON_WINDOWS: Final = frozenset('<>"|?*')
_PORTS: Final = (f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")
_DEVICES: Final = frozenset(("con", "prn", "aux", "nul", "conin$", "conout$", "clock$", *_PORTS))
"""What Windows opens instead of a file, whatever the ending behind it."""


def fault_of_name(name: str) -> str | None:
    """Why a name is not one plain file name, as the end of "NAME is not ...: "; None if it is."""
    if not name or not name.isprintable():
        return "it is empty or has characters that can't be shown"
    if _SEPARATORS & set(name):
        return "it has a separator of folders or drives, and would lead out of the folder"
    if _NOT_ON_WINDOWS & set(name):
        return 'it has one of <>"|?*, which not every system takes'
    if name != name.strip() or name.endswith("."):
        return "it begins or ends with a blank, or ends with a dot"
    if len(name.encode()) > MAX_BYTES:
        return f"it has more than {MAX_BYTES} bytes"
    if unicodedata.normalize("NFC", name) != name:
        return "its accents are characters of their own (it is not in Unicode's form NFC)"
    if name.partition(".")[0].rstrip().casefold() in _DEVICES:
        return "it is the name of a device on Windows"
    return None


def fault_of_names(names: Iterable[str], reserved: str) -> str | None:
    """What is wrong with the names of files that lie in one folder, None if nothing is.

    Args:
        names: Of the files.
        reserved: A name that none of them may have.
    """
    taken = {reserved.casefold(): reserved}
    for name in names:
        fault = fault_of_name(name)
        if fault is not None:
            return f"{name!r:.80} is not the name of a file in it: {fault}"
        other = taken.setdefault(name.casefold(), name)
        if other is not name:
            return f"{name!r:.80} and {other!r:.80} are one file on some systems"
    return None
