"""Models of a Hugging Face hub: hf:OWNER/NAME is a bundle, hf:OWNER/NAME/FILE.onnx a file of it.

A revision may follow, @main or @COMMIT. What is kept is found by its commit, without the network
and without huggingface_hub, which is imported to ask the hub and for nothing else.
"""

import contextlib
import errno
import functools
import hashlib
import logging
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import quote

from nstc.core import VERSION, errors, extras, files
from nstc.core.manifest import MANIFEST_FILE, MAX_TOTAL_BYTES, fault_of_name
from nstc.core.remote import fetched_models
from nstc.core.remote.hub_errors import explained
from nstc.core.terminal import one_line

PREFIX: Final = "hf:"
FORM: Final = "hf:OWNER/NAME, with @REVISION behind it for another revision than the newest"
# Of files made by others: ONNX, and weights as torch or safetensors write them.
FILE_ENDINGS: Final = (".onnx", ".pt", ".pth", ".model", ".safetensors", ".ts")
_ENDPOINT: Final = "https://huggingface.co"
_ANSWER_S: Final = 20.0  # that the hub may take to answer a question, or to send the next bytes
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_PART: Final = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?", re.ASCII)
_REVISION: Final = re.compile(r"[A-Za-z0-9][\w./-]{0,199}", re.ASCII)
_SHOWN_FILES: Final = 3
_BUNDLES, _FILES, _REVISIONS = "hub", "hub-files", "hub-revisions"
_XET_LOCK: Final = threading.Lock()
_xet_before: list[Any] = []  # what the switch was, once for each download that is under way
_OF_THE_DISK: Final = frozenset({"ENOSPC", "EDQUOT", "EROFS", "EACCES"})


@dataclass(frozen=True)
class HubName:
    """A name of a hub's, read."""

    repository: str  # OWNER/NAME
    file: str | None = None  # path of a file in it, with / between its parts
    revision: str | None = None  # branch, tag or commit; None is the newest of the main branch

    def __str__(self) -> str:
        file = "" if self.file is None else f"/{self.file}"
        return f"{PREFIX}{self.repository}{file}{f'@{self.revision}' if self.revision else ''}"

    @property
    def commit(self) -> str | None:
        """The revision, if it is a commit in full."""
        found = _COMMIT.fullmatch(self.revision or "")
        return None if found is None else self.revision

    def place(self) -> Path:
        """Where in the cache a bundle or a file of this commit is kept."""
        kind = _BUNDLES if self.file is None else _FILES
        below = PurePosixPath(self.repository, str(self.commit), self.file or "")
        return Path(kind, _host(), *below.parts)

    @staticmethod
    def read(text: str) -> "HubName":
        """A name as it is typed; `BundleError` for another form."""
        path, at, revision = text.removeprefix(PREFIX).partition("@")
        owner, _, rest = path.partition("/")
        name, slash, file = rest.partition("/")
        named = all(
            _PART.fullmatch(part) and not {"..", "--"} & {part[n : n + 2] for n in range(len(part))}
            for part in (owner, name)
        )
        parts = file.split("/") if slash else []
        if (
            not named
            or (at and (not _REVISION.fullmatch(revision) or ".." in revision))
            or any(fault_of_name(part) for part in (owner, name, *parts))
        ):
            raise errors.BundleError(f"{text!r:.120} is not a model of a hub: expected {FORM}.")
        if slash and not file.lower().endswith(FILE_ENDINGS):
            raise errors.BundleError(
                f"{text!r:.120} names a file that is no network: expected one that ends in "
                f"{', '.join(FILE_ENDINGS)}, or {FORM}."
            )
        return HubName(f"{owner}/{name}", file or None, revision or None)


def local_path(text: str) -> Path:
    """The folder of a bundle, or the file of others, that a hub's name leads to; fetched if new.

    A branch leads to its newest commit, or, where the hub can't be reached or HF_HUB_OFFLINE is
    set, to the newest that was asked for before. It is asked for once in the life of a process.

    Raises:
        BundleError: it is not a hub's name, or the repository holds no manifest.
        FetchError: the hub can't be reached, or does not give it.
        MissingExtraError: it is not kept yet, and huggingface_hub is not installed.
        CorruptBundleError: and others, as `fetched_models.keep_bundle`.
    """
    name = HubName.read(text)
    pinned = name if name.commit else replace(name, revision=_commit_of(name, endpoint()))
    kept = fetched_models.kept_bundle if name.file is None else fetched_models.kept_file
    if (found := kept(pinned.place())) is not None:
        return found
    source = _Repository.open(pinned)
    if pinned.file is None:
        return fetched_models.keep_bundle(pinned.place(), str(pinned), source.fetch)
    return fetched_models.keep_file(pinned.place(), str(pinned), source.fetch_network)


