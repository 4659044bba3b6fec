"""Quantization: fewer bits for weights and sums, measured beside the float network."""

import dataclasses
import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from nstc.benchmarks.latency import alternate
from nstc.benchmarks.statistics import median
from nstc.compress.calibration import quantized_body
from nstc.compress.checking import check_quantized, eager_reference, sample_picture
from nstc.compress.converted import ConvertedOperators, converted_operators
from nstc.compress.deployed_graph import deployed_graph, edges_of
from nstc.compress.exporting import ensure_artifact
from nstc.core.bundle import (
    Bundle,
    artifact_file,
    artifact_name,
    open_bundle,
    refuse_unwritable_bundle,
    revised_bundle,
)
from nstc.core.errors import OptionError
from nstc.core.files import atomic_file
from nstc.core.manifest import Step
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress, Silent
from nstc.core.recipe import QuantizeRecipe
from nstc.models.architectures import load
from nstc.runtime.artifact_cache import find_artifact
from nstc.runtime.onnx_session import OnnxSession

SPEED_SIZE: Final = 512
SPEED_THREADS: Final = 2
SPEED_ROUNDS: Final = 5

_ARTIFACTS: Final = {"static": artifact_name("int8"), "dynamic": artifact_name("dynamic")}
_FLOAT: Final = artifact_name("float")


