"""Static quantization of a network's body by ONNX Runtime, calibrated on photographs."""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
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

_LOCAL_OPERATORS: Final = ("Conv", "Relu", "Add", "Reshape", "Transpose")
"""The last two are depth to space in front of a convolution at full resolution."""

_OPERATORS_BETWEEN_NORMS: Final = ("Conv", "Relu")
"""Where float normalisation follows every convolution, adding in bytes only costs conversions."""


def quantized_body(
    network: nn.Module,
    contract: Contract,
    photos: PhotoSet,
    *,
    size: int,
    percentile: float,
    progress: Progress,
) -> onnx.ModelProto:
    """The body of a network as QuantizeLinear and DequantizeLinear pairs around its operators.

    Activations are uint8. The few values beyond `percentile` saturate: a trunk of residual blocks
    adds one activation's rounding to the next, and finer steps for the rest are worth more than
    the outliers (on a student of Starry Night 40.4 dB to the float network at 99.99 beside 37.6 dB
    with everything held, and 37.6 dB again at 99.97). Weights are int8, a scale for each output
    channel. They use 7 of their 8 bits (`reduce_range`): without VNNI the products of
    two uint8 and int8 pairs are added in 16 bits, which full-range weights overflow.

    Args:
        network: In evaluation mode.
        contract: Its sizes.
        photos: To calibrate on, decoded one at a time.
        size: Side in pixels of their centre squares.
        percentile: Of an activation's values, how many its bytes hold; 100 is all.
        progress: Told of every photograph.

    Raises:
        PhotosError: there are none.
    """
    if len(photos) == 0:
        raise PhotosError("no photographs to calibrate on: name a folder of them with --photos.")
    is_student = isinstance(network, Student)
    is_local = is_student and contract.locality == "exact"
    body = body_graph(network)
    # The exporter has folded constants and inferred shapes; unmarked, ONNX Runtime would log advice
    # to do so, and set up the process's root logger on the way.
    add_pre_process_metadata(body)
    with tempfile.TemporaryDirectory(prefix="nstc.") as folder:
        target = Path(folder) / "body.onnx"
        # ONNX Runtime prints what it does.
        with contextlib.redirect_stdout(io.StringIO()):
            quantize_static(
                body,
                target,
                _Photographs(network, contract, photos, size, progress),
                calibrate_method=CalibrationMethod.Percentile,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(
                    _LOCAL_OPERATORS if is_local else _OPERATORS_BETWEEN_NORMS
                ),
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options={
                    "CalibPercentile": percentile,
                    "CalibStridedMinMax": 1,
                    **({"TensorQuantOverrides": _pixels_at_the_end()} if is_student else {}),
                },
            )
        return onnx.load(target)


def _pixels_at_the_end() -> dict[str, list[dict[str, Any]]]:
    """The body's output is the picture: its bytes are levels, and their saturation the clamp."""
    levels = {"scale": np.array(LEVEL, np.float32), "zero_point": np.array(0, np.uint8)}
    return {BODY_OUTPUT: [levels]}


class _Photographs(CalibrationDataReader):  # type: ignore[misc]
    """What the body sees of each photograph.

    ONNX Runtime keeps every activation of all photographs of a range until it has counted them, so
    it is given ranges of one (its option is called after another method and holds for all).
    """

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
        self._count = len(photos)
        self._end = 0
        progress.begin("calibrate", len(photos), 0)

    def __len__(self) -> int:
        return self._count

    def set_range(self, start_index: int, end_index: int) -> None:  # noqa: ARG002
        """Ranges come one after the other: ONNX Runtime's protocol."""
        self._end = end_index

    def get_next(self) -> dict[str, Any] | None:
        """The next one, None after the range's last: ONNX Runtime's protocol."""
        if self._done == self._end:
            return None
        square = next(self._squares)
        self._done += 1
        self._progress.advance(self._done, {})
        images = images_to_tensor([square])
        return {BODY_INPUT: body_input(self._network, self._contract, images).numpy()}
