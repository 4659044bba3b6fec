"""A bundle: a folder that is a model."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nstc.core.decoding import DecodingError, read_file, refuse_irregular
from nstc.core.errors import (
    ArtifactError,
    BundleError,
    CorruptBundleError,
    OptionError,
    OutputError,
)
from nstc.core.files import (
    atomic_folder,
    locked,
    refuse_foreign_folder,
    reported_as_output_error,
    sha256_of,
)
from nstc.core.files.drafts import restore
from nstc.core.manifest import MANIFEST_FILE as MANIFEST_FILE
from nstc.core.manifest import FileRecord, Manifest, Origin, fault_of_name
from nstc.core.zoo import did_you_mean, named, refuse_shipped, resolve_model_path, zoo_name_of

WEIGHTS_FILE: Final = "weights.safetensors"
STYLE_FILE: Final = "style.safetensors"
QUANTIZATION_FILE: Final = "quantization.safetensors"
CARD_FILE: Final = "README.md"
PREVIEW_FILE: Final = "preview.jpg"

TILES_ARTIFACT: Final = "int8.tiles.onnx"
"""The int8 network with the whole picture's statistics as a second input: it runs tiles of one."""

_ENDINGS_OF_FILES: Final = frozenset(
    (*(".onnx", ".ort", ".pt", ".pte", ".pth", ".safetensors", ".ts", ".zip"), *(".json", ".toml"))
)
"""Of files that verbs read and write, none of which is a bundle's or an export's folder."""

QUANTIZED: Final = (
    "int8.onnx",
    "dynamic.onnx",
    "weights-int8.onnx",
    "weights-int4.onnx",
    "fp16.onnx",
)
"""Artifacts that quantizing makes; exporting makes the others."""

_ARTIFACT_PREFIX: Final = "model."
_SHORT_NAMES: Final = {"float": "onnx"} | {name.removesuffix(".onnx"): name for name in QUANTIZED}


