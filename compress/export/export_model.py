"""Exporting a bundle's network to files that run elsewhere, each checked after it was written."""

import contextlib
import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from nstc.benchmarks import bench as benchmark
from nstc.benchmarks.gate import check_models
from nstc.compress.export import board_stylize
from nstc.compress.export.checking import refuse_unusable_network
from nstc.compress.export.exported_files import (
    CALIBRATED,
    CALIBRATED_PROGRAM,
    CALIBRATION_PHOTOS,
    CALIBRATION_SIZE,
    FOLDER,
    INT8,
    INT8_ORT,
    ExportedFile,
    ExportFormat,
    ExportSource,
    Size,
    write_checked,
)
from nstc.core import extensions
from nstc.core.bundle import (
    CARD_FILE,
    TILES_ARTIFACT,
    WEIGHTS_FILE,
    Bundle,
    artifact_file,
    artifact_name,
    bundle_to_revise,
    open_bundle,
    refuse_name_of_file,
    revised_bundle,
)
from nstc.core.errors import OptionError
from nstc.core.files import locked
from nstc.core.manifest import Step
from nstc.core.photos import PhotoSet, sample_photos
from nstc.core.progress import Progress, Silent
from nstc.core.zoo import PREFIX, named, refuse_shipped
from nstc.models.architectures import load, load_as_deployed
from nstc.runtime.check_vectors import CHECKS_FILE, read_check_vectors, write_check_vectors
from nstc.runtime.session import BACKENDS, cached_artifact, find_artifact

FORMATS: Final[Mapping[str, ExportFormat]] = {
    "onnx": ExportFormat("onnx", lambda source: [source.onnx_of(None)]),
    "torchscript": ExportFormat("ts", lambda source: [source.torchscript()]),
    "executorch": ExportFormat("pte", lambda source: [source.executorch()]),
    CALIBRATED: ExportFormat(CALIBRATED_PROGRAM, lambda source: [source.executorch_int8()]),
    "ort": ExportFormat("ort", ExportSource.ort),
    "tiles": ExportFormat(TILES_ARTIFACT, lambda source: [source.tiles()]),
}
"""Beside `FOLDER`. Where a file is missing, the message says its format by the file's ending."""

ADDED: Final = extensions.Extensions(extensions.FORMATS, ExportFormat, (*FORMATS, FOLDER))
"""Those of other packages."""

_BY_DEFAULT: Final = ("onnx", "torchscript")  # those that need no further extra
_LARGEST_SIDE: Final = 16384

# Older than nstc itself asks for, since boards keep their Python for long. ONNX Runtime 1.18 is the
# first that reads files of ONNX IR version 10, which torch writes.
_BOARD_NEEDS: Final = ("numpy>=1.24", "pillow>=9.5", "onnxruntime>=1.18")
_FLOAT: Final = artifact_name("float")


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
        formats: Of `FORMATS`, or other packages'. `model.onnx`, `model.ts`, `model.pte`,
            `model.int8.pte` and `model.ort` are for pictures of any size; `model.int8.tiles.onnx`
            is told the whole picture's statistics so that a picture can be cut into tiles. Or
            "folder" alone, for a board.
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
        ExtensionError: a package adds a format, and it can't be used.
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
    source = ExportSource(bundle, network, chosen, progress)
    if FOLDER in formats and output is not None:
        written = source.onnx_of(None)
        return write_board_folder(bundle, output, lambda path: write_checked(path, written))
    files = _files(source, formats, static)
    calibrated = any(file.artifact == CALIBRATED_PROGRAM for file in files)
    manifest = bundle.manifest
    if calibrated:
        how = {"format": CALIBRATED, "calibration_size": CALIBRATION_SIZE}
        step = Step(verb="export", recipe=how, photos=chosen.record())
        manifest = dataclasses.replace(manifest, history=(*manifest.history, step))
    revised = revised_bundle(bundle, bundle.path, manifest)
    with revised if output is None else contextlib.nullcontext(output) as folder:
        for done, file in enumerate(files):
            progress.begin(f"export {file.artifact}", 1, 0)
            write_checked(folder / artifact_file(file.artifact), file)
            progress.advance(1, {})
            progress.note(f"{artifact_file(file.artifact)} ({done + 1}/{len(files)}) checked")
        if output is None:
            made = [f.artifact for f in files if f.artifact.rpartition(".")[2] in BACKENDS]
            write_check_vectors(folder, made, read_check_vectors(bundle))
    place = output or bundle.path
    return [place / artifact_file(file.artifact) for file in files]


