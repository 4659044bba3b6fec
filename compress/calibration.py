"""Static quantization of a network's body by ONNX Runtime, calibrated on photographs."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata
from torch import nn

from nstc.compress.edges import LEVEL
from nstc.compress.float_graphs import BODY_INPUT, BODY_OUTPUT, body_graph, body_input
from nstc.core.errors import PhotosError
from nstc.core.images import Pixels
from nstc.core.manifest import Contract
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress
from nstc.models.student import Student
from nstc.models.tensors import images_to_tensor

_LOCAL_OPERATORS: Final = ("Conv", "Relu", "Add")
_OPERATORS_BETWEEN_NORMS: Final = ("Conv", "Relu")
"""Where float normalisation follows every convolution, adding in bytes only costs conversions."""


def quantized_body(
    network: nn.Module, contract: Contract, photos: PhotoSet, *, size: int, progress: Progress
) -> onnx.ModelProto:
    """The body of a network as QuantizeLinear and DequantizeLinear pairs around its operators.

    Activations are uint8 with the smallest and largest value seen, weights int8, a scale for each
    output channel. Weights use 7 of their 8 bits (`reduce_range`): without VNNI the products of
    two uint8 and int8 pairs are added in 16 bits, which full-range weights overflow.

    Args:
        network: In evaluation mode.
        contract: Its sizes.
        photos: To calibrate on, decoded one at a time.
        size: Side in pixels of their centre squares.
        progress: Told of every photograph.

    Raises:
        PhotosError: there are none.
    """
    if len(photos) == 0:
        raise PhotosError("no photographs to calibrate on: name a folder of them with --photos.")
    is_student = isinstance(network, Student)
    body = body_graph(network)
    # The exporter has folded constants and inferred shapes; unmarked, ONNX Runtime would log advice
    # to do so, and set up the process's root logger on the way.
    add_pre_process_metadata(body)
    with tempfile.TemporaryDirectory(prefix="nstc.") as folder:
        target = Path(folder) / "body.onnx"
        quantize_static(
            body,
            target,
            _Photographs(network, contract, photos, size, progress),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_LOCAL_OPERATORS if is_student else _OPERATORS_BETWEEN_NORMS),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={"TensorQuantOverrides": _pixels_at_the_end()} if is_student else {},
        )
        return onnx.load(target)


def _pixels_at_the_end() -> dict[str, list[dict[str, Any]]]:
    """The body's output is the picture: its bytes are levels, and their saturation the clamp."""
    levels = {"scale": np.array(LEVEL, np.float32), "zero_point": np.array(0, np.uint8)}
    return {BODY_OUTPUT: [levels]}


class _Photographs(CalibrationDataReader):  # type: ignore[misc]
    """What the body sees of each photograph."""

    def __init__(
        self,
        network: nn.Module,
        contract: Contract,
        photos: PhotoSet,
        size: int,
        progress: Progress,
    ) -> None:
        self._network = network
        self._contract = contract
        self._squares: Iterator[Pixels] = photos.squares(size)
        self._progress = progress
        self._done = 0
        progress.begin("calibrate", len(photos), 0)

    def get_next(self) -> dict[str, Any] | None:
        """The next one, None after the last: ONNX Runtime's protocol."""
        square = next(self._squares, None)
        if square is None:
            return None
        self._done += 1
        self._progress.advance(self._done, {})
        images = images_to_tensor([square])
        return {BODY_INPUT: body_input(self._network, self._contract, images).numpy()}
