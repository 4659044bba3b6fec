"""Float graphs of a network: ONNX for ONNX Runtime, TorchScript, and the body to quantize."""

import warnings
from typing import Final

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.export import Dim

from nstc.compress.graphs.deployed import INPUT, OUTPUT
from nstc.compress.graphs.inspection import GraphIndex
from nstc.core.manifest import Contract
from nstc.models.architectures import AnySize, Core, any_size, pad
from nstc.models.student import Student, channel_statistics, normalise

OPSET: Final = 18
"""The first with the axes of paddings as an input; every runtime since 2023 reads it."""

BODY_INPUT: Final = "body_in"
BODY_OUTPUT: Final = "body_out"

_EXAMPLE_SIZE: Final = (70, 67)
"""Of the picture a graph of any size is traced with: neither is a multiple of anything needed."""

_EXAMPLE_BODY: Final = (64, 72)


def onnx_graph(
    network: nn.Module, contract: Contract, size: tuple[int, int] | None = None
) -> onnx.ModelProto:
    """NCHW float32 pictures in [0, 1] to the same, padded and cropped inside.

    Of a network in evaluation mode on the CPU. `size` is the height and width of the only pictures
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
    """The part of a network that is quantized, float32: what `body_input` gives to raw pixels."""
    example = torch.rand(1, 3, *_EXAMPLE_BODY)
    return exported(_Body(network).eval(), example, (BODY_INPUT, BODY_OUTPUT), fixed=False)


def body_input(network: nn.Module, contract: Contract, images: Tensor) -> Tensor:
    """What the body of a network sees of pictures (1, 3, H, W) in [0, 1]."""
    padded = pad(images, contract.size_multiple, contract.minimum_size)
    if isinstance(network, Student):
        return normalise(padded, channel_statistics(images))
    return padded


def torchscript(network: nn.Module, contract: Contract) -> torch.jit.ScriptModule:
    """The network traced, inside padding and cropping that are compiled.

    Tracing alone would fix the padding to that of the example; compiling alone fails on nearest
    upsampling.
    """
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


class _Body(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.network, Student):
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
    # the exporter notes source lines and folders of this machine
    for noted in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del noted.metadata_props[:]
        noted.doc_string = ""
    return model


def _drop_idle_relus(model: onnx.ModelProto) -> None:
    """Take away each ReLU whose input is held at zero or above: runtimes would compute it."""
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
