"""Static quantization of a network's body: algebra, ranges, integers, and layers left in float.

The result has QuantizeLinear and DequantizeLinear around operators. Activations are uint8. Weights
are int8 and use 7 of their 8 bits (`reduce_range`): without VNNI the products of two uint8 and int8
pairs are added in 16 bits, which full-range weights overflow.
"""

import contextlib
import io
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType, quant_utils
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from torch import nn

from nstc.compress.graphs import float_graphs, surgery
from nstc.compress.graphs.edge_nodes import LEVEL
from nstc.compress.graphs.stored_weights import LARGEST_WEIGHT, NEXT_TO_NOTHING
from nstc.compress.graphs.surgery import GraphIndex, outputs
from nstc.compress.quantization import calibration, wide_activations
from nstc.compress.quantization.calibration import Feeds, Range
from nstc.compress.quantization.weight_storage import round_adaptively
from nstc.core import Progress
from nstc.core.errors import ExportMismatchError
from nstc.core.manifest import Contract
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe
from nstc.core.terminal import short_name
from nstc.models.student import StudentNetwork
from nstc.runtime import arrays

_JUDGED_ON: Final = 4  # photographs at most, evenly spread, that a quality budget is measured on


@dataclass(frozen=True, kw_only=True)
class IntegerForm:
    """What becomes integers, and how."""

    operators: tuple[str, ...]  # kinds of nodes
    per_channel: bool = True  # whether weights have a scale for each output channel, or one for all
    pixels: tuple[str, ...] = ()  # tensors whose bytes are a picture's levels, with scale 1/255
    bytes_at: tuple[str, ...] = ()  # tensors that must be bytes even if nothing around them is
    black_and_white: tuple[float, float] = (0.0, 1.0)  # of the graph's output


def integer_form_of(network: nn.Module, contract: Contract, *, per_channel: bool) -> IntegerForm:
    """The form of a network's body."""
    is_student = isinstance(network, StudentNetwork)
    is_local = is_student and contract.locality == "exact"
    return IntegerForm(
        operators=calibration.LOCAL_OPERATORS if is_local else calibration.OPERATORS_BETWEEN_NORMS,
        per_channel=per_channel,
        pixels=(float_graphs.BODY_OUTPUT,) if is_student else (),
        bytes_at=(float_graphs.BODY_INPUT, float_graphs.BODY_OUTPUT) if is_student else (),
    )


@dataclass(frozen=True, kw_only=True)
class FloatLayer:
    """A layer that stays float among integers."""

    name: str  # of its node
    psnr_db: float  # to the float network with this layer and those before it in float
    gain_db: float  # how much of that this layer gives
    more_bytes: int  # of the graph

    def describe(self) -> str:
        """One line for a reader."""
        return (
            f"{short_name(self.name)} stays float: {self.gain_db:+.1f} dB to "
            f"{self.psnr_db:.1f} dB, {self.more_bytes / 1000:+.1f} KB"
        )


@dataclass(frozen=True, kw_only=True)
class StaticGraph:
    """What quantization made."""

    graph: onnx.ModelProto
    all_integer: onnx.ModelProto  # the same with every layer in integers of 8 bits
    float_layers: tuple[FloatLayer, ...]
    wide_layers: tuple[wide_activations.WideLayer, ...] = ()


def quantized_body(
    network: nn.Module,
    contract: Contract,
    photos: PhotoSet,
    recipe: QuantizeRecipe,
    progress: Progress,
) -> StaticGraph:
    """As `quantized_statically`, of a network in evaluation mode, calibrated on photographs."""
    size = recipe.calibration_size
    feeds = calibration.photographs(network, contract, photos, size=size, progress=progress)
    form = integer_form_of(network, contract, per_channel=recipe.per_channel)
    return quantized_statically(float_graphs.body_graph(network), form, feeds, recipe)


