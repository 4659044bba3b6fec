"""Models from elsewhere as they are kept: whole folders of the user's cache, checked by hashes.

What is kept is read-only for every verb: its place says which content it has.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from nstc.core import decoding, errors, files
from nstc.core.manifest import MANIFEST_FILE, FileRecord, Manifest

KIND: Final = "fetched-models"  # of what is cached
_RECORD: Final = "fetched.json"  # beside files that no manifest describes

Fetch = Callable[[str, int, Path], None]
"""Writes the file of a name to a path; `FetchError` or `BundleError` if there is none, or if it has
more bytes than the number says."""


def kept_bundle(place: Path) -> Path | None:
    """The folder of a bundle that is kept at a place of the cache, if it is there and whole."""
    folder = files.cached(KIND, place / MANIFEST_FILE).parent
    manifest = _manifest_of(folder)
    return folder if manifest is not None and _are_whole(folder, manifest.files) else None


def keep_bundle(place: Path, name: str, fetch: Fetch) -> Path:
    """The folder of a bundle at a place of the cache: as it is kept, else fetched.

    A process that fetches the same is waited for. What was kept and is damaged now is replaced by
    the same content only. `name` is the model's, for messages.

    Raises:
        FetchError: it can't be fetched.
        BundleError: there is no manifest.
        CorruptBundleError: a file differs from the manifest, or the manifest from what was kept.
        SchemaVersionError: as `Manifest.from_json`.
        OutputError: the cache can't be written.
    """
    target = files.cache_folder(KIND) / place
    with files.locked(target):
        if (kept := kept_bundle(place)) is not None:
            return kept
        _remove_without(MANIFEST_FILE, target)
        before = _manifest_of(target)
        with files.atomic_folder(target, replaceable=MANIFEST_FILE) as draft:
            fetch(MANIFEST_FILE, decoding.MAX_BYTES, draft / MANIFEST_FILE)
            text = decoding.read_file(draft / MANIFEST_FILE)
            manifest = Manifest.from_json(text, f"{MANIFEST_FILE} of {name}")
            if before is not None and before != manifest:
                raise _other_content(name, target)
            for file, record in manifest.files.items():
                fetch(file, record.size_bytes, draft / file)
                if not _are_whole(draft, {file: record}):
                    raise errors.CorruptBundleError(
                        f"{name} gives a {file} that differs from its manifest: it was changed or "
                        "damaged there. Take another revision, or ask its owner."
                    )
    return target


def kept_file(place: Path) -> Path | None:
    """A network made by others that is kept in a folder named after it, if it is whole."""
    folder = files.cached(KIND, place / _RECORD).parent
    records = _records_of(folder) or {}
    whole = place.name in records and _are_whole(folder, records)
    return folder / place.name if whole else None


def keep_file(place: Path, name: str, fetch: Callable[[Path], None]) -> Path:
    """A network at a place of the cache: as it is kept, else what `fetch` writes into a folder.

    That is a file of the place's name, and files of its weights. What was kept and is damaged now
    is replaced by the same content only. `name` is the network's, for messages.

    Raises:
        FetchError: it can't be fetched.
        CorruptBundleError: it is another than was kept.
        OutputError: the cache can't be written.
    """
    target = files.cache_folder(KIND) / place
    with files.locked(target):
        if (kept := kept_file(place)) is not None:
            return kept
        _remove_without(_RECORD, target)
        before = _records_of(target)
        with files.atomic_folder(target, replaceable=_RECORD) as draft:
            fetch(draft)
            records = {
                path.name: FileRecord(sha256=files.sha256_of(path), size_bytes=path.stat().st_size)
                for path in draft.iterdir()
            }
            if before is not None and before != records:
                raise _other_content(name, target)
            content = {file: asdict(record) for file, record in records.items()}
            (draft / _RECORD).write_text(json.dumps(content), encoding="utf-8")
    return target / place.name


def place_of(path: Path) -> Path | None:
    """Where in the cache a path of what is kept lies; None for any other path."""
    for root in {files.cache_folder(KIND), files.cached(KIND, ".")}:
        if path.resolve().is_relative_to(root.resolve()):
            return path.resolve().relative_to(root.resolve())
    return None


def _other_content(name: str, target: Path) -> errors.CorruptBundleError:
    return errors.CorruptBundleError(
        f"{name} has other content than when it was first fetched: ask its owner why, or delete "
        f"{target} to take it as it is now."
    )


def _remove_without(record: str, target: Path) -> None:
    """Remove a folder of the cache that lost what says that it is one: else nothing replaces it."""
    if target.is_dir() and not target.is_symlink() and not os.path.lexists(target / record):
        with files.reported_as_output_error(target):
            shutil.rmtree(target)


def _records_of(folder: Path) -> dict[str, FileRecord] | None:
    try:
        content = decoding.parse_json(decoding.read_file(folder / _RECORD))
        return decoding.decode(content, dict[str, FileRecord])
    except (OSError, decoding.DecodingError):
        return None


def _manifest_of(folder: Path) -> Manifest | None:
    try:
        text = decoding.read_file(folder / MANIFEST_FILE, follow_links=False)
        return Manifest.from_json(text, str(folder))
    except (OSError, decoding.DecodingError, errors.BundleError):
        return None


def _are_whole(folder: Path, records: Mapping[str, FileRecord]) -> bool:
    for name, record in records.items():
        path = folder / name
        if path.is_symlink() or not path.is_file() or path.stat().st_size != record.size_bytes:
            return False
        if files.sha256_of(path) != record.sha256:
            return False
    return True
