"""Exporting a bundle's network to files that run elsewhere, each checked after it was written."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
from torch import Tensor, nn

from nstc.compress.board_folder import write_board_folder
from nstc.compress.checking import (
    Reference,
    check_float,
    check_quantized,
    eager_reference,
    refuse_unusable_network,
)
from nstc.compress.deployed_graph import edges_of, with_fixed_size, with_statistics_input
from nstc.compress.executorch_graphs import Calibrate, executorch_program
from nstc.compress.float_graphs import onnx_graph, torchscript
from nstc.compress.ort_format import write_ort
from nstc.core.bundle import (
    TILES_ARTIFACT,
    Bundle,
    artifact_file,
    bundle_to_revise,
    open_bundle,
    refuse_name_of_file,
    revised_bundle,
)
from nstc.core.errors import OptionError, PhotosError
from nstc.core.files import atomic_file, scratch_folder
from nstc.core.locks import locked
from nstc.core.manifest import Manifest, Step
from nstc.core.photos import PhotoSet, sample_photos
from nstc.core.progress import Progress, Silent
from nstc.core.zoo import PREFIX, named, refuse_shipped
from nstc.models.architectures import load
from nstc.models.saturation import load_as_deployed
from nstc.models.tensors import images_to_tensor
from nstc.runtime.artifact_cache import cached_artifact, find_artifact
from nstc.runtime.check_vectors import read_check_vectors, write_check_vectors
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.trial import remember_made

_CALIBRATED: Final = "executorch-int8"

_MADE: Final = {
    "onnx": "onnx",
    "torchscript": "ts",
    "executorch": "pte",
    _CALIBRATED: "int8.pte",
    "ort": "ort",
    "tiles": TILES_ARTIFACT,
}
"""The artifact that each format is. Of a quantized bundle, ort is int8.ort too."""

FOLDER: Final = "folder"
"""No file but a folder for a board; see `nstc.compress.board_folder`."""

FORMATS: Final = (*_MADE, FOLDER)

_BY_DEFAULT: Final = ("onnx", "torchscript")
"""Those that need no further extra."""

CALIBRATION_PHOTOS: Final = 24
CALIBRATION_SIZE: Final = 256
"""Side of their centre squares in pixels; the observers of twice the side take minutes."""

_INT8: Final = "int8.onnx"
_INT8_ORT: Final = "int8.ort"
_LARGEST_SIDE: Final = 16384

Size = tuple[int, int]
"""Height and width in pixels."""


def export(
    model: str | Path | Bundle,
    *,
    formats: Sequence[str] = _BY_DEFAULT,
    output: Path | None = None,
    static: Size | None = None,
    photos: PhotoSet | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write a bundle's network in other formats; every file is loaded again and compared.

    Args:
        model: The bundle, its path or its zoo name.
        formats: Of `FORMATS`: `model.onnx`, `model.ts`, `model.pte`, `model.int8.pte` and
            `model.ort`, for pictures of any size, and `model.int8.tiles.onnx`, which is told the
            whole picture's statistics so that a picture can be cut into tiles; or "folder" alone,
            for a board.
        output: A folder for the files. None puts them into the bundle, in one step.
        static: Height and width of the only pictures the files will take, which phone delegates
            want. Writes `model.HEIGHTxWIDTH.onnx`, of a quantized bundle also
            `model.int8.HEIGHTxWIDTH.onnx`, and no TorchScript.
        photos: To calibrate `model.int8.pte` on, at most `CALIBRATION_PHOTOS` of them. None is the
            sample photographs. A bundle that gets the file remembers them in its history.
        progress: Told of every file and photograph.

    Returns:
        The files that were written.

    Raises:
        OptionError: an unknown format, an impossible size.
        MissingExtraError: what a format is made by is not installed.
        UnusableModelError: weights or pictures are not finite, or the network gives one colour.
        PhotosError: there are no photographs to calibrate on.
        ExportMismatchError: a file differs from the network; it was not kept.
        OutputError: the place can't be written, or the bundle ships with nstc and there is no
            `output`.
        BundleError: and its kinds, if the bundle can't be opened or is damaged.
    """
    _refuse_bad_options(formats, static, output)
    chosen, progress = _chosen(photos), progress or Silent()
    if output is None:
        with bundle_to_revise(model) as own:
            return _export(own, formats, None, static, chosen, progress)
    bundle = model if isinstance(model, Bundle) else open_bundle(model)
    return _export(bundle, formats, output, static, chosen, progress)


