"""The ranges of a graph's activations, found on photographs that are looked at one by one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import onnx
from torch import nn

from nstc.compress.graphs.float_forms import BODY_INPUT, body_input
from nstc.compress.graphs.observation import Feed, observed
from nstc.compress.quantization.calibrators import Calibrator, Histogram, Range
from nstc.core.errors import ExportMismatchError, PhotosError
from nstc.core.manifest import Contract
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress
from nstc.models.tensors import images_to_tensor

Feeds = Callable[[], Iterator[Feed]]
"""Starts over with the first photograph each time."""

FEW_PHOTOS: Final = 8
"""Fewer than this leave out much of what a network will see; reports say so."""


def photographs(
    network: nn.Module,
    contract: Contract,
    photos: PhotoSet,
    *,
    size: int,
) -> Feeds:
    """What a network's body sees of the centre squares of photographs, decoded as asked for.

    Raises:
        PhotosError: there are none.
    """
    refuse_no_photos(photos)

    def feeds() -> Iterator[Feed]:
        for square in photos.squares(size):
            images = images_to_tensor([square])
            yield {BODY_INPUT: body_input(network, contract, images).numpy()}

    return feeds


def refuse_no_photos(photos: PhotoSet) -> None:
    """Raise a PhotosError if there is nothing to calibrate on."""
    if len(photos) == 0:
        raise PhotosError("no photographs to calibrate on: name a folder of them with --photos.")


def counted(feeds: Iterable[Feed], title: str, count: int, progress: Progress) -> Iterator[Feed]:
    """The same, with progress told of each that is done."""
    progress.begin(title, count, 0)
    for done, feed in enumerate(feeds, start=1):
        yield feed
        progress.advance(done, {})


def calibrate(
    body: onnx.ModelProto,
    operators: Sequence[str],
    feeds: Iterable[Feed],
    calibrator: Calibrator,
) -> Mapping[str, Range]:
    """A range for everything that operators of some kinds read or make.

    A histogram a tensor is all that is kept of the photographs, so that memory does not grow with
    their number.

    Raises:
        ExportMismatchError: an activation was infinite.
    """
    histograms = {name: Histogram() for name in _activations(body, operators)}
    for seen in observed(body, list(histograms), feeds):
        for name, values in seen.items():
            try:
                histograms[name].add(values)
            except ValueError as error:
                raise ExportMismatchError(
                    f"the network makes infinite values of a photograph, at {name}: its weights "
                    "are damaged, and no range of bytes holds them."
                ) from error
    return {name: calibrator(histogram) for name, histogram in histograms.items()}


def _activations(body: onnx.ModelProto, operators: Sequence[str]) -> list[str]:
    """Float tensors at nodes of some kinds, without what is stored and what is a shape."""
    inferred = onnx.shape_inference.infer_shapes(body).graph
    known = (*inferred.value_info, *inferred.input, *inferred.output)
    floats = {v.name for v in known if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    floats -= {tensor.name for tensor in body.graph.initializer}
    names: dict[str, None] = {}
    for node in body.graph.node:
        if node.op_type in operators:
            inputs = node.input if node.op_type == "Add" else node.input[:1]
            names |= dict.fromkeys(n for n in (*inputs, *node.output) if n in floats)
    return list(names)