def quantized_statically(
    graph: onnx.ModelProto, form: IntegerForm, feeds: Feeds, recipe: QuantizeRecipe
) -> StaticGraph:
    """Quantize a copy of a float graph of one input and one output, calibrated on its feeds.

    ExportMismatchError if an activation is infinite, or the quality asked for can't be reached.
    """
    body = rewritten(graph, per_channel=form.per_channel)
    if recipe.bits == wide_activations.BITS:
        body = float_graphs.at_least_opset(body, float_graphs.OTHER_BITS)
    calibrator = calibration.CALIBRATORS[recipe.calibrator](recipe.percentile)
    found = calibration.calibrate(
        body,
        form.operators,
        feeds.reporting("calibrate"),
        lambda histogram: (calibrator(histogram), calibration.min_max(histogram)),
    )
    ranges, whole = ({name: each[end] for name, each in found.items()} for end in (0, 1))
    if "Add" in form.operators:
        ranges = calibration.with_portable_additions(ranges, calibration.additions_in(body))
        ranges, whole = (calibration.with_moved(body, each) for each in (ranges, whole))

    def make(*, wide: Collection[str] = (), **others: Collection[str]) -> onnx.ModelProto:
        moved = calibration.moved_with(body, wide)
        # What is moved has no range where nothing that is quantized reads it.
        widened = {name: whole[name] for name in {*wide, *moved} if name in whole}
        return integer_body(body, form, ranges, wide=widened, **others)

    float_layers: tuple[FloatLayer, ...] = ()
    wide_layers: tuple[wide_activations.WideLayer, ...] = ()
    wide: tuple[str, ...] = ()
    if recipe.bits == wide_activations.BITS:
        wide_layers, wide = _wide_layers(body, form, make, feeds, recipe.quality_budget)
    elif recipe.quality_budget is not None:
        float_layers = _float_layers(body, form, make, feeds, recipe.quality_budget)
    left = tuple(layer.name for layer in float_layers)
    graph = plain = make(left_in_float=left, wide=wide)
    if left or wide:
        plain = make()
    if recipe.rounding == "adaptive":
        for integer in (graph, plain) if left or wide else (graph,):
            round_adaptively(integer, body, feeds.reporting("round"), limit=LARGEST_WEIGHT)
    return StaticGraph(
        graph=graph, all_integer=plain, float_layers=float_layers, wide_layers=wide_layers
    )


