"""Exporting a bundle's network to files that run elsewhere, each checked after it was written."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import onnx
from torch import Tensor, nn

from nstc.benchmarks import bench as benchmark
from nstc.benchmarks.gate import check_models
from nstc.compress.export import (
    FOLDER,
    FORMATS,
    OF_ONE_SIZE,
    WEB,
    ExportedFile,
    checking,
)
from nstc.compress.export.board_folder import write_board_folder
from nstc.compress.export.coreml_files import coreml_files
from nstc.compress.export.export_request import (
    ADDED,
    INT8,
    INT8_ORT,
    Size,
    refuse_bad_options,
    request_for,
)
from nstc.compress.export.litert_files import litert_files
from nstc.compress.export.mobile_formats import executorch_program, write_ort
from nstc.compress.export.portable_files import portable_files
from nstc.compress.export.stale_predictors import drop_stale_predictor
from nstc.compress.export.web_folder import write_web_folder
from nstc.compress.graphs.deployed import edges_of, with_other_edges
from nstc.compress.graphs.float_graphs import onnx_graph, torchscript
from nstc.core import Progress, Silent, zoo
from nstc.core import bundle as bundles
from nstc.core.bundle import Bundle, artifact_file, artifact_name
from nstc.core.errors import OptionError, PhotosError
from nstc.core.files import locked, path_or_none, scratch_folder
from nstc.core.manifest import Contract, Step
from nstc.core.photos import PhotoSet, sample_photos
from nstc.models.architectures import load, load_as_deployed
from nstc.models.tensors import images_to_tensor
from nstc.runtime.check_vectors import read_check_vectors, write_check_vectors
from nstc.runtime.onnx_session import OnnxSession
from nstc.runtime.session import BACKENDS, cached_artifact, find_artifact

CALIBRATION_PHOTOS: Final = 24
# Side of their centre squares in pixels; the observers of twice the side take minutes.
CALIBRATION_SIZE: Final = 256

_CALIBRATED: Final = "executorch-int8"
_FLOAT: Final = artifact_name("float")

Model = str | Path | Bundle  # a path or zoo name, or what was opened there


@dataclasses.dataclass(frozen=True)
class ExportSource:
    """What files are made from; `network` is the bundle's as its float files compute it."""

    bundle: Bundle
    network: nn.Module
    photos: PhotoSet = dataclasses.field(default_factory=sample_photos)  # to calibrate on
    progress: Progress = dataclasses.field(default_factory=Silent)
    size: Size | None = None  # of the formats `OF_ONE_SIZE`
    edges: str = "float"  # of portable files, of `EDGES`

    @property
    def contract(self) -> Contract:
        """The bundle's."""
        return self.bundle.manifest.contract

    @property
    def reference(self) -> checking.Reference:
        """The network as a function of pictures, which float files are compared with."""
        return checking.eager_reference(self.network, self.contract)

    def _float_file(
        self, artifact: str, write: Callable[[Path], object], size: Size | None = None
    ) -> ExportedFile:
        return ExportedFile(
            artifact, write, lambda p: checking.check_float(p, artifact, self.reference, size)
        )

    def _int8_file(self, artifact: str, size: Size | None = None) -> ExportedFile:
        """The int8 graph for one size, or else for tiles."""

        def write(path: Path) -> None:
            graph = onnx.load(find_artifact(self.bundle, INT8))
            edges = edges_of(self.network, self.contract)
            onnx.save(with_other_edges(graph, edges, size, statistics_input=size is None), path)

        return ExportedFile(
            artifact, write, lambda p: checking.check_quantized(p, artifact, self.reference, size)
        )

    def onnx_of(self, size: Size | None) -> ExportedFile:
        """The float graph, for any size or for one."""
        return self._float_file(
            "onnx" if size is None else f"{size[0]}x{size[1]}.onnx",
            lambda path: onnx.save(onnx_graph(self.network, self.contract, size), path),
            size,
        )

    def int8_of(self, size: Size) -> ExportedFile:
        """The int8 graph for one size."""
        return self._int8_file(f"int8.{size[0]}x{size[1]}.onnx", size)

    def tiles(self) -> ExportedFile:
        """The int8 graph with the whole picture's statistics as a second input."""
        normalised = edges_of(self.network, self.contract).normalised
        if self.contract.locality != "exact" or not normalised:
            raise OptionError(
                f"{self.bundle.path} can't be cut into tiles: its layers depend on the whole "
                "picture (locality global). Only students without instance normalisation have the "
                "format tiles."
            )
        return self._int8_file(FORMATS["tiles"].artifact)

    def portable(self) -> list[ExportedFile]:
        """The float graph, and the int8 one if there is one, as other runtimes read them."""
        return portable_files(self, self._one_size(), self.edges)

    def coreml(self) -> list[ExportedFile]:
        """The float network as a Core ML package."""
        return coreml_files(self, self._one_size())

    def litert(self) -> list[ExportedFile]:
        """The float network for LiteRT."""
        return litert_files(self, self._one_size())

    def _one_size(self) -> Size:
        if self.size is None:
            raise ValueError(f"files of {' and '.join(OF_ONE_SIZE)} are of one size")
        return self.size

    def torchscript(self) -> ExportedFile:
        """The float network as TorchScript."""

        def write(path: Path) -> None:
            module = torchscript(self.network, self.contract)
            # To memory first: on a full disk torch's own writer ends the process.
            path.write_bytes(module.save_to_buffer())

        return self._float_file("ts", write)

    def executorch(self) -> ExportedFile:
        """The float network as a program for XNNPACK."""
        return self._float_file(
            "pte", lambda path: path.write_bytes(executorch_program(self.network, self.contract))
        )

    def executorch_int8(self) -> ExportedFile:
        """The same in int8, calibrated on the photographs."""
        artifact, network = FORMATS[_CALIBRATED].artifact, load(self.bundle)

        def calibrate(observe: Callable[[Tensor], object]) -> None:
            self.progress.begin("calibrate", len(self.photos), 0)
            for done, square in enumerate(self.photos.squares(CALIBRATION_SIZE), start=1):
                observe(images_to_tensor([square]))
                self.progress.advance(done, {})
            self.progress.begin(f"export {artifact}", 1, 0)

        def write(path: Path) -> None:
            if not len(self.photos):
                raise PhotosError(
                    "no photographs to calibrate on: name a folder of them with --photos."
                )
            path.write_bytes(executorch_program(network, self.contract, calibrate))

        def check(path: Path) -> None:
            reference = checking.eager_reference(network, self.contract)
            psnr_db = checking.check_quantized(path, artifact, reference)
            self.progress.note(f"{artifact_file(artifact)}: {psnr_db:.1f} dB to the float network")

        return ExportedFile(artifact, write, check)

    def ort(self) -> list[ExportedFile]:
        """The float graph in ONNX Runtime's own format, and the int8 one if there is one."""

        def write_float(path: Path) -> None:
            with scratch_folder() as folder:
                self.onnx_of(None).write(folder / "model.onnx")
                write_ort(folder / "model.onnx", path)

        files = [self._float_file("ort", write_float)]
        if INT8 in self.bundle.artifacts:
            source = find_artifact(self.bundle, INT8)

            def check_int8(path: Path) -> None:
                checking.check_float(path, INT8_ORT, OnnxSession(source, INT8).run)

            files.append(ExportedFile(INT8_ORT, lambda path: write_ort(source, path), check_int8))
        return files


