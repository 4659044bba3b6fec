"""Graphs as others write them: their weights looked at, and brought to the form that is quantized.

That is: in float32, by recent operators, constants stored as such, and no inputs but the picture.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Unpack

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper, numpy_helper, version_converter

from nstc.compress.graphs.inspection import (
    Array,
    copied,
    drop_unread_constants,
    graphs_of,
    replace_all,
)
from nstc.core.decoding import printable
from nstc.core.errors import OptionError, TeacherError, UnusableModelError
from nstc.core.graph_form import GraphFlags, GraphForm
from nstc.core.unusable_models import refuse_not_finite
from nstc.runtime.foreign.contracts import GraphContract
from nstc.runtime.foreign.networks import is_torchscript, shown
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.foreign.trial import current_limits, keeps_within
from nstc.runtime.model_files import model_sha256

SCALE_A_CHANNEL: Final = 13  # the first opset whose DequantizeLinear takes a scale for each channel
FOUR_BITS: Final = 21  # the first opset whose DequantizeLinear takes four bits
OWN_DOMAINS: Final = ("", "ai.onnx")  # of ONNX's own operators
_FLOAT: Final = TensorProto.FLOAT
_OTHER_FLOATS: Final = (TensorProto.FLOAT16, TensorProto.DOUBLE)
_FIRST_WITHOUT_INPUTS: Final = 4
"""The version of ONNX from which stored constants need not be listed as inputs."""

_NAMES_OF_TYPES: Final = ("to", "dtype")
"""Attributes of Cast, EyeLike and their like that name a type."""


def probe_usable(
    path: Path, form: GraphForm | None = None, *, trust: bool = False, **told: Unpack[GraphFlags]
) -> GraphContract:
    """As `probe_contract`, of a file whose weights are finite; TorchScript's are not looked at.

    All of a graph takes many times its size here, so it is read after it ran within limits. Where
    it ran and gave no picture, weights that are not finite are the nearer reason.

    Raises:
        NstcError: see `probe_contract` and `refuse_unusable_weights`.
    """
    try:
        contract = probe_contract(path, form, trust=trust, **told)
    except (TeacherError, UnusableModelError):
        if path.is_file() and keeps_within(model_sha256(path), current_limits()):
            refuse_unusable_weights(path)
        raise
    if not is_torchscript(path):
        refuse_unusable_weights(path)
    return contract


def refuse_unusable_weights(path: Path) -> None:
    """Refuse an ONNX file of someone else's whose weights are NaN or infinite.

    A single number may be infinite: limits of a clip are written so. A file that is not a whole
    ONNX graph passes: whoever opens it says what is wrong with it.

    Raises:
        UnusableModelError: the message names the first such tensor, and counts its values.
        TeacherError: the values of one do not fit its shape.
    """
    try:
        model = onnx.load(path)
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError):
        return
    weights = (
        (name, values)
        for name, values in float_constants(model, path)
        if not (values.size == 1 and values.dtype.kind == "f" and np.isinf(values).all())
    )
    refuse_not_finite(weights, path)


def float_constants(model: onnx.ModelProto, where: str | Path) -> Iterator[tuple[str, Array]]:
    """Names and values of stored floats; of other constants ONNX Runtime says what is wrong.

    Raises:
        TeacherError: the values of one do not fit its shape.
    """
    stored = [(tensor.name, tensor) for tensor in model.graph.initializer]
    stored += [
        (next(iter(node.output), node.name), attribute.t)
        for node in model.graph.node
        for attribute in node.attribute
        if node.op_type == "Constant" and attribute.name == "value"
    ]
    for name, tensor in stored:
        if tensor.data_type in (_FLOAT, *_OTHER_FLOATS):
            try:
                yield name, numpy_helper.to_array(tensor)
            except (ValueError, onnx.checker.ValidationError) as error:
                raise TeacherError(
                    f"{where} can't be used: the values of {printable(name):.80} do not fit "
                    f"its shape, {shown(tensor.dims):.80}. Export it again."
                ) from error


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes the same, in float32.

    float16 and double constants become float32, and so does what is computed with them; the input
    and the output keep their types, by casts. What is listed as an input although it is stored is
    an input no more, and what Constant nodes make is stored.
    """
    copy = copied(model)
    graph = copy.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) < len(graph.input):
        replace_all(graph.input, inputs)
        copy.ir_version = max(copy.ir_version, _FIRST_WITHOUT_INPUTS)
    _store_constants(graph)
    tensors = (tensor for part in graphs_of(graph) for tensor in _tensors(part))
    if any(tensor.data_type in _OTHER_FLOATS for tensor in tensors):
        _widen(graph)
    _fold_casts(graph)
    for node in graph.node:
        while node.input and not node.input[-1]:
            del node.input[-1]  # ONNX Runtime's quantizer takes an optional input for a tensor
    return copy