def write_board_folder(
    bundle: Bundle, output: Path, write_float: Callable[[Path], None]
) -> list[Path]:
    """Write a folder that runs on a board by itself: the networks, their manifest and one script.

    It is a bundle too, so that `nstc verify` can check it. Weights stay, since they are what a
    bundle is known by; what only training, judging and showing need is left out. `write_float`
    fills a path with the float ONNX file, if the bundle holds nothing that ONNX Runtime runs. Gives
    the files that were written.

    Raises:
        OutputError: the place can't be written, or holds something that is no bundle.
        BundleError: and its kinds, if the bundle is damaged.
    """
    run = [name for name in (INT8, _FLOAT) if name in bundle.artifacts]
    kept = {WEIGHTS_FILE, CARD_FILE, *map(artifact_file, run)}
    known = read_check_vectors(bundle)
    with revised_bundle(bundle, output, bundle.manifest) as draft:
        for path in draft.iterdir():
            if path.name not in kept:
                path.unlink()
        if not run:
            write_float(draft / artifact_file(_FLOAT))
        shutil.copyfile(board_stylize.__file__, draft / "stylize.py")
        (draft / "requirements.txt").write_text("\n".join((*_BOARD_NEEDS, "")), encoding="utf-8")
        write_check_vectors(draft, [name for name in run or [_FLOAT] if name not in known], known)
        names = sorted(path.name for path in draft.iterdir() if path.name != CHECKS_FILE)
    return [output / name for name in (*names, CHECKS_FILE)]


def parse_size(text: str) -> Size:
    """Height and width of "512x512".

    Raises:
        OptionError: it is not two whole numbers with an x between.
    """
    height, separator, width = text.lower().partition("x")
    if not (separator and height.isdecimal() and width.isdecimal()):
        raise OptionError(f"static is {text}: expected HEIGHTxWIDTH in pixels, such as 512x512.")
    return int(height), int(width)


def made_artifact(
    bundle: Bundle,
    name: str,
    *,
    trust: bool = False,
    told: Callable[[str], object] | None = None,
) -> Path:
    """The store of who may export: what is not there is made in the user's cache, if it can be.

    What no `FORMATS` gives, nor a format of that very name of another package, is missed as in
    `find_artifact`, whose `trust` it is: a file that `quantize` writes. `int8.pte` is calibrated on
    the sample photographs. `told` hears what is going to be made.

    Raises:
        MissingExtraError: what the file is made by is not installed.
        ExportMismatchError: the file differs from the network; it was not kept.
        OutputError: the cache can't be written.
        NstcError: whatever `find_artifact` raises.
    """
    artifact = artifact_name(name)
    form = next((name for name, own in FORMATS.items() if own.artifact == artifact), None)
    if form is None and artifact in ADDED.names():
        form = artifact
    if artifact == INT8_ORT and INT8 in bundle.artifacts:
        form = "ort"
    target = cached_artifact(bundle, artifact)
    if form is not None and artifact not in bundle.artifacts and not target.is_file():
        if told is not None:
            file, place = artifact_file(artifact), named(bundle.path)
            told(f"making {file} of {place}, once: it is kept in the cache")
        with locked(target):
            if not target.is_file():  # another run may have made it meanwhile
                source = ExportSource(bundle, load_as_deployed(bundle), _chosen(None), Silent())
                files = _files(source, (form,), None)
                write_checked(target, next(f for f in files if f.artifact == artifact))
    return find_artifact(bundle, artifact, trust=trust)


_Options = ParamSpec("_Options")
_Result = TypeVar("_Result")


def _making_files(verb: Callable[_Options, _Result]) -> Callable[_Options, _Result]:
    """The verb with `made_artifact` as its store: a model's file that is missing is made first."""

    @wraps(verb)
    def making(*arguments: _Options.args, **options: _Options.kwargs) -> _Result:
        options.setdefault("store", made_artifact)
        return verb(*arguments, **options)

    making.__module__ = __name__  # where Python finds it
    return making


bench = _making_files(benchmark.bench)
check = _making_files(check_models.check)


def write_without_ranges(bundle: Bundle, target: Path) -> None:
    """Write and check `model.onnx` of a bundle's weights alone, as if they had learned in float.

    Raises:
        ExportMismatchError: the file differs from the network; it was not kept.
        OutputError: the place can't be written.
    """
    source = ExportSource(bundle, load(bundle), _chosen(None), Silent())
    write_checked(target, source.onnx_of(None))


def _files(source: ExportSource, formats: Sequence[str], static: Size | None) -> list[ExportedFile]:
    """The files of some formats, nstc's own first, for any size or for one."""
    if static is not None:
        quantized = [source.int8_of(static)] if INT8 in source.bundle.artifacts else []
        return [source.onnx_of(static), *quantized]
    chosen = [FORMATS[name] for name in FORMATS if name in formats]
    chosen += filter(None, (ADDED.get(name) for name in formats if name not in FORMATS))
    return [file for form in chosen for file in form.files(source)]


def _chosen(photos: PhotoSet | None) -> PhotoSet:
    return (sample_photos() if photos is None else photos).take(CALIBRATION_PHOTOS)


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


def _refuse_bad_options(formats: Sequence[str], static: Size | None, output: Path | None) -> None:
    known: tuple[str, ...] = (*FORMATS, FOLDER)
    if not set(formats) <= set(known):
        known += ADDED.names()
    unknown = [name for name in formats if name not in known]
    if unknown or not formats:
        given = ", ".join(unknown) or "empty"
        raise OptionError(f"format is {given}: expected some of {', '.join(known)}.")
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
