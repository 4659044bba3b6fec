"""Bundles in a zip file behind an https address: https://HOST/BUNDLE.zip#sha256=HASH.

The hash says which content is meant, so what is kept is found by it, without the network.
"""

import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final
from urllib.parse import urldefrag, urlsplit

from nstc.core import errors, files
from nstc.core.manifest import MANIFEST_FILE, MAX_TOTAL_BYTES, fault_of_name
from nstc.core.remote import fetched_models
from nstc.core.remote.fetching import FetchLimits, fetch_into, shown_address

FORM: Final = "https://HOST/BUNDLE.zip#sha256=HASH"
MAX_MEMBERS: Final = 2000
MAX_SECONDS: Final = 900.0  # for all of a zip file
_MAX_DIRECTORY_BYTES: Final = 4_000_000  # what a zip file says of its members
_HASH: Final = re.compile(r"sha256=([0-9a-fA-F]{64})")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_END: Final = 22  # bytes of the record that ends a zip file without a comment
_LARGE: Final = b"PK\x06\x07"  # begins the record before it, of zip files above 4 GB
_PACKED: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_CHUNK: Final = 1 << 20
_DAMAGED: Final = (  # what zipfile raises of bytes that are no zip file
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    OSError,
)
_given: Final[dict[str, str]] = {}  # by hashes, how the names that this process got first are shown


def local_path(text: str) -> Path:
    """The folder of the bundle behind an address, fetched if its hash is not kept yet.

    Raises:
        BundleError: it is no such address, has no hash, or the file holds no bundle.
        FetchError: it can't be fetched, is too large, or has another hash.
        CorruptBundleError: the zip file is damaged or names what no bundle may hold, and others, as
            `fetched_models.keep_bundle`.
    """
    shown = shown_address(text).partition("#")[0]
    behind = shown.rpartition("@")[2]  # without a password that it may hold
    try:
        address, fragment = urldefrag(text)
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError as error:
        raise errors.BundleError(f"{behind!r:.120} is not an address: expected {FORM}.") from error
    if "@" in parts.netloc:
        raise errors.BundleError(
            f"the address at {behind!r:.120} holds a user or a password, and none is ever sent: "
            f"expected {FORM}."
        )
    on_this_machine = host in _LOOPBACK
    if parts.scheme != "https" and not on_this_machine:
        raise errors.BundleError(f"{shown} is not fetched: expected {FORM}.")
    if not parts.path.lower().endswith(".zip"):
        raise errors.BundleError(f"{shown} does not name a zip file: expected {FORM}.")
    found = _HASH.fullmatch(fragment)
    if found is None:
        raise errors.BundleError(
            f"{shown} needs the file's hash, which says that it is the one you mean: {FORM}. "
            "Its author should tell it; of a file that you trust  sha256sum FILE  prints it."
        )
    digest = found[1].lower()
    place = Path("zip", digest)
    kept = fetched_models.kept_bundle(place)
    found_at = kept or _fetched(address, shown, digest, place, on_this_machine=on_this_machine)
    _given.setdefault(digest, shown_name(text))
    return found_at


def kept_path(text: str) -> Path | None:
    """The folder of the bundle that an address's hash means, if it is kept; nothing is fetched.

    `BundleError` if it has no hash.
    """
    found = _HASH.fullmatch(text.rpartition("#")[2])
    if found is None:
        raise errors.BundleError(
            f"{shown_name(text)} has no fixed content, and only what has is opened where a file "
            f"names it: expected a hub's commit, or {FORM}."
        )
    return fetched_models.kept_bundle(Path("zip", found[1].lower()))


def shown_name(text: str) -> str:
    """An address as results have it: without its query, which may be a token.

    By the hash behind it, it leads to what is kept all the same.
    """
    address, mark, digest = shown_address(text).partition("#")
    return address + mark + digest.lower()


def name_of(path: Path) -> str | None:
    """As `shown_name`, how this process was given a bundle; by where it is kept, else None."""
    place = fetched_models.place_of(path)
    return None if place is None or place.parts[:-1] != ("zip",) else _given.get(place.name)


def _fetched(address: str, shown: str, digest: str, place: Path, *, on_this_machine: bool) -> Path:
    limits = FetchLimits(
        max_bytes=MAX_TOTAL_BYTES,
        timeout_s=MAX_SECONDS,
        allow_private=on_this_machine,
        accept="application/zip, */*",
        https_alone=True,
        has_flags=False,
    )
    with files.scratch_folder() as folder:
        path = folder / "bundle.zip"
        with path.open("wb") as sink:
            fetch_into(sink, address, limits)
        if (actual := files.sha256_of(path)) != digest:
            raise errors.FetchError(
                f"{shown} has the sha256 {actual}, not the one that was given: it is another "
                "file, or was changed. Ask its author."
            )
        with path.open("rb") as stream:
            bundle = _ZippedBundle.open(stream, shown)
            return fetched_models.keep_bundle(place, shown, bundle.fetch)


