"""Float graphs: exported from networks, or made by others, checked and brought to one form.

Networks are exported to ONNX, whole or the body alone, and to TorchScript. Graphs made by others
are quantized in float32, with recent operators, constants stored as such, and no inputs but the
picture.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Unpack

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper, numpy_helper, version_converter
from torch import Tensor, nn
from torch.export import Dim

from nstc.compress.graphs import surgery
from nstc.compress.graphs.deployed import OUTPUT
from nstc.compress.graphs.edge_nodes import INPUT
from nstc.compress.graphs.surgery import Array, GraphIndex, graphs_of, replace_all
from nstc.core import decoding, errors, manifest, unusable_models
from nstc.core.graph_form import GraphFlags, GraphForm
from nstc.models.architectures import AnySize, Core, any_size, pad
from nstc.models.student import StudentNetwork
from nstc.runtime.foreign import contracts, networks, probing, trial
from nstc.runtime.model_files import model_sha256

# The first with the axes of paddings as an input; every runtime since 2023 reads it.
OPSET: Final = 18
BODY_INPUT: Final = "body_in"
BODY_OUTPUT: Final = "body_out"
_EXAMPLE_SIZE: Final = (70, 67)  # of a traced picture: no multiple of anything that may be needed
_EXAMPLE_BODY: Final = (64, 72)
SCALE_A_CHANNEL: Final = 13  # the first opset whose DequantizeLinear takes a scale for each channel
OTHER_BITS: Final = 21  # the first opset whose DequantizeLinear takes 4 or 16 bits
OWN_DOMAINS: Final = ("", "ai.onnx")  # of ONNX's own operators
_SPACE_FROM_DEPTH: Final = [0, 3, 4, 1, 5, 2]  # of (N, row, column, channel, H, W)
_FLOAT: Final = TensorProto.FLOAT
_OTHER_FLOATS: Final = (TensorProto.FLOAT16, TensorProto.DOUBLE)
_FIRST_WITHOUT_INPUTS: Final = 4  # version of ONNX whose constants need not be listed as inputs
_NAMES_OF_TYPES: Final = ("to", "dtype")  # attributes of Cast, EyeLike and their like


def onnx_graph(
    network: nn.Module, contract: manifest.Contract, size: tuple[int, int] | None = None
) -> onnx.ModelProto:
    """Export a network in evaluation mode on the CPU, padding and cropping inside.

    Input and output are NCHW float32 in [0, 1]. `size` is the height and width of the only pictures
    that it will take, None for any.
    """
    example = torch.rand(1, 3, *(size or _EXAMPLE_SIZE))
    model = exported(any_size(network, contract), example, (INPUT, OUTPUT), fixed=size is not None)
    # shapes in plain words, where the exporter has formulas
    shape = [1, 3, *(size or ("height", "width"))]
    for value, name in ((model.graph.input[0], INPUT), (model.graph.output[0], OUTPUT)):
        value.CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    del model.graph.value_info[:]
    return model


def body_graph(network: nn.Module) -> onnx.ModelProto:
    """The part of a network that is quantized, float32: from `body_input` to raw pixels."""
    example = torch.rand(1, 3, *_EXAMPLE_BODY)
    if isinstance(network, StudentNetwork):
        example = network.enter(example, network.statistics(example)).detach()
    return exported(Body(network).eval(), example, (BODY_INPUT, BODY_OUTPUT), fixed=False)


def body_input(network: nn.Module, contract: manifest.Contract, images: Tensor) -> Tensor:
    """The input of a network's body for pictures (1, 3, H, W) in [0, 1]."""
    padded = pad(images, contract.size_multiple, contract.minimum_size)
    if isinstance(network, StudentNetwork):
        return network.enter(padded, network.statistics(images)).detach()
    return padded