def _export(
    bundle: Bundle,
    formats: Sequence[str],
    output: Path | None,
    static: Size | None,
    chosen: PhotoSet,
    progress: Progress,
) -> list[Path]:
    if output is not None:
        refuse_name_of_file(output)
    refuse_shipped(output or bundle.path, _elsewhere(bundle, formats, static, output))
    network = load_as_deployed(bundle)
    refuse_unusable_network(network, bundle.path)
    source = _Source(bundle, network, chosen, progress)
    if FOLDER in formats and output is not None:
        (written,) = source.files(("onnx",), None)
        return write_board_folder(bundle, output, lambda path: _write(path, written))
    files = source.files(formats, static)
    calibrated = any(file.artifact == _MADE[_CALIBRATED] for file in files)
    manifest = _with_step(bundle, chosen) if calibrated else bundle.manifest
    with _destination(bundle, manifest, output) as folder:
        for done, file in enumerate(files):
            progress.begin(f"export {file.artifact}", 1, 0)
            _write(folder / artifact_file(file.artifact), file)
            progress.advance(1, {})
            progress.note(f"{artifact_file(file.artifact)} ({done + 1}/{len(files)}) checked")
        if output is None:
            made = [file.artifact for file in files]
            write_check_vectors(folder, made, read_check_vectors(bundle))
    place = output or bundle.path
    return [place / artifact_file(file.artifact) for file in files]


def parse_size(text: str) -> Size:
    """Height and width of "512x512".

    Raises:
        OptionError: it is not two whole numbers with an x between.
    """
    height, separator, width = text.lower().partition("x")
    if not (separator and height.isdecimal() and width.isdecimal()):
        raise OptionError(f"static is {text}: expected HEIGHTxWIDTH in pixels, such as 512x512.")
    return int(height), int(width)


def ensure_artifact(model: str | Path | Bundle, artifact: str = "onnx") -> None:
    """Make one of a bundle's files in the user's cache, unless it is there or in the bundle.

    Args:
        model: The bundle, its path or its zoo name.
        artifact: Full name of the file; `model.int8.pte` is calibrated on the sample photographs.
            Those that no `FORMATS` gives, such as what `quantize` writes, are left to be missed by
            who opens them.

    Raises:
        MissingExtraError: what the file is made by is not installed.
        ExportMismatchError: the file differs from the network; it was not kept.
        OutputError: the cache can't be written.
        BundleError: and its kinds, if the bundle can't be opened or is damaged.
    """
    bundle = model if isinstance(model, Bundle) else open_bundle(model)
    form = _form_of(bundle, artifact)
    if form is None or artifact in bundle.artifacts:
        return
    target = cached_artifact(bundle, artifact)
    if target.is_file():
        return
    with locked(target):
        if not target.is_file():  # another run may have made it meanwhile
            source = _Source(bundle, load_as_deployed(bundle), _chosen(None), Silent())
            _write(target, next(f for f in source.files((form,), None) if f.artifact == artifact))


def can_make(bundle: Bundle, artifact: str) -> bool:
    """Whether `ensure_artifact` makes a file of that full name from a bundle."""
    return _form_of(bundle, artifact) is not None


def _form_of(bundle: Bundle, artifact: str) -> str | None:
    """The format that gives an artifact; None if none does."""
    if artifact == _INT8_ORT and _INT8 in bundle.artifacts:
        return "ort"
    return next((form for form, made in _MADE.items() if made == artifact), None)


