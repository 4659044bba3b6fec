"""Files that are not what their names say, told by their first bytes."""

from pathlib import Path

_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<error")
_JSON = (b'{"', b"{\n", b"[{")

HEAD_BYTES = 512
"""As many first bytes as are looked at."""


def wrong_file(path: Path, expected: str) -> str | None:
    """What a file is that came instead of a network, and what to do; None if that is not known.

    Args:
        path: The file; a folder is named too.
        expected: What it should be, such as "a checkpoint".

    Raises:
        OSError: it is not there or can't be read.
    """
    if path.is_dir():
        return f"{path} is a folder: give the file in it that is {expected}."
    with path.open("rb") as stream:
        start = stream.read(HEAD_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if path.stat().st_size == 0:
        return f"{path} is empty, damaged on its way: download or copy it again."
    if start.startswith(b"version https://git-lfs"):
        return (
            f"{path} is a Git LFS pointer, not the file it stands for: run `git lfs pull` in its "
            "repository, or download the file itself."
        )
    if start.startswith(_PAGES):
        return (
            f"{path} is a web page, not {expected}: the download gave a page, as links to log-in "
            "or preview pages do. Download the file itself."
        )
    if start.startswith(_JSON):
        return (
            f"{path} is JSON text, not {expected}: a server's answer or a settings file. "
            "Download the file itself."
        )
    return None
