"""Quantization: fewer bits for weights and sums, measured against the float network."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import onnx
from torch import nn

from nstc.compress.export import checking, export_model
from nstc.compress.export.stale_predictors import drop_stale_predictor
from nstc.compress.graphs.deployed import deployed_graph, edges_of
from nstc.compress.graphs.edge_nodes import INPUT
from nstc.compress.graphs.float_graphs import body_graph, onnx_graph
from nstc.compress.quantization import (
    aware_training,
    calibration,
    integer_body,
    summary,
    wide_activations,
)
from nstc.compress.quantization.fake_quantization import FakeQuantizedStudent
from nstc.compress.quantization.weight_storage import write_uncalibrated
from nstc.core import Progress, Silent, errors
from nstc.core import bundle as bundles
from nstc.core.bundle import Bundle, artifact_file, artifact_name, open_bundle
from nstc.core.files import atomic_file, one_at_a_time, scratch_folder
from nstc.core.manifest import Step
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe
from nstc.models.architectures import learned_ranges, load, load_as_deployed
from nstc.models.student import StudentNetwork
from nstc.models.tensors import images_to_tensor
from nstc.runtime.agreement import counterpart_of
from nstc.runtime.check_vectors import check_vector, read_check_vectors, write_check_vectors
from nstc.runtime.onnx_session import OnnxSession

_FLOAT: Final = artifact_name("float")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Written:
    """What a mode reports of its file."""

    float_layers: tuple[integer_body.FloatLayer, ...] = ()
    wide_layers: tuple[wide_activations.WideLayer, ...] = ()
    # The file it would be without either, if there are any.
    all_integer: Path | None = None
    training_graph: FakeQuantizedStudent | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Work:
    """What a mode is given: a network in evaluation mode, its bundle and its float file."""

    network: nn.Module
    bundle: Bundle
    photos: PhotoSet  # none where they have no part in it
    recipe: QuantizeRecipe
    progress: Progress
    learned: Mapping[str, calibration.Range] | None  # ranges of training; None calibrates
    ignores_ranges: bool  # that the weights were trained with, which then count as float ones
    artifact: str  # what is made
    float_file: Path  # to keep beside the quantized one
    file: Path  # to write


@one_at_a_time("output")
def quantize(
    model: str | Path | Bundle,
    output: str | Path,
    *,
    photos: PhotoSet,
    recipe: QuantizeRecipe | None = None,
    name: str | None = None,
    again: bool = False,
    progress: Progress | None = None,
) -> tuple[Bundle, summary.QuantizationReport]:
    """Quantize a bundle into another one, which keeps its weights, style and exported files.

    The file is checked against the network and measured against the float file. Ranges are found on
    `photos` where the recipe needs them. `name` is the model's, by default unchanged. With `again`
    a file that the bundle has already is replaced, from float weights and never from integers.

    Raises:
        OptionError: the bundle has such a file already.
        PhotosError: there are no photographs to calibrate on.
        UnusableModelError: weights or pictures are not finite, or the network gives one colour.
        ExportMismatchError: the file came out too far from the network; nothing was written.
        OutputError: the output can't be written.
        BundleError: and its kinds, if the bundle can't be opened or is damaged.
    """
    output = Path(output)
    recipe = recipe or QuantizeRecipe()
    bundle = model if isinstance(model, Bundle) else open_bundle(model)
    short = {"static": "int8", "weights": f"weights-int{recipe.bits}"}
    artifact = artifact_name(short.get(recipe.mode, recipe.mode))
    if not again:
        _refuse_quantized(bundle, artifact)
    network = load(bundle)
    checking.refuse_unusable_network(network, bundle.path)
    learned = _learned(bundle, recipe)
    needs_photos = recipe.needs_photos and learned is None
    if needs_photos:
        calibration.refuse_no_photos(photos)
    bundles.refuse_unwritable_bundle(output)
    with scratch_folder() as folder:
        ignores_ranges = recipe.recalibrate and bundles.QUANTIZATION_FILE in bundle.manifest.files
        if ignores_ranges:
            float_file = folder / artifact_file(_FLOAT)
            export_model.write_without_ranges(bundle, float_file)
        else:
            float_file = export_model.made_artifact(bundle, _FLOAT)
        work = _Work(
            network=network,
            bundle=bundle,
            photos=photos.take(recipe.calibration_photos if needs_photos else 0),
            recipe=recipe,
            progress=progress or Silent(),
            learned=learned,
            ignores_ranges=ignores_ranges,
            artifact=artifact,
            float_file=float_file,
            file=folder / artifact_file(artifact),
        )
        report = _written_into(output, work, _write(work), name)
    return open_bundle(output), report


def _refuse_quantized(bundle: Bundle, artifact: str) -> None:
    if artifact in bundle.artifacts:
        parent = bundle.manifest.parent
        source = (parent.zoo or parent.path) if parent else None
        raise errors.OptionError(
            f"{bundle.path} is quantized already, to {artifact_file(artifact)}: give --again to "
            "make that anew from its float weights"
            + (f", or give the bundle it was made from, {source}." if source else ".")
        )


def _learned(bundle: Bundle, recipe: QuantizeRecipe) -> Mapping[str, calibration.Range] | None:
    """The ranges that a bundle's weights were trained with, if the recipe uses them."""
    if recipe.mode != "static" or recipe.recalibrate:
        return None
    ranges = learned_ranges(bundle)
    if ranges is not None and recipe.against_learned_ranges:
        raise errors.OptionError(
            f"{bundle.path} was distilled quantize-aware, and not with "
            f"{', '.join(recipe.against_learned_ranges)}: leave that out, or give --recalibrate to "
            "quantize it as if it had been trained in float."
        )
    return ranges


