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
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from nstc.core import decoding, distributions, errors, files
from nstc.core.drafts import restore
from nstc.core.manifest import MANIFEST_FILE as MANIFEST_FILE
from nstc.core.manifest import FileRecord, Manifest, Origin, fault_of_name
from nstc.core.model_names import local_path, name_of
from nstc.core.zoo import did_you_mean, named, refuse_shipped, zoo_name_of

WEIGHTS_FILE: Final = "weights.safetensors"
STYLE_FILE: Final = "style.safetensors"
QUANTIZATION_FILE: Final = "quantization.safetensors"
CARD_FILE: Final = "README.md"
PREVIEW_FILE: Final = "preview.jpg"

# The int8 network with the whole picture's statistics as a second input, for tiles of a picture.
TILES_ARTIFACT: Final = "int8.tiles.onnx"
# Artifacts of quantizing; exporting makes the others.
QUANTIZED: Final = tuple(
    f"{name}.onnx" for name in ("int8", "dynamic", "weights-int8", "weights-int4", "fp16")
)
# Endings of files that verbs read and write, none of which is a bundle's or an export's folder.
_ENDINGS_OF_FILES: Final = frozenset(
    (
        *(".onnx", ".ort", ".pt", ".pte", ".pth", ".safetensors", ".ts", ".zip"),
        *(".json", ".mlpackage", ".tflite", ".toml"),
    )
)
# How a pack of styles gets a file that it lacks.
NO_WEIGHTS: Final = "Make it for each of the bundles that were joined, and join them again."
_ARTIFACT_PREFIX: Final = "model."
_SHARED_ADVICE: Final = (
    " Included bundles of one style share this file in the folder above theirs: copy it from there."
)
_SHORT_NAMES: Final = {"float": "onnx"} | {name.removesuffix(".onnx"): name for name in QUANTIZED}


