"""Pictures and lists in object stores, by addresses such as s3://bucket/key, through fsspec.

Unlike http addresses, which `nstc.core.remote.fetching` reads, these are read and written with
the user's own credentials, so only what the user chose as an archive gets here.
"""

import contextlib
import importlib
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from nstc.core import images
from nstc.core.errors import (
    AccessError,
    FetchError,
    MissingExtraError,
    NstcError,
    OptionError,
    OutputError,
)
from nstc.core.images.picture_files import ImageFile
from nstc.core.remote.fetching import USUAL_LIMITS, FetchLimits
from nstc.runtime.files.picture_jobs import Source

SCHEMES: Final = {"s3": "s3fs", "gs": "gcsfs", "memory": "fsspec"}
"""What opens each kind of store. The last is of one process alone, and for tests."""

_PIP_LINES: Final = {"gcsfs": "pip install gcsfs"}
_MOST_LIST_BYTES: Final = 1 << 32
_NO_CREDENTIALS: Final = frozenset(
    {
        "CredentialRetrievalError",
        "NoCredentialsError",
        "PartialCredentialsError",
        "ProfileNotFound",
        "SSOTokenLoadError",
        "TokenRetrievalError",
        "UnauthorizedSSOTokenError",
        "DefaultCredentialsError",
        "RefreshError",
    }
)
"""How the libraries of botocore and Google call that there are none. Neither may be installed."""
_NOT_VALID: Final = frozenset(
    {
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
"""What S3 answers to credentials that no object is given for: wrong ones, or ones that ran out."""
_DENIED: Final = (401, 403)  # of HTTP
_WITHOUT_REASON: Final = frozenset({"400", "403"})  # instead of S3's codes: HEAD has no others


def is_stored(given: str) -> bool:
    """Whether a user named a place in an object store."""
    return given.partition("://")[0] in SCHEMES and "://" in given


def looks_remote(given: str) -> bool:
    """Whether a user named an address of any kind, which paths have with one slash."""
    return re.match(r"[A-Za-z][\w+.-]+:/", given) is not None


@dataclass(frozen=True, kw_only=True)
class StoredSource(Source):
    """A picture in an object store, named by its address."""

    def open(
        self, *, max_pixels: int = images.MAX_PIXELS, limits: FetchLimits = USUAL_LIMITS
    ) -> ImageFile:
        """As `Source.open`; `FetchError` and `AccessError` if the store does not give it."""
        if self.failure is not None:
            raise self.failure
        return ImageFile(read(self.name, limits.max_bytes), self.name, max_pixels=max_pixels)


def bucket_of(address: str) -> str:
    """The address of the bucket that an object lies in."""
    return "/".join(address.split("/")[:3])


def read(address: str, most_bytes: int = _MOST_LIST_BYTES) -> bytes:
    """The content of an object.

    `FetchError` if it can't be read, or holds more than allowed; `AccessError` if it may not be.
    """
    with _failing_as(FetchError, f"{address} can't be read", "read objects (s3:GetObject)"):
        store, path = _opened(address)
        size = _info(store, path)["size"] or 0
        if size > most_bytes:
            raise FetchError(
                f"{address} holds more than {most_bytes / 1e6:g} MB: raise --max-download-mb."
            )
        content: bytes = store.cat_file(path) if size else b""
        return content


def write(address: str, content: bytes) -> None:
    """Put a whole object, in one step; `OutputError` or `AccessError` if it is not taken."""
    with _failing_as(OutputError, f"cannot write {address}", "write objects (s3:PutObject)"):
        store, path = _opened(address)
        store.pipe_file(path, content)


def exists(address: str) -> bool:
    """Whether there is such an object; `OutputError` or `AccessError` if the store does not say.

    S3 says of no object that it is not there, to whom it does not list the bucket.
    """
    rights = "read and list objects (s3:GetObject, s3:ListBucket)"
    with _failing_as(OutputError, f"cannot look for {address}", rights):
        store, path = _opened(address)
        try:  # `isfile` takes every failure for a no
            found: str = _info(store, path)["type"]
        except FileNotFoundError:
            return False
        return found == "file"


def objects_below(address: str) -> Iterator[tuple[str, PurePosixPath]]:
    """All objects below a prefix, sorted: the address of each, and its path below the prefix.

    `FetchError` or `AccessError` if the store does not list them.
    """
    with _failing_as(FetchError, f"{address} can't be listed", "list objects (s3:ListBucket)"):
        store, path = _opened(address)
        root = path.rstrip("/")
        found = sorted(str(name) for name in store.find(root))
    scheme = address.partition("://")[0]
    for name in found:
        below = name.removeprefix(root).strip("/")
        yield f"{scheme}://{name.lstrip('/')}", PurePosixPath(below)


def _opened(address: str) -> tuple[Any, str]:
    """What fsspec makes of the store, and the path in it."""
    scheme, _, path = address.partition("://")
    if not path.strip("/"):
        raise OptionError(f"{address} names no place: expected {scheme}://BUCKET/PATH.")
    package = SCHEMES[scheme]
    try:
        importlib.import_module(package)
        fsspec = importlib.import_module("fsspec")
    except ModuleNotFoundError as error:
        line = _PIP_LINES.get(package, 'pip install "nstc[ray]"')
        raise MissingExtraError(f"{address} needs {package}, not installed: {line}") from error
    store = fsspec.filesystem(scheme)
    return store, str(store._strip_protocol(address))


def _info(store: Any, path: str) -> dict[str, Any]:
    """What a store knows of an object; raises whatever its library does, with the reason."""
    try:
        found: dict[str, Any] = store.info(path)
    except OSError as error:
        if _code_of(error) in _WITHOUT_REASON:
            store.cat_file(path, start=0, end=1)
        raise
    return found


@contextlib.contextmanager
def _failing_as(
    kind: type[FetchError] | type[OutputError], what: str, rights: str
) -> Iterator[None]:
    """Turn what a store's library raises, which is not always an `OSError`, into one of nstc's.

    `rights` are those that the work in the block takes.
    """
    try:
        yield
    except NstcError:
        raise
    except FileNotFoundError as error:
        raise kind(f"{what}: there is no such object or bucket.") from error
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        machine = platform.node()
        faulty: str | None = None
        if type(error).__name__ in _NO_CREDENTIALS:
            faulty = f"{machine} has no credentials for it"
        elif _code_of(error) in _NOT_VALID:
            faulty = f"the store does not accept the credentials of {machine}"
        if faulty is not None:
            raise AccessError(
                f"{what}: {faulty} ({reason}). Give valid ones to every machine that reads or "
                "writes pictures: for S3 as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in "
                "~/.aws, or by the machine's role.",
                no_credentials=True,
            ) from error
        if _is_denied(error):
            raise AccessError(
                f"{what}: access is denied ({reason}). Where the reason names nothing else, the "
                f"credentials of {machine} lack the right to {rights}."
            ) from error
        raise kind(f"{what}: {reason}.") from error


def _code_of(error: Exception) -> str | None:
    """S3's own code of a failure, such as ExpiredToken: s3fs makes few kinds of them all."""
    for own in (error, error.__cause__):
        answer = getattr(own, "response", None)  # of botocore's ClientError
        if isinstance(answer, dict):
            return str(answer.get("Error", {}).get("Code"))
    return None


def _is_denied(error: Exception) -> bool:
    """Whether it stands for HTTP's 401 or 403, as s3fs and gcsfs raise them."""
    is_forbidden = isinstance(error, OSError) and str(error).startswith("Forbidden: ")
    return (
        isinstance(error, PermissionError)
        or is_forbidden
        or getattr(error, "code", None) in _DENIED
    )