@dataclass(frozen=True, kw_only=True)
class QuantizationReport:
    """What quantization did, beside the float file of the same network.

    Attributes:
        artifact: The file it made.
        operators: How many were converted, and which were not.
        size_bytes: Of the file.
        float_size_bytes: Of `model.onnx`.
        latency_ms: Median over rounds that alternate with the float file, at `SPEED_SIZE` squared
            on `SPEED_THREADS` threads.
        float_latency_ms: The float file's.
        speedup: Median over rounds of float over quantized time.
        psnr_db: Lowest peak signal-to-noise ratio to the network on a sample photograph.
    """

    artifact: str
    operators: ConvertedOperators
    size_bytes: int
    float_size_bytes: int
    latency_ms: float
    float_latency_ms: float
    speedup: float
    psnr_db: float

    @property
    def slower(self) -> bool:
        """Whether the quantized file takes longer than the float one."""
        return self.speedup < 1

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity: a perfect match has 99 dB."""
        results = dataclasses.asdict(self)
        return {**results, "psnr_db": min(self.psnr_db, 99.0), "slower": self.slower}

    def describe(self) -> str:
        """Lines for a reader. One that is slower says so first, and loudly."""
        lines = [
            f"{artifact_file(self.artifact)}: {self.operators.describe()}",
            f"{self.size_bytes / 1000:.0f} KB beside {self.float_size_bytes / 1000:.0f} KB, "
            f"{self.psnr_db:.1f} dB to the float network",
            f"{self.latency_ms:.1f} ms beside {self.float_latency_ms:.1f} ms at "
            f"{SPEED_SIZE}x{SPEED_SIZE} on {SPEED_THREADS} threads: {self.speedup:.2f} times "
            "as fast as float",
        ]
        if self.slower:
            lines.insert(
                0,
                f"WARNING: {artifact_file(self.artifact)} IS SLOWER THAN FLOAT, "
                f"{1 / self.speedup:.1f} times. Do not deploy it for speed; "
                "--mode static makes integer convolutions that are faster on most CPUs.",
            )
        return "\n".join(lines)


def quantize(
    model: str | Path | Bundle,
    output: Path,
    *,
    photos: PhotoSet,
    recipe: QuantizeRecipe | None = None,
    name: str | None = None,
    progress: Progress | None = None,
) -> tuple[Bundle, QuantizationReport]:
    """Make a bundle with a quantized file, checked and measured, beside the float one.

    Args:
        model: The bundle to quantize.
        output: The bundle to write; it keeps weights, style and exported files of the first.
        photos: To calibrate on, in static mode.
        recipe: Settings.
        name: Of the model; the first one's by default.
        progress: Told of every photograph.

    Raises:
        OptionError: the bundle is quantized already.
        PhotosError: there are no photographs to calibrate on.
        ExportMismatchError: the file came out too far from the network; nothing was written.
        OutputError: the place can't be written.
        BundleError: and its kinds, if the bundle can't be opened or is damaged.
    """
    progress = progress or Silent()
    recipe = recipe or QuantizeRecipe()
    bundle = model if isinstance(model, Bundle) else open_bundle(model)
    if bundle.manifest.stage == "quantized":
        raise OptionError(
            f"{bundle.path} is quantized already: give the bundle it was made from"
            f"{_parent_path(bundle)}."
        )
    refuse_unwritable_bundle(output)
    chosen = photos.take(recipe.calibration_photos)
    network = load(bundle)
    artifact = _ARTIFACTS[recipe.mode]
    with tempfile.TemporaryDirectory(prefix="nstc.") as folder:
        file = Path(folder) / artifact_file(artifact)
        ensure_artifact(bundle)
        float_file = find_artifact(bundle, _FLOAT)
        if recipe.mode == "static":
            _write_static(network, bundle, chosen, recipe, file, progress)
        else:
            _write_dynamic(float_file, file)
        reference = eager_reference(network, bundle.manifest.contract)
        psnr_db = check_quantized(file, artifact, reference)
        progress.note(f"measuring {file.name} beside {float_file.name}")
        report = _measured(artifact, file, float_file, psnr_db)
        step = Step(
            verb="quantize",
            recipe=dataclasses.asdict(recipe),
            photos=chosen.record() if recipe.mode == "static" else None,
            results=report.to_dict(),
        )
        manifest = dataclasses.replace(
            bundle.manifest,
            name=name or bundle.name,
            stage="quantized",
            parent=bundle.origin(),
            history=(*bundle.manifest.history, step),
            measurements=(),
        )
        with revised_bundle(bundle, output, manifest) as draft:
            for made in (float_file, file):
                with atomic_file(draft / made.name) as target:
                    target.write_bytes(made.read_bytes())
    return open_bundle(output), report


def _write_static(
    network: nn.Module,
    bundle: Bundle,
    photos: PhotoSet,
    recipe: QuantizeRecipe,
    file: Path,
    progress: Progress,
) -> None:
    contract = bundle.manifest.contract
    body = quantized_body(
        network,
        contract,
        photos,
        size=recipe.calibration_size,
        percentile=recipe.percentile,
        progress=progress,
    )
    onnx.save(deployed_graph(body, edges_of(network, contract)), file)


def _write_dynamic(float_file: Path, file: Path) -> None:
    # uint8 weights: ONNX Runtime has no ConvInteger for int8 ones
    quantize_dynamic(float_file, file, weight_type=QuantType.QUInt8)


def _measured(artifact: str, file: Path, float_file: Path, psnr_db: float) -> QuantizationReport:
    picture = sample_picture(SPEED_SIZE, SPEED_SIZE)
    sessions = [
        OnnxSession(path, name, SPEED_THREADS)
        for path, name in ((float_file, _FLOAT), (file, artifact))
    ]
    float_run, quantized_run = (
        functools.partial(session.infer, session.prepare(picture)) for session in sessions
    )
    timings = alternate(float_run, [quantized_run], rounds=SPEED_ROUNDS, seed=0)
    return QuantizationReport(
        artifact=artifact,
        operators=converted_operators(file),
        size_bytes=file.stat().st_size,
        float_size_bytes=float_file.stat().st_size,
        latency_ms=median(timings.candidates_ms[0]),
        float_latency_ms=median(timings.reference_ms),
        speedup=timings.speedup(0, seed=0).median,
        psnr_db=psnr_db,
    )


def _parent_path(bundle: Bundle) -> str:
    parent = bundle.manifest.parent
    place = (parent.zoo or parent.path) if parent else None
    return f", {place}" if place else ""