def torchscript(network: nn.Module, contract: manifest.Contract) -> torch.jit.ScriptModule:
    """The network traced, inside padding and cropping that are compiled."""
    # Tracing alone would fix the padding to the example's; compiling alone fails on upsampling.
    padded = torch.rand(1, 3, *_EXAMPLE_BODY)
    with torch.no_grad(), warnings.catch_warnings():
        # torch recommends torch.export instead; the format stays for the devices that run it
        warnings.filterwarnings("ignore", message=r".*torch\.jit\.\w+` is deprecated")
        # InstanceNorm checks its input's size in Python: the check is lost, nothing else
        warnings.filterwarnings("ignore", message="Converting a tensor to a Python boolean")
        core: nn.Module = torch.jit.trace(  # type: ignore[no-untyped-call]
            Core(network).eval(), (padded, padded), check_trace=False
        )
        whole = AnySize(core, contract.size_multiple, contract.minimum_size)
        compiled: torch.jit.ScriptModule = torch.jit.script(whole.eval())
    return compiled


class Body(nn.Module):
    """The part of a network that is quantized, as a module."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """What it is given to raw pixels: see `StudentNetwork.body`."""
        if isinstance(self.network, StudentNetwork):
            return self.network.body(x)
        result: Tensor = self.network(x)
        return result


def exported(
    module: nn.Module, example: Tensor, names: tuple[str, str], *, fixed: bool
) -> onnx.ModelProto:
    """A module as torch exports it, traced with an example, its input and output named."""
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=[names[0]],
        output_names=[names[1]],
        dynamic_shapes=None if fixed else ({2: Dim.DYNAMIC, 3: Dim.DYNAMIC},),
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export(dynamo=True) gave no program")
    model = program.model_proto
    graph = model.graph
    _drop_idle_relus(model)
    _name_depth_to_space(model)
    # the exporter notes source lines and folders of this machine
    for noted in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del noted.metadata_props[:]
        noted.doc_string = ""
    return model


def _drop_idle_relus(model: onnx.ModelProto) -> None:
    """Take away each ReLU whose input is clipped at zero or above: runtimes would compute it."""
    index = GraphIndex(model)
    for relu in index.nodes("Relu"):
        clip = index.producers.get(relu.input[0])
        if (
            clip is not None
            and clip.op_type == "Clip"
            and index.only_reader(clip.output[0]) is relu
            and index.is_constant(clip.input[1])
            and index.value(clip.input[1]) >= 0
        ):
            index.bypass(relu)


def _name_depth_to_space(model: onnx.ModelProto) -> None:
    """Make one DepthToSpace of each of `nstc.models.student.depth_to_space`, in place.

    The exporter has a transposition of six axes, for which ONNX Runtime takes twice as long or
    more, between reshapes to sizes that are computed.
    """
    index = GraphIndex(model)
    shapes = {value.name: value.type.tensor_type.shape.dim for value in model.graph.value_info}
    for node in index.nodes("Transpose"):
        if surgery.attribute(node, "perm", []) != _SPACE_FROM_DEPTH:
            continue
        apart, together = index.producers[node.input[0]], index.only_reader(node.output[0])
        scale = shapes[node.input[0]][1].dim_value
        if together is None or (apart.op_type, together.op_type) != ("Reshape", "Reshape"):
            continue
        node.CopyFrom(
            helper.make_node(
                "DepthToSpace",
                [apart.input[0]],
                [together.output[0]],
                name=node.name,
                blocksize=scale,
                mode="DCR",
            )
        )
        model.graph.node.remove(apart)
        model.graph.node.remove(together)
    surgery.drop_unread(model)


def probe_usable(
    path: Path, form: GraphForm | None = None, *, trust: bool = False, **told: Unpack[GraphFlags]
) -> contracts.GraphContract:
    """As `probe_contract`, of a file whose weights are finite; TorchScript's are not checked.

    Reading a whole graph takes many times its size, so this is done after it ran within limits.
    Where it ran and gave no picture, weights that are not finite are the nearer reason. Raises what
    `probe_contract` and `refuse_unusable_weights` raise.
    """
    try:
        contract = probing.probe_contract(path, form, trust=trust, **told)
    except (errors.TeacherError, errors.UnusableModelError):
        if path.is_file() and trial.keeps_within(model_sha256(path), trial.current_limits()):
            refuse_unusable_weights(path)
        raise
    if not networks.is_torchscript(path):
        refuse_unusable_weights(path)
    return contract


def refuse_unusable_weights(path: Path) -> None:
    """Refuse an ONNX file whose weights are NaN or infinite.

    A single number may be infinite: limits of a clip are written so. A file that is not a whole
    ONNX graph passes: opening it tells what is wrong with it. `UnusableModelError` names the first
    such tensor and counts its values; `TeacherError` if the values of one do not fit its shape.
    """
    try:
        model = onnx.load(path)
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError):
        return
    constants = float_constants(model, path)
    weights = (each for each in constants if each[1].size != 1 or not np.isinf(each[1]).all())
    unusable_models.refuse_not_finite(weights, path)


def float_constants(model: onnx.ModelProto, where: str | Path) -> Iterator[tuple[str, Array]]:
    """Names and values of stored floats; a TeacherError if the values do not fit their shape."""
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
                raise errors.TeacherError(
                    f"{where} can't be used: the values of {decoding.printable(name):.80} do not "
                    f"fit its shape, {trial.shown(tensor.dims):.80}. Export it again."
                ) from error


def prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes the same, in float32.

    float16 and double constants become float32, and so does what is computed with them; the input
    and the output keep their types, by casts. Stored constants are not listed as inputs, and the
    outputs of Constant nodes are stored.
    """
    copy = surgery.copied(model)
    graph = copy.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    if len(inputs) < len(graph.input):
        replace_all(graph.input, inputs)
        copy.ir_version = max(copy.ir_version, _FIRST_WITHOUT_INPUTS)
    kept = []
    for node in graph.node:
        given = node.attribute[0] if node.op_type == "Constant" and node.attribute else None
        if given is not None and given.name == "value" and node.domain in OWN_DOMAINS:
            given.t.name = node.output[0]
            graph.initializer.append(given.t)
        else:
            kept.append(node)
    replace_all(graph.node, kept)
    tensors = (tensor for part in graphs_of(graph) for tensor in _tensors(part))
    if any(tensor.data_type in _OTHER_FLOATS for tensor in tensors):
        _widen(graph)
    _fold_casts(graph)
    GraphIndex(copy).drop_unread_constants()
    for node in graph.node:
        while node.input and not node.input[-1]:
            del node.input[-1]  # ONNX Runtime's quantizer takes an optional input for a tensor
    return copy


def _fold_casts(graph: onnx.GraphProto) -> None:
    """Store the outputs of Cast to float32 and Identity for constants, such as float16 weights."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    kept = []
    for node in graph.node:
        is_cast = node.op_type == "Cast" and surgery.attribute(node, "to", 0) == _FLOAT
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


def _widen(graph: onnx.GraphProto) -> None:
    """Make float16 and double float32 inside; input and output keep their types, by casts."""
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
    """Rename a tensor wherever it is made or read; its new name."""
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
    """A copy of a graph, rewritten to newer operators if need be; an OptionError if it can't be."""
    copy = surgery.copied(model)
    versions = [int(x.version) for x in model.opset_import if x.domain in OWN_DOMAINS]
    own = max(versions, default=wanted)  # none: no node is of ONNX's own
    if own >= wanted:
        return copy
    try:
        return version_converter.convert_version(copy, wanted)
    except (RuntimeError, ValueError) as error:
        raise errors.OptionError(
            f"the graph has opset {own}, {wanted} is needed, and it can't be converted: "
            f"{str(error).splitlines()[0]}. Export it again with opset {wanted}."
        ) from error