@dataclass(frozen=True)
class Bundle:
    """An opened bundle."""

    path: Path  # its folder
    manifest: Manifest  # what it says of itself

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name

    @functools.cached_property
    def identity(self) -> str:
        """A hash of architecture, weights and ranges: equal for two bundles that compute the same.

        It does not change when files are exported into the bundle.
        """
        architecture = dataclasses.asdict(self.manifest.architecture)
        learned = [
            self.manifest.files[name].sha256
            for name in (WEIGHTS_FILE, QUANTIZATION_FILE)
            if name in self.manifest.files
        ]
        text = json.dumps([architecture, *learned], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @functools.cached_property
    def artifacts(self) -> tuple[str, ...]:
        """Names of the files that run, as `--artifact` takes them: onnx, int8.onnx, ts."""
        return tuple(
            name.removeprefix(_ARTIFACT_PREFIX)
            for name in sorted(self.manifest.files)
            if name.startswith(_ARTIFACT_PREFIX)
        )

    def origin(self) -> Origin:
        """How another model's manifest remembers this one."""
        zoo = zoo_name_of(self.path)
        path = None if zoo else str(self.path.resolve())
        return Origin(name=self.name, sha256=self.identity, zoo=zoo, path=path)

    def file(self, name: str) -> Path:
        """The path of one of its files, checked against the manifest's hash.

        Raises:
            ArtifactError: the bundle holds no such file.
            CorruptBundleError: the file is missing or was changed.
        """
        record = self.manifest.files.get(name)
        if record is None:
            raise ArtifactError(
                f"{named(self.path)} holds no {name}; it holds "
                f"{', '.join(sorted(self.manifest.files))}."
            )
        path, size_bytes = _plain_file(self.path, name)
        if size_bytes != record.size_bytes or sha256_of(path) != record.sha256:
            raise CorruptBundleError(
                f"{named(path)} is damaged: its content is not what the manifest says. "
                "Copy it again."
            )
        return path

    def artifact(self, name: str) -> Path:
        """The path of a runnable file, by its artifact name or a short form such as int8.

        Raises:
            ArtifactError: the bundle holds no such file; the message says how to make it.
            CorruptBundleError: the file is missing or was changed.
        """
        full = artifact_name(name)
        if full not in self.artifacts:
            raise ArtifactError(
                f"{named(self.path)} holds no artifact {name}; it holds "
                f"{', '.join(self.artifacts) or 'none'}.",
                f"Make it by {'quantizing' if full in QUANTIZED else 'exporting'} the model.",
                artifact=full,
                path=self.path,
            )
        return self.file(artifact_file(full))


def artifact_name(name: str) -> str:
    """The full artifact name of a short form: int8 is int8.onnx, float is onnx."""
    return _SHORT_NAMES.get(name, name)


def artifact_file(name: str) -> str:
    """The file of an artifact: int8.onnx is in model.int8.onnx."""
    return _ARTIFACT_PREFIX + artifact_name(name)


def open_bundle(model: str | Path) -> Bundle:
    """Open a bundle by its path or zoo name.

    Raises:
        BundleError: there is no bundle at that place or of that name.
        CorruptBundleError: a file that the manifest names is missing.
        SchemaVersionError: a newer nstc wrote it.
    """
    bundle = Bundle(resolve_model_path(model), read_manifest(model))
    for name in bundle.manifest.files:
        _plain_file(bundle.path, name)
    return bundle


def read_manifest(model: str | Path) -> Manifest:
    """What a bundle says of itself; its files may be missing.

    Raises:
        BundleError: there is no bundle at that place or of that name.
        CorruptBundleError: its manifest is damaged, or not a file of its folder.
        SchemaVersionError: a newer nstc wrote it.
    """
    path = resolve_model_path(model)
    manifest_path = path / MANIFEST_FILE
    if not is_bundle(model):
        restore(path)
    if not is_bundle(model):
        exists = os.path.exists(path)  # noqa: PTH110  (of any text; a path too long is no error)
        what = "is not a bundle: it holds no manifest.json" if exists else "does not exist"
        if path.suffix.lower() == ".onnx" and path.is_file():
            what = "is an ONNX file, not a bundle: `nstc distill` makes one that learns from it"
        raise BundleError(
            f"{named(path)} {what}. `nstc models` lists the bundles that ship.{did_you_mean(model)}"
        )
    where = named(manifest_path)
    try:
        text = read_file(manifest_path, follow_links=False)
    except OSError as error:
        raise CorruptBundleError(f"{where} can't be read: {error.strerror or error}.") from error
    except DecodingError as error:
        told = f"{where} can't be read: {error}. Copy the bundle again."
        raise CorruptBundleError(told) from error
    return Manifest.from_json(text, where)


def is_bundle(model: str | Path) -> bool:
    """Whether a path or zoo name leads to a folder with a manifest, sound or not."""
    try:
        return os.path.lexists(resolve_model_path(model) / MANIFEST_FILE)
    except BundleError:
        return False


def refuse_name_of_file(target: Path) -> None:
    """Raise `OptionError` if a folder of files is to get the name of one of them: model.onnx."""
    ending = target.suffix.lower()
    if ending in _ENDINGS_OF_FILES and not target.is_dir():
        raise OptionError(
            f"output is {target}: a folder of files is written, and {ending} ends the name of a "
            f"file. Give the name of a folder, such as {target.with_suffix('')}."
        )


def refuse_unwritable_bundle(target: Path) -> None:
    """Fail before hours of work if `target` can't become a bundle.

    By an `OptionError` if its name is one of a file, by an `OutputError` if it holds something else
    or ships with nstc, or the place can't be written.
    """
    refuse_name_of_file(target)
    refuse_shipped(target)
    refuse_foreign_folder(target, replaceable=MANIFEST_FILE)
    with reported_as_output_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass


@contextlib.contextmanager
def new_bundle(target: Path, manifest: Manifest) -> Iterator[Path]:
    """Give a folder to write files into; it becomes the bundle when the block succeeds.

    `OutputError` if the place can't be written, or holds something that is no bundle.
    """
    refuse_shipped(target)
    with atomic_folder(target, replaceable=MANIFEST_FILE) as draft:
        yield draft
        _write_manifest(draft, manifest)


@contextlib.contextmanager
def bundle_to_revise(model: str | Path | Bundle) -> Iterator[Bundle]:
    """Open a bundle that is going to be changed in its own place; meanwhile no other run may.

    One that was opened before is opened anew: another run may have changed it since.

    Raises:
        BundleError: and its kinds, as `open_bundle`.
        OutputError: no lock can be had.
    """
    path = model.path if isinstance(model, Bundle) else resolve_model_path(model)
    with locked(path):
        yield open_bundle(path)


@contextlib.contextmanager
def revised_bundle(bundle: Bundle, target: Path, manifest: Manifest) -> Iterator[Path]:
    """As `new_bundle`, with the files of another bundle to start from.

    `target` may be the bundle's own folder, which is then replaced in one step. What is written
    into the draft, over a file or beside it, changes nothing in the other bundle.

    Who revises a bundle in its own place opens it by `bundle_to_revise`: otherwise another run may
    have changed it meanwhile, and what that run added would be lost.

    Raises:
        OutputError: the place can't be written, holds something that is not a bundle, or the bundle
            itself, changed since it was opened.
        CorruptBundleError: a file of the bundle was changed.
    """
    refuse_shipped(target)
    with atomic_folder(target, replaceable=MANIFEST_FILE) as draft:
        in_place = target.resolve() == bundle.path.resolve()
        if in_place and open_bundle(bundle.path).manifest != bundle.manifest:
            raise OutputError(
                f"cannot write {bundle.path}: another nstc changed it meanwhile. Run again."
            )
        for name in bundle.manifest.files:
            shutil.copyfile(bundle.file(name), draft / name)
        yield draft
        _write_manifest(draft, manifest)


def _write_manifest(folder: Path, manifest: Manifest) -> None:
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    records = {}
    rights = stat.S_IMODE(folder.stat().st_mode) & 0o666
    for path in sorted(folder.iterdir()):
        path.chmod(rights)  # some libraries write files that only their user may read
        records[path.name] = FileRecord(sha256=sha256_of(path), size_bytes=path.stat().st_size)
    complete = dataclasses.replace(manifest, files=records)
    (folder / MANIFEST_FILE).write_text(complete.to_json(), encoding="utf-8")


def _plain_file(folder: Path, name: str) -> tuple[Path, int]:
    """The path and the size of a file that a manifest names: of that folder, and a plain file.

    All that is opened, hashed or copied of a bundle goes through here. `CorruptBundleError` if the
    name leads elsewhere, or what it names is not a regular file.
    """
    fault = fault_of_name(name)
    if fault is not None:
        raise CorruptBundleError(f"{named(folder)} names a file {name!r:.80}: {fault}.")
    path = folder / name
    try:
        status = path.lstat()
        refuse_irregular(status)
    except OSError as error:
        raise CorruptBundleError(
            f"{named(path)} is missing: the bundle is incomplete, copy it again."
        ) from error
    except DecodingError as error:
        raise CorruptBundleError(
            f"{named(path)} is not part of the bundle: {error}. Copy the bundle again, links "
            "followed."
        ) from error
    return path, status.st_size