class _ZippedBundle:
    """The files of one bundle in a zip file."""

    def __init__(self, archive: zipfile.ZipFile, prefix: str, shown: str) -> None:
        self._archive, self._prefix, self._shown = archive, prefix, shown

    @staticmethod
    def open(stream: IO[bytes], shown: str) -> "_ZippedBundle":
        """Check the names of all members, before any is read."""
        _refuse_large_directory(stream, shown)
        try:
            archive = zipfile.ZipFile(stream)
        except _DAMAGED as error:
            raise errors.CorruptBundleError(f"{shown} is not a zip file: {error}.") from error
        names: dict[str, str] = {}
        for member in archive.infolist():
            if (fault := _fault_of(member)) is not None:
                raise errors.CorruptBundleError(
                    f"{shown} holds {member.orig_filename!r:.80}, which is not unpacked: {fault}."
                )
            if names.setdefault(member.filename.casefold(), member.filename) is not member.filename:
                raise errors.CorruptBundleError(
                    f"{shown} holds {member.filename!r:.80} twice: which is meant can't be told."
                )
        manifests = [
            path
            for path in map(PurePosixPath, archive.namelist())
            if path.name == MANIFEST_FILE and len(path.parts) <= 2
        ]
        if len(manifests) != 1:
            raise errors.BundleError(
                f"{shown} holds {len(manifests) or 'no'} {MANIFEST_FILE}: expected one, at its "
                "top or in its only folder."
            )
        return _ZippedBundle(archive, str(manifests[0])[: -len(MANIFEST_FILE)], shown)

    def fetch(self, file: str, most_bytes: int, path: Path) -> None:
        """Write a file of the bundle to a path, see `fetched_models.Fetch`."""
        try:
            member = self._archive.getinfo(self._prefix + file)
        except KeyError as error:
            message = f"{self._shown} holds no {file}, which its manifest names."
            raise errors.CorruptBundleError(message) from error
        too_large = errors.CorruptBundleError(
            f"{self._shown}: {file} is larger than it may be, {most_bytes} bytes: not unpacked."
        )
        if member.file_size > most_bytes:
            raise too_large
        left = most_bytes
        with path.open("wb") as sink:
            for chunk in self._unpacked(member, file):
                left -= len(chunk)
                if left < 0:
                    raise too_large
                sink.write(chunk)

    def _unpacked(self, member: zipfile.ZipInfo, file: str) -> Iterator[bytes]:
        """The bytes of a member; what goes wrong where they are written is not the zip file's."""
        try:
            with self._archive.open(member) as packed:
                while chunk := packed.read(_CHUNK):
                    yield chunk
        except _DAMAGED as error:
            message = f"{self._shown} is damaged: {file} can't be unpacked: {error}."
            raise errors.CorruptBundleError(message) from error


def _refuse_large_directory(stream: IO[bytes], shown: str) -> None:
    """Refuse a zip file whose list of members, which is read whole, is longer than a bundle's."""
    stream.seek(0, 2)
    size = stream.tell()
    stream.seek(max(0, size - _END - 20))
    last = stream.read()
    end = last[-_END:]
    if len(end) < _END or end[:4] != b"PK\x05\x06" or end[-2:] != b"\0\0":
        raise errors.CorruptBundleError(
            f"{shown} is not a zip file, or has a comment or other bytes at its end: pack the "
            "bundle again."
        )
    members, directory = int.from_bytes(end[10:12], "little"), int.from_bytes(end[12:16], "little")
    if members > MAX_MEMBERS or directory > _MAX_DIRECTORY_BYTES or last[:4] == _LARGE:
        raise errors.CorruptBundleError(
            f"{shown} holds more than {MAX_MEMBERS} files: expected those of one bundle."
        )


def _fault_of(member: zipfile.ZipInfo) -> str | None:
    """Why a member of a zip file is not taken, in words."""
    name = member.orig_filename
    if name != member.filename or "\\" in name or name.startswith("/"):
        return "its name would lead out of the folder"
    for part in name.removesuffix("/").split("/"):
        if part in {"", ".", ".."}:
            return "its name would lead out of the folder"
        if (fault := fault_of_name(part)) is not None:
            return fault
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "it is a link or a device"
    if member.flag_bits & 1:
        return "it is encrypted"
    if member.compress_type not in _PACKED:
        return "it is packed in a way that bundles are not: expected deflate, or nothing"
    return None