def name_of(path: Path) -> str | None:
    """The pinned name of a bundle or a file that a hub gave, by where it is kept; else None."""
    place = fetched_models.place_of(path)
    if place is None or len(place.parts) < 5:
        return None
    kind, host, owner, name, commit, *rest = place.parts
    if host != _host() or kind not in {_BUNDLES, _FILES} or (kind == _BUNDLES and rest):
        return None
    file = "/".join(rest[:-1]) if kind == _FILES else None
    return str(HubName(f"{owner}/{name}", file, commit))


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT, or that of Hugging Face."""
    return (os.environ.get("HF_ENDPOINT") or _ENDPOINT).rstrip("/")


def shown_endpoint() -> str:
    """The hub's address without a password that it may hold."""
    return re.sub(r"//[^/]*@", "//", endpoint())


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids to ask the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def _host() -> str:
    """The hub's folder in the cache: another address, be it http or a path, has another."""
    address = shown_endpoint()
    slug = re.sub(r"[^\w.-]", "-", address.partition("//")[2].partition("/")[0]) or "hub"
    if address == _ENDPOINT:
        return slug
    return f"{slug}-{hashlib.sha256(address.encode(errors='surrogateescape')).hexdigest()[:12]}"


def library() -> Any:
    """huggingface_hub, asked to report nothing; `MissingExtraError` if it is not installed."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ModuleNotFoundError as error:
        raise errors.MissingExtraError(
            "models of a hub need huggingface_hub, which is not installed: run  "
            'pip install "nstc[hub]"'
        ) from error
    if (needs := extras.needs_of_extra("hub")) is not None:
        raise errors.MissingExtraError(f"models of a hub need {needs}")
    return huggingface_hub


@functools.cache
def _commit_of(name: HubName, _asked: str) -> str:
    """The commit of a branch or tag, asked for or, where the hub can't be, remembered."""
    revision = name.revision or "main"
    whole = str(replace(name, revision=revision))
    record = Path(_REVISIONS, _host(), *name.repository.split("/"), quote(revision, safe=""))
    if is_offline():
        found = _remembered(record)
        if found is None:
            raise errors.FetchError(
                f"{whole} was not asked for before, and HF_HUB_OFFLINE is set: unset it, or name "
                "a commit that is kept."
            )
        return found
    try:
        found = str(repository_info(replace(name, file=None)).sha)
    except (errors.FetchError, errors.MissingExtraError) as error:
        unasked = isinstance(error, errors.MissingExtraError) or error.no_answer
        found = _remembered(record) if unasked else None
        if found is None:
            raise
        _say(f"Taking commit {found}, the newest that was asked for before: {error}")
        return found
    if not _COMMIT.fullmatch(found):
        raise errors.FetchError(f"{shown_endpoint()} names no commit for {whole}: it is not a hub.")
    files.write_text(files.cache_folder(fetched_models.KIND) / record, found)
    _say(f"{whole} is commit {found}.")
    return found


def _remembered(record: Path) -> str | None:
    try:
        text = files.cached(fetched_models.KIND, record).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    return text if _COMMIT.fullmatch(text) else None


def _say(text: str) -> None:
    """A note on standard error, where a program has not said otherwise."""
    logging.getLogger(__name__).warning("%s", one_line(text))


def repository_info(name: HubName) -> Any:
    """What the hub says of a repository's revision: `sha`, `private`, and files as `siblings`.

    `FetchError` if it can't be asked, or answers what no hub does.
    """
    with reported(name):
        return api().model_info(
            name.repository, revision=name.revision, timeout=_ANSWER_S, files_metadata=True
        )


def read_file(name: HubName, most_bytes: int) -> bytes:
    """The content of a file of a commit, both of which are named.

    `FetchError` if it is larger, or the hub does not give it; `BundleError` if it is not there.
    """
    with files.scratch_folder() as folder:
        _Repository.open(name).fetch(str(name.file), most_bytes, folder / "file")
        return (folder / "file").read_bytes()


def api() -> Any:
    """huggingface_hub's own client of the hub; raises as `library`."""
    return library().HfApi(endpoint=endpoint(), library_name="nstc", library_version=VERSION)


