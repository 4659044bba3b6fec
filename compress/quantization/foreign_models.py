"""Quantizing an ONNX file made by others: what it takes and gives stays as it was."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Unpack

import onnx

from nstc.compress.export.checking import sample_picture
from nstc.compress.graphs import foreign_graphs
from nstc.compress.graphs.inspection import graphs_of, replace_all
from nstc.compress.quantization import summary
from nstc.compress.quantization.calibration import (
    LOCAL_OPERATORS,
    OPERATORS_BETWEEN_NORMS,
    Feeds,
    refuse_no_photos,
)
from nstc.compress.quantization.integer_body import IntegerForm, quantized_statically
from nstc.compress.quantization.quantize_model import Written, write_dynamic, write_static_graph
from nstc.compress.quantization.weight_storage import reduced_precision_graph
from nstc.core.errors import ExportMismatchError, OptionError, TeacherError
from nstc.core.files import atomic_file, refuse_unwritable_file, scratch_folder
from nstc.core.graph_form import FORM_KEY, GraphFlags
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress, Silent
from nstc.core.recipe import QuantizeRecipe
from nstc.runtime.agreement import FOREIGN_PSNR_DB, Difference
from nstc.runtime.arrays import refuse_one_colour
from nstc.runtime.foreign.contracts import GraphContract
from nstc.runtime.foreign.networks import ForeignSession, is_torchscript
from nstc.runtime.model_files import model_bytes
from nstc.runtime.onnx_session import ORT_ERRORS, first_line

KNOWN_OPERATORS: Final = frozenset(
    {"Add", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv"}
    | {"ConvTranspose", "DepthToSpace", "Div", "Expand", "Flatten", "Gather", "Gemm", "Identity"}
    | {"GlobalAveragePool", "InstanceNormalization", "LeakyRelu", "MatMul", "Max", "MaxPool", "Min"}
    | {"Mul", "Neg", "Pad", "Pow", "PRelu", "Reciprocal", "ReduceMean", "Relu", "Reshape", "Resize"}
    | {"Shape", "Sigmoid", "Slice", "SpaceToDepth", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose"}
    | {"Unsqueeze", "Upsample"}
)
"""What style networks are made of. Others compute in float as they did, and are listed."""

_OF_INTEGERS: Final = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"}
    | {"QGemm", "ConvInteger", "MatMulInteger", "MatMulNBits"}
)
"""A file that holds one of these is quantized already."""

_THIRD_PARTY_ERRORS: Final = (
    *ORT_ERRORS,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
)
"""What onnx and ONNX Runtime raise at graphs that they were not written for."""


def is_foreign(model: str | Path) -> bool:
    """Whether a model is given as an ONNX file, and not as a bundle."""
    return Path(model).suffix.lower() == ".onnx"


def quantize_file(
    model: Path,
    output: Path,
    *,
    photos: PhotoSet,
    recipe: QuantizeRecipe | None = None,
    progress: Progress | None = None,
    **told: Unpack[GraphFlags],
) -> summary.QuantizationReport:
    """Write a quantized ONNX file beside a float one, calibrated on photographs if the mode does.

    The model takes one picture and gives one of the same size. `told` says how it is fed, where
    that is known, by fields of a `GraphForm`: the file that is written keeps all of them, so that
    nothing has to be told or tried again.

    Raises:
        TeacherError: the file is no image-to-image network.
        UnusableModelError: weights or output of it are not finite, or it gives one colour.
        OptionError: it is quantized already, can't be in this mode, or output is no new ONNX file.
        PhotosError: there are no photographs to calibrate on.
        ExportMismatchError: the quantized file does not run, or paints something else.
        OutputError: the place can't be written.
    """
    recipe, progress = recipe or QuantizeRecipe(), progress or Silent()
    if not is_foreign(output) or output.resolve() == model.resolve():
        raise OptionError(
            f"output is {output}: an ONNX file is quantized to another one, give -o NAME.onnx."
        )
    if model.is_file() and is_torchscript(model):
        raise TeacherError(
            f"{model} is TorchScript, and ONNX files are quantized: export it to ONNX first."
        )
    if recipe.needs_photos:
        refuse_no_photos(photos)
    contract = foreign_graphs.probe_usable(model, **told)
    progress.note(f"{model.name} {contract.describe()}")
    graph = onnx.load(model)
    found = {n.op_type for part in graphs_of(graph.graph) for n in part.node} & _OF_INTEGERS
    if found:
        raise OptionError(
            f"{model} is quantized already, it has {', '.join(sorted(found, reverse=True))}: give "
            "the float file that it was made from."
        )
    graph = foreign_graphs.prepared(graph)
    refuse_unwritable_file(output)
    chosen = photos.take(recipe.calibration_photos)
    with scratch_folder() as folder:
        file = folder / output.name
        with _as_unfit(model, recipe):
            written = _write(graph, file, contract, chosen, recipe, progress)
            # how the graph is fed goes into the file itself, where probing looks first
            made = onnx.load(file)
            replace_all(made.metadata_props, [p for p in made.metadata_props if p.key != FORM_KEY])
            made.metadata_props.add(key=FORM_KEY, value=contract.form.to_json())
            onnx.save(made, file)
        progress.note(f"measuring {output.name} beside {model.name}")
        report = _report(model, file, contract, chosen, recipe, written, graph)
        with atomic_file(output) as target:
            target.write_bytes(file.read_bytes())
    return report


def _write(
    graph: onnx.ModelProto,
    file: Path,
    contract: GraphContract,
    photos: PhotoSet,
    recipe: QuantizeRecipe,
    progress: Progress,
) -> Written:
    if recipe.mode == "dynamic":
        float_file = file.with_suffix(".float.onnx")
        onnx.save(graph, float_file)
        return write_dynamic(float_file, file)
    multiple = contract.size_multiple
    side = max(recipe.calibration_size // multiple * multiple, contract.minimum_size)
    height, width = contract.fixed_size or (side, side)
    feeds = Feeds(
        photos=photos,
        size=max(height, width),
        encode=lambda square: {contract.input_name: contract.encode(square[:height, :width])},
        progress=progress,
    )
    taken = {""}
    for number, node in enumerate(graph.graph.node):  # layers are told apart by their names
        if node.name in taken:
            node.name = f"{node.op_type}_{number}"
        taken.add(node.name)
    if recipe.mode != "static":
        onnx.save(reduced_precision_graph(graph, recipe, feeds, _unknown(graph)), file)
        return Written()
    normalised = any("Normalization" in node.op_type for node in graph.graph.node)
    black, white = contract.black_and_white
    form = IntegerForm(
        operators=OPERATORS_BETWEEN_NORMS if normalised else LOCAL_OPERATORS,
        per_channel=recipe.per_channel,
        black_and_white=(float(min(black)), float(max(white))),
    )
    graph = foreign_graphs.at_least_opset(graph, foreign_graphs.SCALE_A_CHANNEL)
    return write_static_graph(quantized_statically(graph, form, feeds, recipe), file)


def _report(
    model: Path,
    file: Path,
    contract: GraphContract,
    photos: PhotoSet,
    recipe: QuantizeRecipe,
    written: Written,
    graph: onnx.ModelProto,
) -> summary.QuantizationReport:
    files = [model, file, *([written.all_integer] if written.all_integer else [])]
    picture = sample_picture(*(contract.fixed_size or (recipe.size, recipe.size)))
    try:
        sessions = [ForeignSession(path, contract, summary.SPEED_THREADS) for path in files]
        made = [session.run(picture) for session in sessions[:2]]
        for session, output in zip(sessions, made, strict=False):
            refuse_one_colour(output, session.path)
    except TeacherError as error:
        raise ExportMismatchError(f"{file.name} was written but does not run: {error}") from error
    psnr_db = Difference.between(*made).psnr_db
    if psnr_db < FOREIGN_PSNR_DB:
        raise ExportMismatchError(
            f"{file.name} differs too much from {model}: {psnr_db:.1f} dB. It was not kept. "
            "Calibrate on photographs like those it will see, or give a --quality-budget."
        )
    return summary.timed_report(
        sessions[0],
        sessions[1:],
        picture,
        mode=recipe.mode,
        artifact=file.name,
        operators=summary.converted_operators(file)
        if recipe.mode in summary.INTEGER_MODES
        else summary.count_reduced_weights(onnx.load(file)),
        float_size_bytes=model_bytes(model),
        psnr_db=psnr_db,
        islands=written.float_layers,
        foreign_operators=_unknown(graph),
        remarks=summary.calibration_remarks(photos, recipe),
        is_foreign=True,
    )


def _unknown(graph: onnx.ModelProto) -> tuple[str, ...]:
    """Kinds of nodes that are not among those nstc knows, with their domains."""
    own = foreign_graphs.OWN_DOMAINS
    kinds = {
        node.op_type if node.domain in own else f"{node.domain}.{node.op_type}"
        for part in graphs_of(graph.graph)
        for node in part.node
    }
    return tuple(sorted(kinds - KNOWN_OPERATORS))


@contextlib.contextmanager
def _as_unfit(model: Path, recipe: QuantizeRecipe) -> Iterator[None]:
    """Say in one line that a graph can't be quantized in this mode, whoever found out."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # onnxruntime.quantization logs advice to its developers
    try:
        yield
    except _THIRD_PARTY_ERRORS as error:
        raise OptionError(
            f"{model} can't be quantized by --mode {recipe.mode}: "
            f"{first_line(error).rstrip('.')} ({type(error).__name__}). Choose another mode, or "
            "export the network again in float32 with another opset."
        ) from error
    finally:
        logging.disable(before)
