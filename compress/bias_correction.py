"""Putting back the mean that rounding takes from a layer's output.

Rounded weights and activations shift each channel by a little on average, and the shifts add up.
They can be measured, and a bias is there to take them. Nagel et al., "Data-free quantization
through weight equalization and bias correction", ICCV 2019, section 4.2, by measured means.
"""

import numpy as np
import onnx

from nstc.compress.calibration import Feeds
from nstc.compress.graph_index import GraphIndex
from nstc.compress.integer_layers import integer_layers
from nstc.compress.observation import observed
from nstc.core.progress import Progress


def correct_biases(
    integer: onnx.ModelProto, body: onnx.ModelProto, feeds: Feeds, progress: Progress
) -> None:
    """Correct the integer biases of a graph, one layer after the other.

    Each layer is measured behind those already corrected, so that none is corrected for what
    another one puts right.

    Args:
        integer: The graph with QuantizeLinear and DequantizeLinear pairs, changed in place.
        body: The same graph in float, its nodes named alike.
        feeds: Photographs to measure on.
        progress: Told of every layer.
    """
    layers = {name: x for name, x in integer_layers(integer).items() if x.biases is not None}
    sums = {node.name: node.output[0] for node in GraphIndex(body).nodes("Conv")}
    wanted = _means(body, [sums[name] for name in layers], feeds)
    progress.begin("correct biases", len(layers), 0)
    for done, (name, layer) in enumerate(layers.items(), start=1):
        made = layer.convolution.output[0]
        layer.shift_bias(wanted[sums[name]] - _means(integer, [made], feeds)[made])
        progress.advance(done, {})


def _means(model: onnx.ModelProto, tensors: list[str], feeds: Feeds) -> dict[str, np.ndarray]:
    """The mean of each channel over all photographs, (C,)."""
    means: dict[str, list[np.ndarray]] = {name: [] for name in tensors}
    for seen in observed(model, tensors, feeds()):
        for name, values in seen.items():
            means[name].append(values[0].mean(axis=(1, 2), dtype=np.float64))
    return {name: np.mean(found, axis=0) for name, found in means.items()}