def write_without_ranges(bundle: Bundle, target: Path) -> None:
    """Write and check `model.onnx` of a bundle's weights alone, as if they had learned in float.

    Args:
        bundle: The bundle.
        target: The file.

    Raises:
        ExportMismatchError: the file differs from the network; it was not kept.
        OutputError: the place can't be written.
    """
    source = _Source(bundle, load(bundle), _chosen(None), Silent())
    (file,) = source.files(("onnx",), None)
    _write(target, file)


@dataclass(frozen=True)
class _File:
    """A file to write: `write` fills a path, `check` raises if it came out wrong."""

    artifact: str
    write: Callable[[Path], None]
    check: Callable[[Path], object]


@dataclass(frozen=True)
class _Source:
    """What files are made from; `network` is the bundle's as its float files compute it."""

    bundle: Bundle
    network: nn.Module
    photos: PhotoSet
    progress: Progress

    @property
    def reference(self) -> Reference:
        return eager_reference(self.network, self.bundle.manifest.contract)

    def files(self, formats: Sequence[str], static: Size | None) -> list[_File]:
        if static is not None:
            quantized = [self._int8(static)] if _INT8 in self.bundle.artifacts else []
            return [self._onnx(static), *quantized]
        made: dict[str, Callable[[], Sequence[_File]]] = {
            "onnx": lambda: [self._onnx(None)],
            "torchscript": lambda: [self._torchscript()],
            "executorch": lambda: [self._executorch()],
            _CALIBRATED: lambda: [self._executorch_int8()],
            "ort": self._ort,
            "tiles": lambda: [self._tiles()],
        }
        return [file for name in _MADE if name in formats for file in made[name]()]

    def _onnx(self, size: Size | None) -> _File:
        artifact = "onnx" if size is None else f"{size[0]}x{size[1]}.onnx"

        def write(path: Path) -> None:
            onnx.save(onnx_graph(self.network, self.bundle.manifest.contract, size), path)

        return _File(artifact, write, lambda p: check_float(p, artifact, self.reference, size))

    def _int8(self, size: Size) -> _File:
        artifact = f"int8.{size[0]}x{size[1]}.onnx"

        def write(path: Path) -> None:
            deployed = onnx.load(find_artifact(self.bundle, _INT8))
            edges = edges_of(self.network, self.bundle.manifest.contract)
            onnx.save(with_fixed_size(deployed, edges, size), path)

        return _File(artifact, write, lambda p: check_quantized(p, artifact, self.reference, size))

    def _tiles(self) -> _File:
        contract = self.bundle.manifest.contract
        edges = edges_of(self.network, contract)
        if contract.locality != "exact" or not edges.normalised:
            raise OptionError(
                f"{self.bundle.path} can't be cut into tiles: its layers look at the whole picture "
                "(locality global). Only students without instance normalisation have the format "
                "tiles."
            )

        def write(path: Path) -> None:
            deployed = onnx.load(find_artifact(self.bundle, _INT8))
            onnx.save(with_statistics_input(deployed, edges), path)

        return _File(
            TILES_ARTIFACT, write, lambda p: check_quantized(p, TILES_ARTIFACT, self.reference)
        )

    def _torchscript(self) -> _File:
        def write(path: Path) -> None:
            module = torchscript(self.network, self.bundle.manifest.contract)
            # To memory first: on a full disk torch's own writer ends the process.
            path.write_bytes(module.save_to_buffer())

        return _File("ts", write, lambda p: check_float(p, "ts", self.reference))

    def _executorch(self) -> _File:
        def write(path: Path) -> None:
            path.write_bytes(executorch_program(self.network, self.bundle.manifest.contract))

        return _File("pte", write, lambda p: check_float(p, "pte", self.reference))

    def _executorch_int8(self) -> _File:
        artifact = _MADE[_CALIBRATED]
        network, contract = load(self.bundle), self.bundle.manifest.contract

        def write(path: Path) -> None:
            calibrate = _calibration(self.photos, self.progress)
            path.write_bytes(executorch_program(network, contract, calibrate))

        def check(path: Path) -> None:
            reference = eager_reference(network, contract)
            psnr_db = check_quantized(path, artifact, reference)
            self.progress.note(f"{artifact_file(artifact)}: {psnr_db:.1f} dB to the float network")

        return _File(artifact, write, check)

    def _ort(self) -> list[_File]:
        def write_float(path: Path) -> None:
            with scratch_folder() as folder:
                source = folder / artifact_file("onnx")
                onnx.save(onnx_graph(self.network, self.bundle.manifest.contract, None), source)
                write_ort(source, path)

        files = [_File("ort", write_float, lambda p: check_float(p, "ort", self.reference))]
        if _INT8 in self.bundle.artifacts:
            source = find_artifact(self.bundle, _INT8)
            files.append(
                _File(
                    _INT8_ORT,
                    lambda p: write_ort(source, p),
                    lambda p: check_float(p, _INT8_ORT, OnnxSession(source, _INT8).run),
                )
            )
        return files