def _judged_on(feeds: Feeds) -> list[surgery.Feed]:
    step = max(1, -(-len(feeds.photos) // _JUDGED_ON))
    return list(itertools.islice(feeds, 0, None, step))


def _float_layers(
    body: onnx.ModelProto,
    form: IntegerForm,
    make: Callable[..., onnx.ModelProto],
    feeds: Feeds,
    budget_db: float,
) -> tuple[FloatLayer, ...]:
    judged = _judged_on(feeds)
    wanted = list(outputs(body, judged))
    return choose_float_layers(
        budget_db,
        [node.name for node in GraphIndex(body).nodes("Conv")],
        lambda left: psnr_db(
            wanted, list(outputs(make(left_in_float=left), judged)), form.black_and_white
        ),
        lambda left: int(make(left_in_float=left).ByteSize()),
        feeds.progress,
    )


def _wide_layers(
    body: onnx.ModelProto,
    form: IntegerForm,
    make: Callable[..., onnx.ModelProto],
    feeds: Feeds,
    budget_db: float | None,
) -> tuple[tuple[wide_activations.WideLayer, ...], tuple[str, ...]]:
    judged = _judged_on(feeds)
    wanted = [] if budget_db is None else list(outputs(body, judged))
    return wide_activations.choose_wide_layers(
        wide_activations.by_noise(body, make(), form.bytes_at, judged, feeds.progress),
        budget_db,
        lambda wide: psnr_db(wanted, list(outputs(make(wide=wide), judged)), form.black_and_white),
    )


def rewritten(graph: onnx.ModelProto, *, per_channel: bool) -> onnx.ModelProto:
    """A copy in the form that loses least to integers.

    Neighbouring layers are equalised where one scale serves all of a layer's filters, and between
    normalisations, where each tensor is rounded on its way in and out. Between filters that have
    scales of their own, in a network without normalisation, it costs a tenth of a dB.
    """
    body = surgery.copied(graph)
    surgery.fold_batch_norm(body)
    if not per_channel or GraphIndex(body).nodes("InstanceNormalization"):
        surgery.equalise_layers(body)
    surgery.equalise_before_norm(body)
    return body


def psnr_db(
    wanted: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    black_and_white: tuple[float, float] = (0.0, 1.0),
) -> float:
    """Peak signal-to-noise ratio over all pictures, clamped to black and white."""
    black, white = black_and_white
    errors = [
        np.mean((a.clip(black, white) - b.clip(black, white)) ** 2, dtype=np.float64)
        for a, b in zip(wanted, found, strict=True)
    ]
    return arrays.psnr_db(float(np.mean(errors)), white - black)


def choose_float_layers(
    budget_db: float,
    layers: Sequence[str],
    judge: Callable[[tuple[str, ...]], float],
    weigh: Callable[[tuple[str, ...]], int],
    progress: Progress,
) -> tuple[FloatLayer, ...]:
    """Leave layers in float, each time the one that helps most, until the quality is reached.

    For names of layers left in float `judge` gives the quality in dB, and `weigh` the size of the
    graph in bytes. ExportMismatchError if not even all of them in float reach it.
    """
    chosen: tuple[FloatLayer, ...] = ()
    best = judge(())
    while best < budget_db:
        names = tuple(layer.name for layer in chosen)
        left = [name for name in layers if name not in names]
        if not left:
            raise ExportMismatchError(
                f"quality-budget is {budget_db:g} dB, but even with every convolution in float "
                f"the bytes of the picture allow {best:.1f} dB: ask for less."
            )
        found: dict[str, float] = {}
        progress.begin(f"mixed precision at {best:.1f} dB", len(left), 0)
        for done, name in enumerate(left, start=1):
            found[name] = judge((*names, name))
            progress.advance(done, {})
        winner = max(found, key=lambda name: found[name])
        layer = FloatLayer(
            name=winner,
            psnr_db=found[winner],
            gain_db=found[winner] - best,
            more_bytes=weigh((*names, winner)) - weigh(names),
        )
        progress.note(layer.describe())
        chosen, best = (*chosen, layer), found[winner]
    return chosen


def integer_body(
    body: onnx.ModelProto,
    form: IntegerForm,
    ranges: Mapping[str, Range],
    *,
    left_in_float: Collection[str] = (),
    wide: Mapping[str, Range] = MappingProxyType({}),
) -> onnx.ModelProto:
    """Quantize the operators of a float body, but nodes `left_in_float`, with calibrated ranges.

    Tensors that are `wide` get 16 bits for the ranges given with them, which should be those of all
    values: there are levels enough for the rare ones.
    """
    body = quant_utils.save_and_reload_model_with_shape_infer(_with_scales(body))
    # The exporter has folded constants and inferred shapes; unmarked, ONNX Runtime would log advice
    # to do so, and set up the process's root logger on the way.
    quant_utils.add_pre_process_metadata(body)
    ends = {name: map(np.float32, found) for name, found in ranges.items()}
    limits = {name: TensorData(lowest=low, highest=high) for name, (low, high) in ends.items()}
    with contextlib.redirect_stdout(io.StringIO()):  # ONNX Runtime prints what it does
        quantizer = QDQQuantizer(
            body,
            form.per_channel,
            True,  # reduce_range
            QuantType.QInt8,
            QuantType.QUInt8,
            TensorsData(CalibrationMethod.MinMax, limits),
            [],
            list(left_in_float),
            list(form.operators),
            {"TensorQuantOverrides": _stored_as(form, ranges, wide)},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    made: onnx.ModelProto = quantizer.model.model
    surgery.fold_factors_into_dequantize(made)
    _ensure_bytes(made, form, ranges)
    # ONNX Runtime makes integers of the weights of any convolution between DequantizeLinear and
    # QuantizeLinear, of all 8 bits, which other machines overflow: Max of one keeps it in float. A
    # ReLU between them does not, as saturation does its work.
    index = GraphIndex(made)
    for node in [node for node in index.nodes("Conv") if node.name in left_in_float]:
        readers = {reader.op_type for reader in index.readers[node.output[0]]}
        if readers & {"QuantizeLinear", "Relu"}:
            index.insert_behind(node, "Max")
    return made


def _stored_as(
    form: IntegerForm, ranges: Mapping[str, Range], wide: Mapping[str, Range]
) -> dict[str, list[dict[str, Any]]]:
    """Scale and zero point of each tensor, as ONNX Runtime takes them."""
    # Given with each tensor: those that ONNX Runtime makes of `limits` in float32 are a bit off.
    stored = {name: calibration.scale_and_zero_point(found) for name, found in ranges.items()}
    stored |= dict.fromkeys(form.pixels, (LEVEL, 0))
    overrides: dict[str, list[dict[str, Any]]] = {
        name: [{"scale": np.array(scale, np.float32), "zero_point": np.array(zero, np.uint8)}]
        for name, (scale, zero) in stored.items()
    }
    for name, found in wide.items():
        scale, zero = calibration.scale_and_zero_point(found, wide_activations.LEVELS)
        overrides[name] = [
            {
                "quant_type": QuantType.QUInt16,
                "scale": np.array(scale, np.float32),
                "zero_point": np.array(zero, np.uint16),
            }
        ]
    return overrides


def _with_scales(body: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which filters of zeros have one weight that is next to nothing.

    ONNX Runtime gives filters of zeros a scale of 1, in whose steps it would store their biases.
    """
    copy = surgery.copied(body)
    index = GraphIndex(copy)
    for node in index.nodes("Conv"):
        if index.is_constant(node.input[1]):
            weight = index.value(node.input[1])
            filters = weight.reshape(weight.shape[0], -1)
            silent = ~filters.any(axis=1)
            if silent.any():
                filters[silent, 0] = NEXT_TO_NOTHING * (np.abs(weight).max() or 1)
                index.set_input(node, 1, filters.reshape(weight.shape))
    index.drop_unread_constants()
    return copy


def _ensure_bytes(model: onnx.ModelProto, form: IntegerForm, ranges: Mapping[str, Range]) -> None:
    """Quantize the edges next to layers left in float: a picture comes and goes as bytes."""
    graph = model.graph
    for name in form.bytes_at:
        at_start = name in {value.name for value in graph.input}
        quantized = [n for n in graph.node if name in (n.input if at_start else n.output)]
        if {node.op_type for node in quantized} <= {"QuantizeLinear", "DequantizeLinear"}:
            continue
        scale, zero_point = calibration.scale_and_zero_point(
            (0.0, 1.0) if name in form.pixels else ranges[name]
        )
        stored = {
            f"{name}/scale": np.array(scale, np.float32),
            f"{name}/zero_point": np.array(zero_point, np.uint8),
        }
        graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in stored.items())
        inner = f"{name}/float"
        for node in quantized:
            names = node.input if at_start else node.output
            names[list(names).index(name)] = inner
        first, last = (name, inner) if at_start else (inner, name)
        start = 0 if at_start else len(graph.node)
        quantize = helper.make_node("QuantizeLinear", [first, *stored], [f"{name}/bytes"])
        dequantize = helper.make_node("DequantizeLinear", [f"{name}/bytes", *stored], [last])
        quantize.name, dequantize.name = f"{name}/q", f"{name}/dq"
        graph.node.insert(start, quantize)
        graph.node.insert(start + 1, dequantize)
