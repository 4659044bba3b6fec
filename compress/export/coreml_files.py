"""Core ML packages: a student for one size as an ML Program, RGB pictures in and out.

    image ─ less mean, over deviation ─ body ─ pixel_shuffle ─ stylized

Layers are float16. The picture's statistics stay float32: what they sum is beyond float16.
"""

import json
import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from nstc.compress.export import COREML, ExportedFile, checking
from nstc.compress.export.export_request import Size
from nstc.compress.export.mobile_formats import StudentOfOneSize, as_unconvertible
from nstc.compress.export.portable_files import student_of_size
from nstc.compress.graphs.coreml_operations import computed
from nstc.core import VERSION, images
from nstc.core.errors import ExportMismatchError, MissingExtraError
from nstc.core.files import scratch_folder
from nstc.models.student import StudentNetwork
from nstc.models.tensors import images_to_tensor, tensor_to_images
from nstc.runtime import coreml
from nstc.runtime.arrays import CHECK_SEED, Difference, check_picture
from nstc.runtime.programs import quiet

if TYPE_CHECKING:
    from nstc.compress.export.export_model import ExportSource

_HIGHEST_LEVEL: Final = 255
# Of the program's picture, rounded to float16 as it says, to the network's; the zoo's read 62 dB.
_LEAST_DB: Final = 50.0
# What computes statistics, and normalises by them.
_EXACT: Final = frozenset(
    (
        *("avg_pool", "maximum", "mul", "pow", "real_div"),
        *("reduce_mean", "slice_by_index", "sqrt", "sub"),
    )
)


def coreml_files(source: "ExportSource", size: Size) -> list[ExportedFile]:
    """The package of a bundle's network.

    Raises:
        OptionError: as `student_of_size`.
        MissingExtraError: coremltools is not installed.
    """
    network, identity = student_of_size(source, size, COREML), source.bundle.identity
    if (missing := coreml.missing_coremltools()) is not None:
        raise MissingExtraError(missing)
    artifact = coreml.coreml_artifact(size)

    def write(path: Path) -> None:
        with as_unconvertible(source.bundle.path, "coremltools", artifact):
            spec, weights = _converted(network, size)
        _describe(spec, source.bundle.name, size, identity)
        _write_package(path, artifact, spec.SerializeToString(deterministic=True), weights)

    def check(path: Path) -> None:
        with checking.as_mismatch(artifact):
            coreml.kept_coreml_contract(path, size, identity)
            model = coreml.read_coreml(path)
            for picture in (checking.sample_picture(*size), check_picture(CHECK_SEED, *size)):
                off = Difference.between(painted(model, picture), source.reference(picture))
                if off.psnr_db < _LEAST_DB:
                    raise ExportMismatchError(
                        f"{artifact} differs from the network by up to {off.worst} of 255 levels, "
                        f"{off.psnr_db:.1f} dB, at least {_LEAST_DB:.0f} dB is expected. It was "
                        "not kept."
                    )

    return [ExportedFile(artifact, write, check)]


class _Levels(nn.Module):
    """A student of one size as a function of values in [0, 1], to levels from 0 to 255."""

    def __init__(self, network: StudentNetwork, height: int) -> None:
        super().__init__()
        self.student = StudentOfOneSize(network, height)

    def forward(self, picture: Tensor) -> Tensor:
        values: Tensor = self.student(picture)
        return values * _HIGHEST_LEVEL


def _converted(network: StudentNetwork, size: Size) -> tuple[Any, bytes]:
    """The program as coremltools writes it, and the storage of its weights."""
    with quiet(), torch.no_grad(), scratch_folder() as folder:
        import coremltools

        def is_half(operation: Any) -> bool:
            return operation.op_type not in _EXACT

        example = torch.rand(1, 3, *size)
        exported = torch.export.export(_Levels(network, size[0]).eval(), (example,))
        rgb = coremltools.colorlayout.RGB
        made = coremltools.convert(
            exported.run_decompositions({}),
            inputs=[
                coremltools.ImageType(
                    coreml.INPUT, example.shape, scale=1 / _HIGHEST_LEVEL, color_layout=rgb
                )
            ],
            outputs=[coremltools.ImageType(coreml.OUTPUT, color_layout=rgb)],
            convert_to="mlprogram",
            minimum_deployment_target=coremltools.target.iOS16,
            compute_precision=coremltools.transform.FP16ComputePrecision(is_half),
            skip_model_load=True,  # only Apple's systems load it
        )
        written = folder / "model.mlpackage"
        made.save(str(written))
        return made.get_spec(), (written / "Data" / coreml.WEIGHTS).read_bytes()


def _describe(spec: Any, name: str, size: Size, identity: str) -> None:
    """Put metadata in the place of coremltools', which has the day in it."""
    metadata = spec.description.metadata
    metadata.shortDescription = f"{name}: stylises pictures of {size[0]}x{size[1]}."
    metadata.versionString = VERSION
    metadata.userDefined.clear()
    metadata.userDefined["nstc.version"] = VERSION
    metadata.userDefined[coreml.IDENTITY] = identity
    told = ("The picture, RGB.", "The stylised picture, RGB, of the same size.")
    for edge, line in zip((*spec.description.input, *spec.description.output), told, strict=True):
        edge.shortDescription = line


def _write_package(path: Path, artifact: str, model: bytes, weights: bytes) -> None:
    """A package in a zip file, with the same bytes whenever it is made."""
    folder = f"model.{artifact}".removesuffix(".zip")
    members = {
        coreml.MANIFEST: json.dumps(_manifest(), indent=4).encode(),
        f"Data/{coreml.MODEL}": model,
        f"Data/{coreml.WEIGHTS}": weights,
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(f"{folder}/{name}"), content, zipfile.ZIP_DEFLATED)


def _manifest() -> Mapping[str, object]:
    """The list of a package's parts, whose keys are chosen once."""
    weights_folder = str(Path(coreml.WEIGHTS).parent)
    parts = {coreml.MODEL: "CoreML Model Specification", weights_folder: "CoreML Model Weights"}
    keys = {path: str(uuid.uuid5(uuid.NAMESPACE_URL, path)) for path in parts}
    entries = {
        keys[path]: {
            "author": "com.apple.CoreML",
            "description": told,
            "name": path.rpartition("/")[2],
            "path": path,
        }
        for path, told in parts.items()
    }
    return {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": keys[coreml.MODEL],
    }


def painted(model: coreml.CoremlModel, picture: images.Pixels) -> images.Pixels:
    """What a package makes of (H, W, 3) uint8, by its operations with their rounding."""
    with torch.inference_mode():
        levels = computed(model, images_to_tensor([picture]) * _HIGHEST_LEVEL)
        return tensor_to_images(levels / _HIGHEST_LEVEL)[0]