def export(
    model: Model | Sequence[Model],
    *,
    formats: Sequence[str] = ("onnx", "torchscript"),  # those that need no further extra
    output: str | Path | None = None,
    static: Size | None = None,
    size: Size | None = None,
    edges: str | None = None,
    photos: PhotoSet | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Write a bundle's network in other formats; every file is loaded again and compared.

    Args:
        model: The bundle, its path or its zoo name; several for the format web.
        formats: Of `FORMATS`, or other packages'. `model.onnx`, `model.ts`, `model.pte`,
            `model.int8.pte` and `model.ort` are for pictures of any size; `model.int8.tiles.onnx`
            takes the whole picture's statistics, so that a picture can be cut into tiles. Or
            "folder" alone, for a board; or "web" alone, a page with the models for any static host.
        output: A folder for the files. None puts them into the bundle, in one step.
        static: Height and width of the only pictures the files will take, which phone delegates
            want. Writes `model.HEIGHTxWIDTH.onnx`, quantized too, and no TorchScript.
        size: The same of the formats `OF_ONE_SIZE`, multiples of what the network pads to: see
            `Portable`, `nstc.runtime.coreml` and `nstc.runtime.litert`.
        edges: What portable files take and give, of `EDGES`: "float" unless given.
        photos: To calibrate `model.int8.pte` on, at most `CALIBRATION_PHOTOS` of them, which its
            history records; or to try a page with. None: sample photographs.
        progress: Receives an update for every file and photograph.

    Returns:
        The files that were written.

    Raises:
        OptionError: an unknown format, an impossible size, a network that has no such file.
        MissingExtraError: what a format is made by is not installed.
        ExtensionError: a package adds a format, and it can't be used.
        UnusableModelError: weights or pictures are not finite, or the network gives one colour.
        PhotosError: there are no photographs to calibrate on.
        ExportMismatchError: a file differs from the network; it was not kept.
        OutputError: the path can't be written, or a bundle of the zoo is given without `output`.
        BundleError: and its kinds, if the bundle can't be opened or is damaged.
    """
    models, output = [model] if isinstance(model, Model) else list(model), path_or_none(output)
    refuse_bad_options(len(models), formats, output, static=static, size=size, edges=edges)
    if WEB in formats and output is not None:
        return write_web_folder(
            [own if isinstance(own, Bundle) else bundles.open_bundle(own) for own in models],
            output,
            photos=photos,
            store=made_artifact,
            progress=progress or Silent(),
        )
    (model,) = models
    photos = (photos if photos is not None else sample_photos()).take(CALIBRATION_PHOTOS)
    with _opened(model, output) as bundle:
        _refuse_shipped(bundle, formats, output, static=static, size=size, edges=edges)
        network = load_as_deployed(bundle)
        checking.refuse_unusable_network(network, bundle.path)
        source = ExportSource(bundle, network, photos, progress or Silent(), size, edges or "float")
        return _export(source, formats, output, static)


def _opened(model: Model, output: Path | None) -> contextlib.AbstractContextManager[Bundle]:
    """The bundle, to be revised unless files go to an `output` folder."""
    if output is None:
        return bundles.bundle_to_revise(model)
    own = model if isinstance(model, Bundle) else bundles.open_bundle(model)
    return contextlib.nullcontext(own)


def _refuse_shipped(
    bundle: Bundle, formats: Sequence[str], output: Path | None, **options: Size | str | None
) -> None:
    """Refuse to write into a bundle of the zoo, with the line that writes beside it."""
    advice, name = "choose another --output.", zoo.named(bundle.path)
    if output is not None:
        bundles.refuse_name_of_file(output)
    else:
        folder_name = name.removeprefix(zoo.PREFIX).replace("/", "-")
        line = f"nstc export {name} -o {folder_name} --format {','.join(formats)}"
        for option, own in options.items():
            if own is not None:
                line += f" --{option} {own if isinstance(own, str) else f'{own[0]}x{own[1]}'}"
        advice = f"give a folder of your own: {line}"
    zoo.refuse_shipped(output or bundle.path, advice)


def _export(
    source: ExportSource, formats: Sequence[str], output: Path | None, static: Size | None
) -> list[Path]:
    bundle, progress = source.bundle, source.progress
    if FOLDER in formats and output is not None:
        return write_board_folder(source, output)
    files = _files(source, formats, static)
    manifest = bundle.manifest
    if any(file.artifact == FORMATS[_CALIBRATED].artifact for file in files):
        how = {"format": _CALIBRATED, "calibration_size": CALIBRATION_SIZE}
        step = Step(verb="export", recipe=how, photos=source.photos.record())
        manifest = dataclasses.replace(manifest, history=(*manifest.history, step))
    revised = bundles.revised_bundle(bundle, bundle.path, manifest)
    with revised if output is None else contextlib.nullcontext(output) as folder:
        for done, file in enumerate(files):
            progress.begin(f"export {file.artifact}", 1, 0)
            checking.write_checked(folder / artifact_file(file.artifact), file)
            progress.advance(1, {})
            progress.note(f"{artifact_file(file.artifact)} ({done + 1}/{len(files)}) checked")
        if output is None:
            made = [f.artifact for f in files if f.artifact.rpartition(".")[2] in BACKENDS]
            write_check_vectors(folder, made, read_check_vectors(bundle))
            drop_stale_predictor(bundle, folder, progress)
    return [(output or bundle.path) / artifact_file(file.artifact) for file in files]


def made_artifact(
    bundle: Bundle,
    name: str,
    *,
    trust: bool = False,
    notify: Callable[[str], object] | None = None,
) -> Path:
    """The path of an artifact, which is exported to the user's cache where it is missing.

    What no format gives is only looked for, as in `find_artifact`; `trust` is that function's.
    `int8.pte` is calibrated on the sample photographs. `notify` is called with what will be made.

    Raises:
        MissingExtraError: what the file is made by is not installed.
        ExportMismatchError: the file differs from the network; it was not kept.
        OutputError: the cache can't be written.
        NstcError: whatever `find_artifact` raises.
    """
    artifact = artifact_name(name)
    request = request_for(bundle, artifact)
    target = cached_artifact(bundle, artifact)
    if request is not None and artifact not in bundle.artifacts and not target.is_file():
        if notify is not None:
            made = f"{artifact_file(artifact)} of {zoo.named(bundle.path)}"
            notify(f"making {made}, once: it is kept in the cache")
        with locked(target):
            if not target.is_file():  # another run may have made it meanwhile
                network, edges = load_as_deployed(bundle), request.edges
                source = ExportSource(bundle, network, size=request.size, edges=edges)
                files = _files(source, (request.form,), None)
                checking.write_checked(target, next(f for f in files if f.artifact == artifact))
    return find_artifact(bundle, artifact, trust=trust)


_Options = ParamSpec("_Options")
_Result = TypeVar("_Result")


def supplied(
    verb: Callable[_Options, _Result], module: str, **makers: object
) -> Callable[_Options, _Result]:
    """A verb of `module`: another one with these options, which it can't import, as defaults.

    One of them is a store that makes models' missing files, of which `progress` is told.
    """

    @wraps(verb)
    def supplying(*arguments: _Options.args, **options: _Options.kwargs) -> _Result:
        progress = options.get("progress")
        notify = progress.note if isinstance(progress, Progress) else None
        for name, maker in {"store": partial(made_artifact, notify=notify), **makers}.items():
            options.setdefault(name, maker)
        return verb(*arguments, **options)

    supplying.__module__ = module
    return supplying


def network_of(bundle: Bundle) -> checking.Reference:
    """The network of a bundle's weights as its float files compute it, as a function of pictures.

    `NstcError` if its weights can't be loaded.
    """
    return checking.eager_reference(load_as_deployed(bundle), bundle.manifest.contract, bundle.path)


bench = supplied(benchmark.bench, __name__)
check = supplied(check_models.check, __name__, network_of=network_of)


def write_without_ranges(bundle: Bundle, target: Path) -> None:
    """Write and check `model.onnx` of a bundle's weights alone, without the ranges of QAT."""
    checking.write_checked(target, ExportSource(bundle, load(bundle)).onnx_of(None))


def _files(source: ExportSource, formats: Sequence[str], static: Size | None) -> list[ExportedFile]:
    """The files of some formats, nstc's own first, for any size or for one."""
    if static is not None:
        quantized = [source.int8_of(static)] if INT8 in source.bundle.artifacts else []
        return [source.onnx_of(static), *quantized]
    chosen = [FORMATS[name] for name in FORMATS if name in formats]
    chosen += filter(None, (ADDED.get(name) for name in formats if name not in FORMATS))
    return [file for form in chosen for file in form.files(source)]