@dataclasses.dataclass(frozen=True)
class Bundle:
    """An opened bundle."""

    path: Path  # its folder
    manifest: Manifest

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name

    @functools.cached_property
    def identity(self) -> str:
        """A hash of architecture, weights and ranges, equal if two bundles compute the same.

        Of a bundle without weights, such as a pack of styles, all files count.
        """
        held, architecture = self.manifest.files, dataclasses.asdict(self.manifest.architecture)
        counted = (WEIGHTS_FILE, QUANTIZATION_FILE) if WEIGHTS_FILE in held else sorted(held)
        hashes = [held[name].sha256 for name in counted if name in held]
        text = json.dumps([architecture, *hashes], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @functools.cached_property
    def absent(self) -> frozenset[str]:
        """Files of an included model that come with nstc-models, where that is not installed."""
        if distributions.has_models() or zoo_name_of(self.path) is None:
            return frozenset()
        held = self.manifest.files
        return frozenset(name for name in held if not distributions.is_of_device(name))

    @functools.cached_property
    def artifacts(self) -> tuple[str, ...]:
        """Names of the files that run, as `--artifact` takes them: onnx, int8.onnx, ts."""
        return tuple(
            name.removeprefix(_ARTIFACT_PREFIX)
            for name in sorted(self.manifest.files.keys() - self.absent)
            if name.startswith(_ARTIFACT_PREFIX)
        )

    @property
    def is_installed(self) -> bool:
        """False of an included model of which the manifest alone is here."""
        return not self.absent or bool(self.artifacts)

    def refuse_absent(self) -> None:
        """Raise `MissingExtraError` for a model of nstc-models, where that is not installed."""
        if not self.is_installed:
            raise distributions.missing_models(named(self.path))

    def refuse_incomplete(self) -> None:
        """Raise `CorruptBundleError` if a file is missing that is not `absent`."""
        for name in sorted(self.manifest.files.keys() - self.absent):
            _plain_file(self.path, name)

    def origin(self) -> Origin:
        """The record of this model in another's manifest."""
        known = name_of(self.path)
        path = None if known else str(self.path.resolve())
        return Origin(name=self.name, sha256=self.identity, zoo=known, path=path)

    def file(self, name: str) -> Path:
        """The path of a file, unchanged.

        Raises:
            ArtifactError: there is no such file.
            CorruptBundleError: it differs from the manifest.
            MissingExtraError: it comes with nstc-models, which is not installed.
        """
        record = self.manifest.files.get(name)
        if record is None:
            raise errors.ArtifactError(
                f"{named(self.path)} holds no {name}; it holds "
                f"{', '.join(sorted(self.manifest.files))}."
            )
        if name in self.absent:
            raise distributions.missing_models(f"{name} of {named(self.path)}")
        path, size_bytes = _plain_file(self.path, name)
        if size_bytes != record.size_bytes or files.sha256_of(path) != record.sha256:
            raise errors.CorruptBundleError(
                f"{named(self.path / name)} is damaged: it differs from the manifest; "
                f"{_repair(self.path, name)}"
            )
        return path

    def artifact(self, name: str) -> Path:
        """As `file`, by the artifact name of a runnable file or a short form such as int8."""
        full = artifact_name(name)
        if full not in self.artifacts and artifact_file(full) not in self.absent:
            has_weights = WEIGHTS_FILE in self.manifest.files
            how = f"Make it by {'quantizing' if full in QUANTIZED else 'exporting'} the model."
            raise errors.ArtifactError(
                f"{named(self.path)} holds no artifact {name}; it holds "
                f"{', '.join(self.artifacts) or 'none'}.",
                how if has_weights else NO_WEIGHTS,
                artifact=full,
                path=self.path if has_weights else None,
            )
        return self.file(artifact_file(full))


def artifact_name(name: str) -> str:
    """The full artifact name of a short form: int8 is int8.onnx, float is onnx."""
    return _SHORT_NAMES.get(name, name)


def artifact_file(name: str) -> str:
    """The file of an artifact: int8.onnx is in model.int8.onnx."""
    return _ARTIFACT_PREFIX + artifact_name(name)


def open_bundle(model: str | Path) -> Bundle:
    """Open a bundle by path or name; raises as `read_manifest`, also if files are missing.

    `MissingExtraError` for a model of nstc-models, where that is not installed.
    """
    path = local_path(model)
    bundle = Bundle(path, read_manifest(path))
    bundle.refuse_absent()
    bundle.refuse_incomplete()
    return bundle


def read_manifest(model: str | Path) -> Manifest:
    """The manifest of a bundle; its files may be missing.

    `BundleError` if there is no bundle at that path or of that name, else as `Manifest.from_json`
    and `nstc.core.model_names.local_path`.
    """
    path = local_path(model)
    if not is_bundle(path):
        restore(path)
    if not is_bundle(path):
        exists = os.path.exists(path)  # noqa: PTH110  (of any text; a path too long is no error)
        what = "is not a bundle: it holds no manifest.json" if exists else "does not exist"
        if path.suffix.lower() == ".onnx" and path.is_file():
            what = "is an ONNX file, not a bundle: `nstc distill` makes a student of it"
        raise errors.BundleError(
            f"{named(path)} {what}. `nstc models` lists the zoo's bundles.{did_you_mean(model)}"
        )
    where = named(path / MANIFEST_FILE)
    try:
        text = decoding.read_file(path / MANIFEST_FILE, follow_links=False)
    except (OSError, decoding.DecodingError) as error:
        reason = getattr(error, "strerror", None) or error
        raise errors.CorruptBundleError(
            f"{where} can't be read: {reason}; {_repair(path, MANIFEST_FILE)}"
        ) from error
    return Manifest.from_json(text, where)


def is_bundle(model: str | Path) -> bool:
    """Whether a path or name is a folder with a manifest, damaged or not."""
    try:
        return os.path.lexists(local_path(model) / MANIFEST_FILE)
    except errors.BundleError:
        return False


def bundles_with(paths: Iterable[Path]) -> list[Path]:
    """The bundles among these paths, and those that directly hold one of them, once each, in order.

    Absolute, lest a folder's own name is taken for a model's. Other tools have a manifest.json too:
    one that is an object without a schema version is theirs; one that can't be read may be ours.
    """
    folders = (path if is_bundle(path) else path.parent for path in map(Path.absolute, paths))
    return [own for own in dict.fromkeys(folders) if is_bundle(own) and _is_of_nstc(own)]


def _is_of_nstc(folder: Path) -> bool:
    try:
        content = decoding.parse_json(decoding.read_file(folder / MANIFEST_FILE), lenient=True)
    except (OSError, decoding.DecodingError):
        return True
    if content and isinstance(content, dict):
        return "schema_version" in content
    own = (WEIGHTS_FILE, QUANTIZATION_FILE, f"{_ARTIFACT_PREFIX}*")
    return any(path for pattern in own for path in folder.glob(pattern))


def refuse_name_of_file(target: Path) -> None:
    """Raise `OptionError` if a folder is to get the name of a file: model.onnx."""
    ending = target.suffix.lower()
    if ending in _ENDINGS_OF_FILES and not target.is_dir():
        raise errors.OptionError(
            f"output is {target}: a folder of files is written, and {ending} ends the name of a "
            f"file. Give the name of a folder, such as {target.with_suffix('')}."
        )


def refuse_unwritable_bundle(target: Path) -> None:
    """`OptionError` or `OutputError`, before hours of work, if `target` can't be a bundle."""
    refuse_name_of_file(target)
    refuse_shipped(target)
    files.refuse_foreign_folder(target, replaceable=MANIFEST_FILE)
    with files.reported_as_output_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=target.parent).close()


