"""Files that a network is exported to: how each is written, and checked."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
import onnxruntime
from torch import Tensor, nn

from nstc.compress.export.checking import Reference, check_float, check_quantized, eager_reference
from nstc.compress.export.executorch_graphs import executorch_program
from nstc.compress.graphs.deployed import edges_of, with_fixed_size, with_statistics_input
from nstc.compress.graphs.float_forms import onnx_graph, torchscript
from nstc.core.bundle import TILES_ARTIFACT, Bundle, artifact_file
from nstc.core.errors import OptionError, OutputError, PhotosError
from nstc.core.files import as_utf8, atomic_file, scratch_folder
from nstc.core.manifest import Contract
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress
from nstc.models.architectures import load
from nstc.models.tensors import images_to_tensor
from nstc.runtime.foreign.trial import remember_made
from nstc.runtime.onnx_session import ORT_ERRORS, OnnxSession, first_line
from nstc.runtime.session import find_artifact

CALIBRATED: Final = "executorch-int8"

CALIBRATED_PROGRAM: Final = "int8.pte"

# No file but a folder for a board; see `nstc.compress.export.export_model.write_board_folder`.
FOLDER: Final = "folder"

CALIBRATION_PHOTOS: Final = 24
# Side of their centre squares in pixels; the observers of twice the side take minutes.
CALIBRATION_SIZE: Final = 256
INT8: Final = "int8.onnx"
INT8_ORT: Final = "int8.ort"

Size = tuple[int, int]  # height and width in pixels


@dataclass(frozen=True)
class ExportedFile:
    """A file to write: `write` fills a path, `check` raises if it came out wrong."""

    artifact: str
    write: Callable[[Path], object]
    check: Callable[[Path], object]


@dataclass(frozen=True)
class ExportSource:
    """What files are made from; `network` is the bundle's as its float files compute it."""

    bundle: Bundle
    network: nn.Module
    photos: PhotoSet
    progress: Progress

    @property
    def contract(self) -> Contract:
        """The bundle's."""
        return self.bundle.manifest.contract

    @property
    def reference(self) -> Reference:
        """What the network itself makes of a picture, which float files are compared with."""
        return eager_reference(self.network, self.contract)

    def onnx_of(self, size: Size | None) -> ExportedFile:
        """The float graph, for any size or for one."""
        artifact = "onnx" if size is None else f"{size[0]}x{size[1]}.onnx"
        return ExportedFile(
            artifact,
            lambda p: onnx.save(onnx_graph(self.network, self.contract, size), p),
            lambda p: check_float(p, artifact, self.reference, size),
        )

    def int8_of(self, size: Size) -> ExportedFile:
        """The int8 graph for one size."""
        artifact = f"int8.{size[0]}x{size[1]}.onnx"
        edges = edges_of(self.network, self.contract)
        return ExportedFile(
            artifact,
            lambda p: onnx.save(with_fixed_size(self._deployed(), edges, size), p),
            lambda p: check_quantized(p, artifact, self.reference, size),
        )

    def _deployed(self) -> onnx.ModelProto:
        return onnx.load(find_artifact(self.bundle, INT8))

    def tiles(self) -> ExportedFile:
        """The int8 graph that is told the whole picture's statistics."""
        edges = edges_of(self.network, self.contract)
        if self.contract.locality != "exact" or not edges.normalised:
            raise OptionError(
                f"{self.bundle.path} can't be cut into tiles: its layers look at the whole picture "
                "(locality global). Only students without instance normalisation have the format "
                "tiles."
            )
        return ExportedFile(
            TILES_ARTIFACT,
            lambda p: onnx.save(with_statistics_input(self._deployed(), edges), p),
            lambda p: check_quantized(p, TILES_ARTIFACT, self.reference),
        )

    def torchscript(self) -> ExportedFile:
        """The float network as TorchScript."""

        def write(path: Path) -> None:
            module = torchscript(self.network, self.contract)
            # To memory first: on a full disk torch's own writer ends the process.
            path.write_bytes(module.save_to_buffer())

        return ExportedFile("ts", write, lambda p: check_float(p, "ts", self.reference))

    def executorch(self) -> ExportedFile:
        """The float network as a program for XNNPACK."""
        return ExportedFile(
            "pte",
            lambda p: p.write_bytes(executorch_program(self.network, self.contract)),
            lambda p: check_float(p, "pte", self.reference),
        )

    def executorch_int8(self) -> ExportedFile:
        """The same in int8, calibrated on the photographs."""
        artifact, network = CALIBRATED_PROGRAM, load(self.bundle)

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
            reference = eager_reference(network, self.contract)
            psnr_db = check_quantized(path, artifact, reference)
            self.progress.note(f"{artifact_file(artifact)}: {psnr_db:.1f} dB to the float network")

        return ExportedFile(artifact, write, check)

    def ort(self) -> list[ExportedFile]:
        """The float graph in ONNX Runtime's own format, and the int8 one if there is one."""

        def write_float(path: Path) -> None:
            with scratch_folder() as folder:
                source = folder / artifact_file("onnx")
                onnx.save(onnx_graph(self.network, self.contract, None), source)
                write_ort(source, path)

        files = [ExportedFile("ort", write_float, lambda p: check_float(p, "ort", self.reference))]
        if INT8 in self.bundle.artifacts:
            source = find_artifact(self.bundle, INT8)
            files.append(
                ExportedFile(
                    INT8_ORT,
                    lambda p: write_ort(source, p),
                    lambda p: check_float(p, INT8_ORT, OnnxSession(source, INT8).run),
                )
            )
        return files


@dataclass(frozen=True)
class ExportFormat:
    """What `nstc export --format` takes."""

    artifact: str  # what it is for a bundle; its file is model.ARTIFACT
    files: Callable[[ExportSource], Sequence[ExportedFile]]  # one as a rule


def write_checked(target: Path, file: ExportedFile) -> None:
    """Write a file, which gets its name only once it was opened and compared.

    Raises:
        ExportMismatchError: it differs from the network.
        OutputError: the place can't be written.
    """
    with atomic_file(target) as draft:
        file.write(draft)
        file.check(draft)
        remember_made(draft)


def write_ort(source: Path, target: Path) -> None:
    """Save an ONNX file in ONNX Runtime's own format, optimised as for every processor.

    Its builds for phones read that without parsing ONNX.

    Raises:
        OSError: there is no room for it.
        OutputError: there is none in the system's temporary folder.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.save_model_format", "ORT")
    # Not to the target itself: of a full disk ONNX Runtime says no more than that it failed.
    with as_utf8(source) as graph, scratch_folder() as folder:
        written = folder / "model.ort"
        options.optimized_model_filepath = str(written)
        try:
            onnxruntime.InferenceSession(
                graph,
                options,
                providers=["CPUExecutionProvider"],
                # It blocks channels by the vectors of the x86 at hand; ONNX Runtime's own
                # converter leaves it out too (`onnxruntime.tools.convert_onnx_models_to_ort`).
                disabled_optimizers=["NchwcTransformer"],
            )
        except ORT_ERRORS as error:
            raise OutputError(
                f"cannot write {written}: {first_line(error)}. Set TMPDIR to a folder with room."
            ) from error
        shutil.copyfile(written, target)
