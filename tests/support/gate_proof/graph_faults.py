"""Faults of an int8 file's graph, which takes more instructions for nearly the same picture.

Each run of a fault is of another block of the network, or of another place in it.
"""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from nstc.core.bundle import (
    STYLE_FILE,
    WEIGHTS_FILE,
    artifact_file,
    new_bundle,
    open_bundle,
    revised_bundle,
)

_BLOCKS: Final = 5  # of the network
# The picture in float, of whole numbers and as it is quantized.
_WHOLE: Final = "edge/in/8_Reshape"
_PICTURES: Final = ("edge/in/64_Mul", "edge/in/65_Reshape")
FILE: Final = artifact_file("int8.onnx")
_PASSES: Final = 2  # over the picture: about 1 % of what the student takes


@dataclass(frozen=True, kw_only=True)
class GraphFault:
    """Something that makes a graph slower.

    Attributes:
        name: In words.
        spoil: Changes the graph, another way in each run.
    """

    name: str
    spoil: Callable[[ModelProto, int], None]

    @property
    def model(self) -> str:
        """The name of a bundle that has it."""
        return self.name.replace(" ", "-").replace("%", "percent")


def make_copy(original: str, place: Path, name: str) -> Path:
    """A bundle of another name that holds another's int8 file, and the weights that it is of."""
    bundle = open_bundle(original)
    with new_bundle(place, dataclasses.replace(bundle.manifest, name=name)) as draft:
        for file in (WEIGHTS_FILE, STYLE_FILE, FILE):
            shutil.copyfile(bundle.file(file), draft / file)
    return place


def make_spoilt(original: str, folder: Path, fault: GraphFault, run: int) -> Path:
    """A copy by `make_copy` that has a fault, by whose name it is called, in a folder."""
    whole = make_copy(original, folder / "whole" / fault.model, fault.model)
    bundle = open_bundle(whole)
    with revised_bundle(bundle, folder / fault.model, bundle.manifest) as draft:
        model = onnx.load(draft / FILE)
        fault.spoil(model, run)
        (draft / FILE).unlink()
        onnx.save(model, draft / FILE)
    return folder / fault.model


def _insert(model: ModelProto, tensor: str, chain: Sequence[NodeProto]) -> None:
    """Put operators of one input, and constants, between a tensor and its first user."""
    nodes = model.graph.node
    place = next(number for number, node in enumerate(nodes) if tensor in node.input)
    user, last = nodes[place], tensor
    for number, node in enumerate(chain):
        node.input.insert(0, last)
        last = f"{tensor}/fault{number}"
        node.output.append(last)
        nodes.insert(place + number, node)
    user.input[list(user.input).index(tensor)] = last


def _constant(model: ModelProto, name: str) -> TensorProto:
    return next(own for own in model.graph.initializer if own.name == name)


def _dequantized(model: ModelProto, tensor: str) -> NodeProto:
    """The node that makes a tensor of integers."""
    return next(own for own in model.graph.node if tensor in own.output)


def _extra_cast(model: ModelProto, run: int) -> None:
    """Of the picture's whole numbers to integers and back."""
    kinds = (TensorProto.INT64 if run % 2 else TensorProto.INT32, TensorProto.FLOAT)
    chain = [helper.make_node("Cast", [], [], to=kind) for kind in kinds]
    _insert(model, _WHOLE, chain)


def _unfused_clamp(model: ModelProto, run: int) -> None:
    """Of values that are quantized already, by two operators that are not fused as `Clip` is."""
    tensor = f"relu_{1 + run % _BLOCKS}_DequantizeLinear_Output"
    form = _dequantized(model, tensor).input[1:]
    bounds = {"Max": 0.0, "Min": 1e3}
    for kind, value in bounds.items():
        constant = numpy_helper.from_array(np.float32(value), f"{tensor}/{kind}")
        model.graph.initializer.append(constant)
    inputs = {kind: [f"{tensor}/{kind}"] for kind in bounds}
    inputs |= {"QuantizeLinear": form, "DequantizeLinear": form}
    _insert(model, tensor, [helper.make_node(kind, own, []) for kind, own in inputs.items()])


def _one_more_channel(model: ModelProto, run: int) -> None:
    """Between the two halves of a block, with weights of 0, so that the picture is the same."""
    block = f"network.blocks.{run % _BLOCKS}"
    wider = {
        f"{block}.{layer}_{part}": axis
        for layer, axis in (("expand.1.weight", 0), ("expand.1.bias", 0), ("project.0.weight", 0))
        for part in ("quantized", "scale", "zero_point", "quantized_scale", "quantized_zero_point")
    }
    wider[f"{block}.project.1.weight_quantized"] = 1
    for constant in model.graph.initializer:
        values = numpy_helper.to_array(constant)
        if constant.name not in wider or values.ndim == 0:
            continue
        axis = wider[constant.name]
        more = values.take([0], axis)
        if constant.name.endswith("_quantized"):
            more = np.zeros_like(more)
        new = numpy_helper.from_array(np.concatenate([values, more], axis), constant.name)
        constant.CopyFrom(new)
    depthwise = f"{block}.project.0.weight_DequantizeLinear_Output"
    [node] = [own for own in model.graph.node if depthwise in own.input]
    [group] = [own for own in node.attribute if own.name == "group"]
    group.i += 1


def _lost_fusion(model: ModelProto, run: int) -> None:
    """Weights of a convolution in float, so that it is not fused to one of integers."""
    tensor = f"network.blocks.{run % _BLOCKS}.expand.0.weight_DequantizeLinear_Output"
    maker = _dequantized(model, tensor)
    weights, scale, zero = (
        numpy_helper.to_array(_constant(model, name)).astype(np.float32) for name in maker.input
    )
    values = (weights - zero.reshape(-1, 1, 1, 1)) * scale.reshape(-1, 1, 1, 1)
    for name in maker.input:
        model.graph.initializer.remove(_constant(model, name))
    model.graph.node.remove(maker)
    model.graph.initializer.append(numpy_helper.from_array(values, tensor))


def _more_work(model: ModelProto, run: int) -> None:
    """Passes that change nothing."""
    chain = [helper.make_node("Neg", [], []) for _ in range(_PASSES)]
    _insert(model, _PICTURES[run % 2], chain)


GRAPH_FAULTS: Final = (
    GraphFault(name="an extra cast", spoil=_extra_cast),
    GraphFault(name="an unfused clamp", spoil=_unfused_clamp),
    GraphFault(name="one more channel", spoil=_one_more_channel),
    GraphFault(name="a lost fusion", spoil=_lost_fusion),
    GraphFault(name="1 % more work", spoil=_more_work),
)