def _write(work: _Work) -> Written:
    """Write the quantized file, by the recipe's mode."""
    contract = work.bundle.manifest.contract
    if work.recipe.mode != "static":
        feeds = calibration.Feeds(
            photos=work.photos,
            size=work.recipe.calibration_size,
            encode=lambda square: {INPUT: images_to_tensor([square]).numpy()},
            progress=work.progress,
        )
        write_uncalibrated(_graph_to_round(work), work.file, work.recipe, feeds)
        return Written()
    edges = edges_of(work.network, contract)
    if work.learned is None:
        made = integer_body.quantized_body(
            work.network, contract, work.photos, work.recipe, work.progress
        )
        return write_static_graph(made, work.file, lambda body: deployed_graph(body, edges))
    student = aware_training.require_qat_student(work.network)
    body = body_graph(student)
    qat_student = aware_training.restored_qat_student(student, work.learned, body)
    form = integer_body.integer_form_of(student, contract, per_channel=True)
    integer = aware_training.quantize_with_learned_ranges(
        body, form, qat_student.activations, work.learned
    )
    onnx.save(deployed_graph(integer, edges), work.file)
    return Written(training_graph=qat_student)


def _graph_to_round(work: _Work) -> onnx.ModelProto:
    """The float graph whose weights are rounded where they stand; nothing else depends on them."""
    network = load(work.bundle) if work.ignores_ranges else load_as_deployed(work.bundle)
    if not isinstance(network, StudentNetwork) or network.normalises_first:
        return onnx.load(work.float_file)
    network.normalises_first = True
    return onnx_graph(network, work.bundle.manifest.contract)


def write_static_graph(
    made: integer_body.StaticGraph,
    file: Path,
    finish: Callable[[onnx.ModelProto], onnx.ModelProto] = lambda graph: graph,
) -> Written:
    """Write what static quantization made, and beside it the same with all in 8 bits."""
    onnx.save(finish(made.graph), file)
    if not made.float_layers and not made.wide_layers:
        return Written()
    all_integer = file.with_suffix(".all-integer.onnx")
    onnx.save(finish(made.all_integer), all_integer)
    return Written(
        float_layers=made.float_layers, wide_layers=made.wide_layers, all_integer=all_integer
    )


def _written_into(
    output: Path, work: _Work, written: Written, name: str | None
) -> summary.QuantizationReport:
    """Check and measure what a mode wrote, and make the bundle of it; each file is opened once."""
    threads, optimized = summary.SPEED_THREADS, work.file.with_suffix(".optimized.onnx")
    written_to = optimized if work.recipe.mode in summary.INTEGER_MODES else None
    with checking.as_mismatch(work.artifact):
        made = OnnxSession(work.file, work.artifact, threads, optimized=written_to)
    reference = OnnxSession(work.float_file, _FLOAT, threads)
    report = _measured(work, written, made, reference, optimized)
    step = Step(
        verb="quantize",
        recipe=dataclasses.asdict(work.recipe),
        photos=work.photos.record() if len(work.photos) else None,
        results=report.to_dict(),
    )
    bundle = work.bundle
    manifest = dataclasses.replace(
        bundle.manifest,
        name=name or bundle.name,
        stage="quantized",
        parent=bundle.origin(),
        history=(*bundle.manifest.history, step),
        measurements=(),
    )
    vectors = {session.artifact: check_vector(session) for session in (reference, made)}
    with bundles.revised_bundle(bundle, output, manifest) as draft:
        files = (work.float_file, work.file)
        for file in files:
            with atomic_file(draft / file.name) as target:
                target.write_bytes(file.read_bytes())
        if work.ignores_ranges:
            others = set(map(artifact_file, bundle.artifacts))
            for outdated in (bundles.QUANTIZATION_FILE, *others - {file.name for file in files}):
                (draft / outdated).unlink()
        for other in bundle.artifacts:
            if counterpart_of(other, (work.artifact,)) is not None:  # it was made of the older file
                (draft / artifact_file(other)).unlink(missing_ok=True)
        drop_stale_predictor(bundle, draft, work.progress)
        write_check_vectors(draft, (), {**read_check_vectors(bundle), **vectors})
    return report


def _measured(
    work: _Work, written: Written, made: OnnxSession, reference: OnnxSession, optimized: Path
) -> summary.QuantizationReport:
    contract = work.bundle.manifest.contract
    agreement = None
    if written.training_graph is not None:
        agreement = aware_training.check_agreement(made, written.training_graph, contract)
    network = work.network if work.ignores_ranges else load_as_deployed(work.bundle)
    exact = checking.eager_reference(network, contract)
    psnr_db = checking.check_quantized(made, work.artifact, exact)
    work.progress.note(f"measuring {work.file.name} and {work.float_file.name}")
    others = [made]
    if written.all_integer is not None:
        others.append(OnnxSession(written.all_integer, work.artifact, summary.SPEED_THREADS))
    return summary.timed_report(
        reference,
        others,
        checking.sample_picture(work.recipe.size, work.recipe.size),
        work.recipe,
        work.photos,
        optimized,
        artifact=work.artifact,
        psnr_db=psnr_db,
        islands=written.float_layers,
        wide=written.wide_layers,
        agreement=agreement,
    )