def _store_constants(graph: onnx.GraphProto) -> None:
    kept = []
    for node in graph.node:
        given = node.attribute[0] if node.op_type == "Constant" and node.attribute else None
        if given is not None and given.name == "value" and node.domain in OWN_DOMAINS:
            given.t.name = node.output[0]
            graph.initializer.append(given.t)
        else:
            kept.append(node)
    replace_all(graph.node, kept)


def _fold_casts(graph: onnx.GraphProto) -> None:
    """Store what Cast to float32 and Identity make of a constant: weights kept in fewer bits."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    kept = []
    for node in graph.node:
        is_cast = node.op_type == "Cast" and [x.i for x in node.attribute if x.name == "to"] == [
            _FLOAT
        ]
        constant = stored.get(node.input[0]) if node.input else None
        foldable = is_cast or node.op_type == "Identity"
        if constant is None or not foldable or node.output[0] in outputs:
            kept.append(node)
            continue
        values = numpy_helper.to_array(constant)
        values = values.astype(np.float32) if is_cast else values
        graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        stored[node.output[0]] = graph.initializer[-1]
    replace_all(graph.node, kept)
    drop_unread_constants(graph)


def _widen(graph: onnx.GraphProto) -> None:
    """Let float16 and double be float32 inside; input and output keep their types, by casts."""
    for part in graphs_of(graph):
        for tensor in _tensors(part):
            if tensor.data_type in _OTHER_FLOATS:
                values = numpy_helper.to_array(tensor).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        for node in part.node:
            for attribute in node.attribute:
                if attribute.name in _NAMES_OF_TYPES and attribute.i in _OTHER_FLOATS:
                    attribute.i = _FLOAT
        del part.value_info[:]
        for value in [] if part is graph else [*part.input, *part.output]:
            if value.type.tensor_type.elem_type in _OTHER_FLOATS:
                value.type.tensor_type.elem_type = _FLOAT
    [given], [made] = graph.input, graph.output
    if given.type.tensor_type.elem_type in _OTHER_FLOATS:
        inside = _renamed_inside(graph, given.name)
        graph.node.insert(0, helper.make_node("Cast", [given.name], [inside], inside, to=_FLOAT))
    kind = made.type.tensor_type.elem_type
    if kind in _OTHER_FLOATS:
        inside = _renamed_inside(graph, made.name)
        graph.node.append(helper.make_node("Cast", [inside], [made.name], inside, to=kind))


def _renamed_inside(graph: onnx.GraphProto, old: str) -> str:
    """Call a tensor otherwise, wherever it is made or read; its new name."""
    new = f"{old}/float32"
    for node in (node for part in graphs_of(graph) for node in part.node):
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
    return new


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Constants of a graph, without those of graphs inside it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t


def at_least_opset(model: onnx.ModelProto, wanted: int) -> onnx.ModelProto:
    """A copy of a graph, rewritten to newer operators if its own are older.

    Raises:
        OptionError: it can't be rewritten.
    """
    copy = copied(model)
    versions = [int(x.version) for x in model.opset_import if x.domain in OWN_DOMAINS]
    own = max(versions, default=wanted)  # none: no node is of ONNX's own
    if own >= wanted:
        return copy
    try:
        return version_converter.convert_version(copy, wanted)
    except (RuntimeError, ValueError) as error:
        raise OptionError(
            f"the graph has opset {own}, {wanted} is needed, and it can't be converted: "
            f"{str(error).splitlines()[0]}. Export it again with opset {wanted}."
        ) from error
