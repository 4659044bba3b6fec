"""Quantizing an ONNX file made by others: its input and output stay as they were."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Unpack

import onnx

from nstc.compress.export.checking import sample_picture
from nstc.compress.graphs import float_graphs
from nstc.compress.graphs.surgery import graphs_of, replace_all
from nstc.compress.quantization import calibration, integer_body, summary, weight_storage
from nstc.compress.quantization.quantize_model import Written, write_static_graph
from nstc.core import Progress, Silent, files
from nstc.core.errors import ExportMismatchError, OptionError, TeacherError
from nstc.core.graph_form import FORM_KEY, GraphFlags
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe
from nstc.runtime import arrays, onnx_session
from nstc.runtime.foreign import contracts, networks

# Of style networks. Others compute in float as they did, and are listed in the report.
_KNOWN_OPERATORS: Final = frozenset(
    {"Add", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv"}
    | {"ConvTranspose", "DepthToSpace", "Div", "Expand", "Flatten", "Gather", "Gemm", "Identity"}
    | {"GlobalAveragePool", "InstanceNormalization", "LeakyRelu", "MatMul", "Max", "MaxPool", "Min"}
    | {"Mul", "Neg", "Pad", "Pow", "PRelu", "Reciprocal", "ReduceMean", "Relu", "Reshape", "Resize"}
    | {"Shape", "Sigmoid", "Slice", "SpaceToDepth", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose"}
    | {"Unsqueeze", "Upsample"}
)
# A file that holds one of these is quantized already.
_INTEGER_OPERATORS: Final = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"}
    | {"QGemm", "ConvInteger", "MatMulInteger", "MatMulNBits"}
)
# What onnx and ONNX Runtime raise at graphs that they were not written for.
THIRD_PARTY_ERRORS: Final = (
    *onnx_session.ORT_ERRORS,
    *(onnx.checker.ValidationError, onnx.shape_inference.InferenceError),
    *(AssertionError, AttributeError, LookupError, NotImplementedError, TypeError, ValueError),
)


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
    """Quantize an ONNX file, calibrated on photographs where the mode needs them, to another one.

    The model takes one picture and gives one of the same size. `told` says how it is fed, where
    that is known, by fields of a `GraphForm`: all of them are stored in the file that is written.
    Inputs besides the picture stay inputs; it is calibrated and measured on what they get here.

    Raises:
        TeacherError: the file is not an image-to-image network.
        UnusableModelError: weights or output of it are not finite, or it gives one colour.
        OptionError: it is quantized already, can't be in this mode, or output is not a new ONNX
            file.
        PhotosError: there are no photographs to calibrate on.
        ExportMismatchError: the quantized file does not run, or its picture differs too much.
        OutputError: the output can't be written.
    """
    recipe, progress = recipe or QuantizeRecipe(), progress or Silent()
    if not is_foreign(output) or output.resolve() == model.resolve():
        raise OptionError(
            f"output is {output}: an ONNX file is quantized to another one, give -o NAME.onnx."
        )
    if model.is_file() and networks.is_torchscript(model):
        raise TeacherError(
            f"{model} is TorchScript, and ONNX files are quantized: export it to ONNX first."
        )
    if recipe.needs_photos:
        calibration.refuse_no_photos(photos)
    contract = float_graphs.probe_usable(model, **told)
    progress.note(f"{model.name} {contract.describe()}")
    graph = _float_graph(model)
    files.refuse_unwritable_file(output)
    photos = photos.take(recipe.calibration_photos if recipe.needs_photos else 0)
    with files.scratch_folder() as folder:
        file = folder / output.name
        with _unfit_is_an_option_error(model, recipe):
            written = _write(graph, file, contract, photos, recipe, progress)
            # how the graph is fed goes into the file itself, where probing looks first
            made = onnx.load(file)
            replace_all(made.metadata_props, [p for p in made.metadata_props if p.key != FORM_KEY])
            made.metadata_props.add(key=FORM_KEY, value=contract.form.to_json())
            onnx.save(made, file)
        progress.note(f"measuring {output.name} and {model.name}")
        report = _measured(model, file, contract, photos, recipe, written, _unknown(graph))
        with files.atomic_file(output) as target:
            target.write_bytes(file.read_bytes())
    return report


def _float_graph(model: Path) -> onnx.ModelProto:
    """A file's graph in the form that is quantized, if it is not quantized already."""
    graph = onnx.load(model)
    found = {n.op_type for part in graphs_of(graph.graph) for n in part.node} & _INTEGER_OPERATORS
    if found:
        raise OptionError(
            f"{model} is quantized already, it has {', '.join(sorted(found, reverse=True))}: give "
            "the float file that it was made from."
        )
    return float_graphs.prepared(graph)