@contextlib.contextmanager
def new_bundle(target: Path, manifest: Manifest) -> Iterator[Path]:
    """Give a folder to fill, which becomes the bundle after the block; or `OutputError`."""
    refuse_shipped(target)
    with files.atomic_folder(target, replaceable=MANIFEST_FILE) as draft:
        yield draft
        (draft / MANIFEST_FILE).unlink(missing_ok=True)
        records = {}
        rights = stat.S_IMODE(draft.stat().st_mode) & 0o666
        for path in sorted(draft.iterdir()):
            path.chmod(rights)  # some libraries write files that only their user may read
            records[path.name] = FileRecord(
                sha256=files.sha256_of(path), size_bytes=path.stat().st_size
            )
        complete = dataclasses.replace(manifest, files=records)
        (draft / MANIFEST_FILE).write_text(complete.to_json(), encoding="utf-8")


@contextlib.contextmanager
def bundle_to_revise(model: str | Path | Bundle) -> Iterator[Bundle]:
    """Open a bundle anew, locked for the block, to change it in place; raises as `open_bundle`."""
    path = model.path if isinstance(model, Bundle) else local_path(model)
    with files.locked(path):
        yield open_bundle(path)


@contextlib.contextmanager
def revised_bundle(bundle: Bundle, target: Path, manifest: Manifest) -> Iterator[Path]:
    """As `new_bundle`, with copies of another bundle's files to start from, if they are unchanged.

    `target` may be the bundle's own folder, which is then replaced in one step. For that, open it
    by `bundle_to_revise`: otherwise it is an `OutputError` if another run changed it meanwhile.
    """
    with new_bundle(target, manifest) as draft:
        in_place = target.resolve() == bundle.path.resolve()
        if in_place and open_bundle(bundle.path).manifest != bundle.manifest:
            raise errors.OutputError(
                f"cannot write {bundle.path}: another nstc changed it meanwhile. Run again."
            )
        for name in bundle.manifest.files:
            shutil.copyfile(bundle.file(name), draft / name)
        yield draft


def _repair(folder: Path, name: str) -> str:
    """What to do where a file of a bundle is missing or damaged."""
    return "copy it again." if zoo_name_of(folder) is None else distributions.repair(name)


def _plain_file(folder: Path, name: str) -> tuple[Path, int]:
    """The path and size of a plain file of a manifest; all that is read goes through here.

    Style statistics that a bundle of the zoo lacks are those that its style's bundles share.
    """
    if (fault := fault_of_name(name)) is not None:
        raise errors.CorruptBundleError(f"{named(folder)} names a file {name!r:.80}: {fault}.")
    path = where = folder / name
    included = zoo_name_of(folder) is not None
    if name == STYLE_FILE and not os.path.lexists(path) and included:
        path = folder.resolve().parent / name
    try:
        status = path.lstat()
        decoding.refuse_irregular(status)
    except OSError as error:
        raise errors.CorruptBundleError(
            f"{named(where)} is missing: the bundle is incomplete, "
            f"{_repair(folder, name)}{'' if included or name != STYLE_FILE else _SHARED_ADVICE}"
        ) from error
    except decoding.DecodingError as error:
        raise errors.CorruptBundleError(
            f"{named(where)} is not part of the bundle: {error}. Copy the bundle again, links "
            "followed."
        ) from error
    return path, status.st_size