def _write(target: Path, file: _File) -> None:
    with atomic_file(target) as draft:
        file.write(draft)
        file.check(draft)
        remember_made(draft)


def _chosen(photos: PhotoSet | None) -> PhotoSet:
    return (sample_photos() if photos is None else photos).take(CALIBRATION_PHOTOS)


def _calibration(photos: PhotoSet, progress: Progress) -> Calibrate:
    if not len(photos):
        raise PhotosError("no photographs to calibrate on: name a folder of them with --photos.")

    def calibrate(observe: Callable[[Tensor], object]) -> None:
        progress.begin("calibrate", len(photos), 0)
        for done, square in enumerate(photos.squares(CALIBRATION_SIZE), start=1):
            observe(images_to_tensor([square]))
            progress.advance(done, {})
        progress.begin(f"export {_MADE[_CALIBRATED]}", 1, 0)

    return calibrate


def _with_step(bundle: Bundle, photos: PhotoSet) -> Manifest:
    step = Step(
        verb="export",
        recipe={"format": _CALIBRATED, "calibration_size": CALIBRATION_SIZE},
        photos=photos.record(),
    )
    history = (*bundle.manifest.history, step)
    return dataclasses.replace(bundle.manifest, history=history)


def _elsewhere(
    bundle: Bundle, formats: Sequence[str], static: Size | None, output: Path | None
) -> str:
    """What to do where the files can't go into a bundle that ships: the line to copy."""
    if output is not None:
        return "choose another --output."
    name = named(bundle.path)
    folder = name.removeprefix(PREFIX).replace("/", "-")
    size = "" if static is None else f" --static {static[0]}x{static[1]}"
    return (
        f"give a folder of your own: nstc export {name} -o {folder} --format {','.join(formats)}"
        f"{size}"
    )


@contextlib.contextmanager
def _destination(bundle: Bundle, manifest: Manifest, output: Path | None) -> Iterator[Path]:
    if output is None:
        with revised_bundle(bundle, bundle.path, manifest) as draft:
            yield draft
    else:
        yield output


def _refuse_bad_options(formats: Sequence[str], static: Size | None, output: Path | None) -> None:
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        given = ", ".join(unknown) or "empty"
        raise OptionError(f"format is {given}: expected some of {', '.join(FORMATS)}.")
    if FOLDER in formats and (len(formats) > 1 or static is not None or output is None):
        raise OptionError(
            "folder is written alone, beside the bundle: give --format folder with --output FOLDER "
            "and no other format or size."
        )
    if static is None:
        return
    if "onnx" not in formats:
        raise OptionError("static writes ONNX files only: give --format onnx with it.")
    if not all(1 <= side <= _LARGEST_SIDE for side in static):
        raise OptionError(
            f"static is {static[0]}x{static[1]}: expected HEIGHTxWIDTH, "
            f"each from 1 to {_LARGEST_SIDE}."
        )
