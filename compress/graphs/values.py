"""The numbers inside an ONNX graph: weights that are not finite, and what float16 can't hold."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final, Unpack

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from nstc.core.decoding import printable
from nstc.core.errors import TeacherError, UnusableModelError
from nstc.core.graph_form import GraphFlags, GraphForm
from nstc.core.unusable_models import refuse_not_finite
from nstc.runtime.foreign.graph_contract import GraphContract
from nstc.runtime.foreign.graph_process import current_limits
from nstc.runtime.foreign.networks import is_torchscript, shown
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.foreign.trial import keeps_within
from nstc.runtime.model_files import model_sha256

LARGEST_HALF: Final = 65504.0
"""Of float16; what is larger becomes infinite."""

_FLOATS: Final = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)


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
        for name, values in _constants(model, path)
        if not (values.size == 1 and values.dtype.kind == "f" and np.isinf(values).all())
    )
    refuse_not_finite(weights, path)


def refuse_beyond_half(model: onnx.ModelProto, float_nodes: Collection[str]) -> None:
    """Refuse to store weights in float16 that would become infinite there.

    Args:
        model: A float32 graph.
        float_nodes: Names and kinds of the nodes that stay float32.

    Raises:
        UnusableModelError: a tensor has such values.
    """
    converted = {
        name
        for node in model.graph.node
        if node.name not in float_nodes and node.op_type not in float_nodes
        for name in node.input
    }
    for name, values in _constants(model, "the graph"):
        if name in converted and values.dtype == np.float32 and values.size > 1:
            beyond = int(np.count_nonzero(np.abs(values) > LARGEST_HALF))
            if beyond:
                raise UnusableModelError(
                    f"{beyond} of the {values.size} values of {name} are beyond "
                    f"{LARGEST_HALF:.0f}, the largest of float16, and would become infinite: "
                    "give --mode weights or static instead of fp16."
                )


def _constants(model: onnx.ModelProto, where: str | Path) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Names and values of the floats among them; of others ONNX Runtime says what is wrong."""
    stored = [(tensor.name, tensor) for tensor in model.graph.initializer]
    stored += [
        (next(iter(node.output), node.name), attribute.t)
        for node in model.graph.node
        for attribute in node.attribute
        if node.op_type == "Constant" and attribute.name == "value"
    ]
    for name, tensor in stored:
        if tensor.data_type in _FLOATS:
            try:
                yield name, numpy_helper.to_array(tensor)
            except (ValueError, onnx.checker.ValidationError) as error:
                raise TeacherError(
                    f"{where} can't be used: the values of {printable(name):.80} do not fit "
                    f"its shape, {shown(tensor.dims):.80}. Export it again."
                ) from error