def _write(
    graph: onnx.ModelProto,
    file: Path,
    contract: contracts.GraphContract,
    photos: PhotoSet,
    recipe: QuantizeRecipe,
    progress: Progress,
) -> Written:
    multiple = contract.size_multiple
    side = max(recipe.calibration_size // multiple * multiple, contract.minimum_size)
    height, width = contract.fixed_size or (side, side)
    feeds = calibration.Feeds(
        photos=photos,
        size=max(height, width),
        encode=lambda square: contract.feeds(square[:height, :width]),
        progress=progress,
    )
    taken = {""}
    for number, node in enumerate(graph.graph.node):  # layers are found by their names
        if node.name in taken:
            node.name = f"{node.op_type}_{number}"
        taken.add(node.name)
    if recipe.mode != "static":
        weight_storage.write_uncalibrated(graph, file, recipe, feeds, _unknown(graph))
        return Written()
    normalised = any("Normalization" in node.op_type for node in graph.graph.node)
    black, white = contract.black_and_white
    operators = calibration.OPERATORS_BETWEEN_NORMS if normalised else calibration.LOCAL_OPERATORS
    form = integer_body.IntegerForm(
        operators=operators,
        per_channel=recipe.per_channel,
        black_and_white=(float(min(black)), float(max(white))),
    )
    graph = float_graphs.at_least_opset(graph, float_graphs.SCALE_A_CHANNEL)
    return write_static_graph(integer_body.quantized_statically(graph, form, feeds, recipe), file)


def _measured(
    model: Path,
    file: Path,
    contract: contracts.GraphContract,
    photos: PhotoSet,
    recipe: QuantizeRecipe,
    written: Written,
    foreign_operators: tuple[str, ...],
) -> summary.QuantizationReport:
    """Check and time the file; each file is opened once."""
    threads, optimized = summary.SPEED_THREADS, file.with_suffix(".optimized.onnx")
    written_to = optimized if recipe.mode in summary.INTEGER_MODES else None
    picture = sample_picture(*(contract.fixed_size or (recipe.size, recipe.size)))
    try:
        reference = networks.ForeignSession(model, contract, threads)
        others = [networks.ForeignSession(file, contract, threads, optimized=written_to)]
        if written.all_integer is not None:
            others.append(networks.ForeignSession(written.all_integer, contract, threads))
        made = [session.run(picture) for session in (reference, others[0])]
        for path, output in zip((model, file), made, strict=True):
            arrays.refuse_one_colour(output, path)
    except TeacherError as error:
        raise ExportMismatchError(f"{file.name} was written but does not run: {error}") from error
    psnr_db = arrays.Difference.between(*made).psnr_db
    if psnr_db < arrays.FOREIGN_PSNR_DB:
        raise ExportMismatchError(
            f"{file.name} differs too much from {model}: {psnr_db:.1f} dB. It was not kept. "
            "Calibrate on photographs like those it will be given, or give a --quality-budget."
        )
    return summary.timed_report(
        reference,
        others,
        picture,
        recipe,
        photos,
        optimized,
        artifact=file.name,
        psnr_db=psnr_db,
        islands=written.float_layers,
        wide=written.wide_layers,
        foreign_operators=foreign_operators,
        is_foreign=True,
    )


def _unknown(graph: onnx.ModelProto) -> tuple[str, ...]:
    """Kinds of nodes that are not among those nstc knows, with their domains."""
    own = float_graphs.OWN_DOMAINS
    kinds = {
        node.op_type if node.domain in own else f"{node.domain}.{node.op_type}"
        for part in graphs_of(graph.graph)
        for node in part.node
    }
    return tuple(sorted(kinds - _KNOWN_OPERATORS))


@contextlib.contextmanager
def _unfit_is_an_option_error(model: Path, recipe: QuantizeRecipe) -> Iterator[None]:
    """Turn what onnx and ONNX Runtime raise into one line."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # onnxruntime.quantization logs advice to its developers
    try:
        yield
    except THIRD_PARTY_ERRORS as error:
        raise OptionError(
            f"{model} can't be quantized by --mode {recipe.mode}: "
            f"{onnx_session.first_line(error).rstrip('.')} ({type(error).__name__}). Choose "
            "another mode, or export the network again in float32 with another opset."
        ) from error
    finally:
        logging.disable(before)