@dataclass(frozen=True)
class _Repository:
    """A commit of a repository, and its files by the paths that the hub lists."""

    name: HubName
    files: Mapping[str, Any]

    @staticmethod
    def open(name: HubName) -> "_Repository":
        if is_offline():
            raise errors.FetchError(
                f"{name} is not kept, or not whole, and HF_HUB_OFFLINE is set: unset it."
            )
        info = repository_info(replace(name, file=None))
        if info.sha != name.commit:
            raise errors.FetchError(
                f"{shown_endpoint()} gives another commit than {name}: {info.sha!s:.60}."
            )
        return _Repository(name, {str(own.rfilename): own for own in info.siblings or ()})

    def fetch(self, file: str, most_bytes: int, path: Path) -> None:
        """Write a file of the repository to a path, see `fetched_models.Fetch`."""
        if file not in self.files:
            raise errors.BundleError(self._without(file))
        whole = replace(self.name, file=file)
        with (
            tempfile.TemporaryDirectory(dir=path.parent) as folder,
            reported(whole, writing=True),
            _without_xet(),
        ):
            downloaded = library().hf_hub_download(
                self.name.repository,
                file,
                revision=self.name.commit,
                local_dir=folder,
                etag_timeout=_ANSWER_S,
                endpoint=endpoint(),
                tqdm_class=functools.partial(_Counted, name=whole, most_bytes=most_bytes),
                library_name="nstc",
            )
            shutil.move(downloaded, path)

    def fetch_network(self, folder: Path) -> None:
        """Write the file that is named into a folder, and those that begin with its whole name.

        These are weights that ONNX files keep beside themselves.
        """
        graph = str(self.name.file)
        if graph not in self.files:
            raise errors.BundleError(self._without(graph))
        left = MAX_TOTAL_BYTES
        for file in sorted(own for own in self.files if own == graph or _is_data(own, graph)):
            target = folder / PurePosixPath(file).name
            self.fetch(file, left, target)
            left -= target.stat().st_size
            _refuse_other_content(target, self.files[file], replace(self.name, file=file))

    def _without(self, file: str) -> str:
        told = f"{replace(self.name, file=None)} holds no {file}"
        if file == MANIFEST_FILE:
            told += ": it is not a bundle of nstc"
        networks = [own for own in self.files if own.lower().endswith(FILE_ENDINGS)]
        if networks and MANIFEST_FILE not in self.files:
            names = [str(replace(self.name, file=own)) for own in networks[:_SHOWN_FILES]]
            more = ", ..." if len(networks) > _SHOWN_FILES else ""
            told += f". Networks made by others in it, for nstc distill: {', '.join(names)}{more}"
        return f"{told}."


@contextlib.contextmanager
def _without_xet() -> Iterator[None]:
    """Fetch as http does: by Xet more bytes may come than can be refused in time.

    The library reads its variable once, when it is first imported, which may have been before. All
    threads share it: the first that fetches sets it, and the last restores what it was.
    """
    constants = library().constants
    with _XET_LOCK:
        _xet_before.append(_xet_before[0] if _xet_before else constants.HF_HUB_DISABLE_XET)
        constants.HF_HUB_DISABLE_XET = True
    try:
        yield
    finally:
        with _XET_LOCK:
            before = _xet_before.pop()
            if not _xet_before:
                constants.HF_HUB_DISABLE_XET = before


def _is_data(file: str, graph: str) -> bool:
    """Whether a file has the name of a graph's weights, model.onnx.data or model.onnx_data."""
    rest = file.removeprefix(graph)
    return rest != file and re.match(r"[._]data", rest) is not None and "/" not in rest


def _refuse_other_content(path: Path, listed: Any, name: HubName) -> None:
    """Raise `FetchError` if a file has not the hash that the hub lists of its commit."""
    large = getattr(listed, "lfs", None)
    if large is not None:
        same = files.sha256_of(path) == getattr(large, "sha256", None)
    else:  # the hash of git
        content = path.read_bytes()
        digest = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
        digest.update(content)
        same = digest.hexdigest() == getattr(listed, "blob_id", None)
    if not same:
        raise errors.FetchError(f"{name} differs from what {shown_endpoint()} lists: try again.")


class _Counted:
    """What huggingface_hub shows progress on: counts the bytes, and refuses too many."""

    def __init__(self, *, name: HubName, most_bytes: int, **_shown: object) -> None:
        self._name, self._most_bytes = name, most_bytes
        self.n = 0

    def update(self, count: int = 1) -> None:
        self.n += count
        if self.n > self._most_bytes:
            raise errors.FetchError(
                f"{self._name} is larger than it may be, {self._most_bytes} bytes: not fetched."
            )

    def __enter__(self) -> "_Counted":
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing is shown that would have to end."""


@contextlib.contextmanager
def reported(name: HubName, *, writing: bool = False) -> Iterator[None]:
    """Turn what huggingface_hub raises within the block into a `FetchError` about that name.

    No message of it is repeated that may hold a token. A disk's errors stay, if `writing` is it.
    """
    try:
        yield
    except (errors.NstcError, MemoryError):
        raise
    except Exception as error:
        of_the_disk = isinstance(error, OSError) and errno.errorcode.get(error.errno or 0)
        if writing and of_the_disk in _OF_THE_DISK:
            raise
        whole, place = str(name), shown_endpoint()
        raise explained(error, whole, name.repository, place, library().errors) from error
