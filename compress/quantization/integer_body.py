"""The integer form of a network's body: QuantizeLinear and DequantizeLinear around operators."""

import contextlib
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import (
    add_pre_process_metadata,
    save_and_reload_model_with_shape_infer,
)
from torch import nn

from nstc.compress.graphs.edges import LEVEL
from nstc.compress.graphs.float_forms import BODY_INPUT, BODY_OUTPUT
from nstc.compress.graphs.index import Array, GraphIndex
from nstc.compress.graphs.norm_algebra import undone_with_the_bytes
from nstc.compress.quantization.calibrators import Range, scale_and_zero_point, with_width
from nstc.core.manifest import Contract
from nstc.models.student import Student

LOCAL_OPERATORS: Final = ("Conv", "Relu", "Add", "Reshape", "Transpose")
"""The last two are depth to space in front of a convolution at full resolution."""

OPERATORS_BETWEEN_NORMS: Final = ("Conv", "Relu")
"""Where float normalisation follows every convolution, adding in bytes only costs conversions."""

LARGEST_WEIGHT: Final = 64
"""Magnitude of a stored weight: of 7 bits, see `integer_body`."""

NEXT_TO_NOTHING: Final = 2.0**-16
"""Of a layer's largest weight: what stands in a filter of zeros, so that it has a scale."""


@dataclass(frozen=True, kw_only=True)
class IntegerForm:
    """What becomes integers, and how."""

    operators: tuple[str, ...]  # kinds of nodes
    per_channel: bool = True  # whether weights have a scale for each output channel, or one for all
    # The tensors whose bytes are a picture's levels: their scale is 1/255 and their saturation the
    # clamp.
    pixels: tuple[str, ...] = ()
    bytes_at: tuple[str, ...] = ()  # tensors that must be bytes even if nothing around them is
    black_and_white: tuple[float, float] = (0.0, 1.0)  # what the graph's output calls them


def integer_form_of(network: nn.Module, contract: Contract, *, per_channel: bool) -> IntegerForm:
    """The form that a network's body takes."""
    is_student = isinstance(network, Student)
    is_local = is_student and contract.locality == "exact"
    return IntegerForm(
        operators=LOCAL_OPERATORS if is_local else OPERATORS_BETWEEN_NORMS,
        per_channel=per_channel,
        pixels=(BODY_OUTPUT,) if is_student else (),
        bytes_at=(BODY_INPUT, BODY_OUTPUT) if is_student else (),
    )


def integer_body(
    body: onnx.ModelProto,
    form: IntegerForm,
    ranges: Mapping[str, Range],
    *,
    left_in_float: Collection[str] = (),
) -> onnx.ModelProto:
    """Put pairs around the operators of a float body.

    Activations are uint8. Weights are int8 and use 7 of their 8 bits (`reduce_range`): without VNNI
    the products of two uint8 and int8 pairs are added in 16 bits, which full-range weights
    overflow.

    Args:
        body: The float graph.
        form: What becomes integers.
        ranges: Of the activations, from `calibrate`.
        left_in_float: Names of nodes that don't.
    """
    body = save_and_reload_model_with_shape_infer(_with_scales(body))
    # The exporter has folded constants and inferred shapes; unmarked, ONNX Runtime would log advice
    # to do so, and set up the process's root logger on the way.
    add_pre_process_metadata(body)
    wide = {name: map(np.float32, with_width(found)) for name, found in ranges.items()}
    seen = {name: TensorData(lowest=low, highest=high) for name, (low, high) in wide.items()}
    with contextlib.redirect_stdout(io.StringIO()):  # ONNX Runtime prints what it does
        quantizer = QDQQuantizer(
            body,
            form.per_channel,
            True,  # reduce_range
            QuantType.QInt8,
            QuantType.QUInt8,
            TensorsData(CalibrationMethod.MinMax, seen),
            [],
            list(left_in_float),
            list(form.operators),
            {"TensorQuantOverrides": _stored(form, ranges)},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    made: onnx.ModelProto = quantizer.model.model
    undone_with_the_bytes(made)
    _ensure_bytes(made, form, ranges)
    _keep_in_float(made, left_in_float)
    return made


def _with_scales(body: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which filters of zeros hold one weight that is next to nothing.

    ONNX Runtime gives them a scale of 1, and biases are stored in steps of it: theirs would be
    rounded to whole numbers.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(body)
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


def _keep_in_float(model: onnx.ModelProto, names: Collection[str]) -> None:
    """Put a copy between convolutions that stay float and the bytes that are made of them.

    ONNX Runtime makes integers of the weights of any convolution between DequantizeLinear and
    QuantizeLinear, of all 8 bits, which other machines overflow.
    """
    index = GraphIndex(model)
    for node in [node for node in index.nodes("Conv") if node.name in names]:
        if any(reader.op_type == "QuantizeLinear" for reader in index.readers[node.output[0]]):
            index.insert_behind(node, "Max")


def _stored(form: IntegerForm, ranges: Mapping[str, Range]) -> dict[str, list[dict[str, Any]]]:
    """Scales and zero points by tensors: of ranges in float32 ONNX Runtime's own are a bit off."""
    held = {name: scale_and_zero_point(found) for name, found in ranges.items()}
    held |= dict.fromkeys(form.pixels, (LEVEL, 0))
    return {
        name: [{"scale": np.array(scale, np.float32), "zero_point": np.array(zero, np.uint8)}]
        for name, (scale, zero) in held.items()
    }


def _ensure_bytes(model: onnx.ModelProto, form: IntegerForm, ranges: Mapping[str, Range]) -> None:
    """A picture comes and goes as bytes, whatever computes beside it."""
    graph = model.graph
    for name in form.bytes_at:
        at_start = name in {value.name for value in graph.input}
        quantized = [n for n in graph.node if name in (n.input if at_start else n.output)]
        if {node.op_type for node in quantized} <= {"QuantizeLinear", "DequantizeLinear"}:
            continue
        scale, zero_point = scale_and_zero_point(
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
        pair = [
            helper.make_node("QuantizeLinear", [first, *stored], [f"{name}/bytes"], f"{name}/q"),
            helper.make_node("DequantizeLinear", [f"{name}/bytes", *stored], [last], f"{name}/dq"),
        ]
        start = 0 if at_start else len(graph.node)
        for place, node in enumerate(pair, start):
            graph.node.insert(place, node)


@dataclass(frozen=True)
class IntegerLayer:
    """A convolution behind a DequantizeLinear of its weights."""

    index: GraphIndex  # the graph it stands in
    convolution: onnx.NodeProto  # its node
    weights: onnx.NodeProto  # the node that makes floats of the weights

    @property
    def integers(self) -> Array:
        """The stored weights, (out, in / groups, kh, kw)."""
        return self.index.value(self.weights.input[0])

    @property
    def scale(self) -> Array:
        """Of the weights, (out,), repeated if there is one for all."""
        stored = self.index.value(self.weights.input[1]).ravel()
        return np.broadcast_to(stored, self.integers.shape[:1])

    def store(self, integers: Array) -> None:
        """Replace the stored weights."""
        self.index.set_input(self.weights, 0, integers.astype(self.integers.dtype))


def integer_layers(model: onnx.ModelProto) -> dict[str, IntegerLayer]:
    """All of a graph's, by the names of their nodes, in order."""
    index = GraphIndex(model)
    layers = {}
    for node in index.nodes("Conv"):
        maker = index.producers.get(node.input[1])
        if (
            maker is not None
            and maker.op_type == "DequantizeLinear"
            and index.is_constant(maker.input[0])
        ):
            layers[node.name] = IntegerLayer(index, node, maker)
    return layers
