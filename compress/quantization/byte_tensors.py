"""The activations of a student that integers store as bytes, by the names of its modules.

A float body's graph names its tensors as an exporter likes; what is learned of them outlives the
exporter, and so goes by the modules that make them: "stem", "blocks.0.project.1" for convolutions,
"blocks.0" for the sum that a block ends in, and "input" for what the body is given.
"""

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
import torch
from torch import nn

from nstc.compress.graphs.float_forms import BODY_INPUT
from nstc.compress.graphs.index import GraphIndex
from nstc.models.blocks import ResidualBlock
from nstc.models.student import Student

INPUT: Final = "input"

_MOVED: Final = {"Reshape", "Transpose"}
"""What moves bytes and leaves them as they are."""

_TRACED_SIZE: Final = 64


@dataclass(frozen=True, kw_only=True)
class ByteTensor:
    """An activation."""

    module: str  # the name of what makes it, or `INPUT`
    # Its name in the float body's graph. If only a ReLU reads it also, in front, the name of what
    # the ReLU makes: the saturation of the bytes does the ReLU's work.
    tensors: tuple[str, ...]
    # The `module` of what a convolution reads, or of both that a sum adds.
    reads: tuple[str, ...] = ()

    @property
    def is_sum(self) -> bool:
        """Whether two activations are added to make it."""
        return len(self.reads) > 1

    @property
    def has_relu(self) -> bool:
        """Whether the bytes hold what a ReLU makes of it."""
        return len(self.tensors) > 1


def byte_tensors(student: Student, body: onnx.ModelProto) -> tuple[ByteTensor, ...]:
    """Those of a student without instance normalisation and its `body_graph`, in order.

    The body's input is the first, its output the last.

    Raises:
        ValueError: the graph's layers are not the student's.
    """
    index = GraphIndex(body)
    sums = [n for n in index.nodes("Add") if not any(map(index.is_constant, n.input))]
    nodes = {"Conv": iter(index.nodes("Conv")), "Add": iter(sums)}
    found = {BODY_INPUT: ByteTensor(module=INPUT, tensors=(BODY_INPUT,))}
    for name, module in _in_order(student):
        node = next(nodes["Conv" if isinstance(module, nn.Conv2d) else "Add"], None)
        weight = module.weight.detach().cpu().numpy() if isinstance(module, nn.Conv2d) else None
        if node is None or not (
            weight is None or np.array_equal(index.value(node.input[1]), weight)
        ):
            raise ValueError(f"the graph has no layer {name}, or in another place")
        behind = index.only_reader(node.output[0])
        made: tuple[str, ...] = (str(node.output[0]),)
        if behind is not None and behind.op_type == "Relu":
            made = (str(behind.output[0]), *made)
        activations = node.input[:1] if node.op_type == "Conv" else node.input
        reads = tuple(found[_moved_from(index, tensor)].module for tensor in activations)
        found[made[0]] = ByteTensor(module=name, tensors=made, reads=reads)
    if any(next(rest, None) is not None for rest in nodes.values()):
        raise ValueError("the graph has layers that the student has not")
    return tuple(found.values())


def _in_order(student: Student) -> list[tuple[str, nn.Module]]:
    """Convolutions and residual blocks, in the order in which they are done."""
    done: list[tuple[str, nn.Module]] = []
    handles = []
    for name, module in student.named_modules():
        if isinstance(module, nn.Conv2d | ResidualBlock):
            note = functools.partial(lambda each, *_: done.append(each), (name, module))
            handles.append(module.register_forward_hook(note))
    try:
        with torch.no_grad():
            some = next(student.parameters())
            student(torch.zeros(1, 3, _TRACED_SIZE, _TRACED_SIZE, device=some.device))
    finally:
        for handle in handles:
            handle.remove()
    return done


def _moved_from(index: GraphIndex, tensor: str) -> str:
    maker = index.producers.get(tensor)
    while maker is not None and maker.op_type in _MOVED:
        tensor = maker.input[0]
        maker = index.producers.get(tensor)
    return str(tensor)
