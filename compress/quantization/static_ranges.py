"""Static quantization of a float graph: algebra, ranges, integers, and layers left in float."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from torch import nn

from nstc.compress.graphs.float_forms import body_graph
from nstc.compress.graphs.index import GraphIndex
from nstc.compress.graphs.norm_algebra import (
    drop_bias_before_norm,
    equalise_before_norm,
    fold_batch_norm,
)
from nstc.compress.graphs.observation import outputs
from nstc.compress.quantization.adaptive_rounding import round_adaptively
from nstc.compress.quantization.byte_tensors import ByteTensor
from nstc.compress.quantization.calibration import Feeds, calibrate, counted, photographs
from nstc.compress.quantization.calibrators import CALIBRATORS, Range
from nstc.compress.quantization.channel_equalisation import equalise_layers
from nstc.compress.quantization.exact_sums import sums_in, sums_of, with_exact_sums
from nstc.compress.quantization.integer_body import (
    LARGEST_WEIGHT,
    IntegerForm,
    integer_body,
    integer_form_of,
)
from nstc.core.errors import ExportMismatchError
from nstc.core.manifest import Contract
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress
from nstc.core.recipe import QuantizeRecipe
from nstc.runtime import agreement

Judge = Callable[[tuple[str, ...]], float]
"""From the layers left in float to the quality, in dB."""

Weigh = Callable[[tuple[str, ...]], int]
"""From the layers left in float to the size of the graph, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Island:
    """A layer that stays float among integers."""

    name: str  # of its node
    psnr_db: float  # to the float network with this one and those before it in float
    gain_db: float  # how much of that is this layer's doing
    more_bytes: int  # what it adds to the graph

    def describe(self) -> str:
        """One line for a reader."""
        return (
            f"{self.name} stays float: {self.gain_db:+.1f} dB to {self.psnr_db:.1f} dB, "
            f"{self.more_bytes / 1000:+.1f} KB"
        )


def islands_for(
    budget_db: float, layers: Sequence[str], judge: Judge, weigh: Weigh, progress: Progress
) -> tuple[Island, ...]:
    """Leave layers in float, each time the one that helps most, until the quality is reached.

    Raises:
        ExportMismatchError: not even all of them in float reach it.
    """
    chosen: tuple[Island, ...] = ()
    best = judge(())
    while best < budget_db:
        names = tuple(island.name for island in chosen)
        left = [name for name in layers if name not in names]
        if not left:
            raise ExportMismatchError(
                f"quality-budget is {budget_db:g} dB, and with every convolution in float the "
                f"bytes of the picture alone leave {best:.1f} dB: ask for less."
            )
        found: dict[str, float] = {}
        progress.begin(f"mixed precision at {best:.1f} dB", len(left), 0)
        for done, name in enumerate(left, start=1):
            found[name] = judge((*names, name))
            progress.advance(done, {})
        winner = max(found, key=lambda name: found[name])
        island = Island(
            name=winner,
            psnr_db=found[winner],
            gain_db=found[winner] - best,
            more_bytes=weigh((*names, winner)) - weigh(names),
        )
        progress.note(island.describe())
        chosen, best = (*chosen, island), found[winner]
    return chosen


_PICTURE = (0.0, 1.0)

_JUDGED_ON = 4
"""Photographs at most, evenly spread, that a quality budget is measured on."""


@dataclass(frozen=True, kw_only=True)
class StaticGraph:
    """What quantization made."""

    graph: onnx.ModelProto  # QuantizeLinear and DequantizeLinear pairs around operators
    all_integer: onnx.ModelProto  # the same without islands
    islands: tuple[Island, ...]  # layers that stay float


def quantized_body(
    network: nn.Module,
    contract: Contract,
    photos: PhotoSet,
    recipe: QuantizeRecipe,
    progress: Progress,
) -> StaticGraph:
    """Quantize the body of a network in evaluation mode, calibrated on photographs one at a time.

    Raises:
        PhotosError: there are no photographs.
        ExportMismatchError: as `quantized_statically`.
    """
    return quantized_statically(
        body_graph(network),
        integer_form_of(network, contract, per_channel=recipe.per_channel),
        photographs(network, contract, photos, size=recipe.calibration_size),
        len(photos),
        recipe,
        progress,
    )


def quantized_as_learned(
    body: onnx.ModelProto,
    form: IntegerForm,
    tensors: Sequence[ByteTensor],
    ranges: Mapping[str, Range],
) -> onnx.ModelProto:
    """Quantize a student's `body_graph` with the ranges that its weights have learned with.

    Nothing is rewritten or corrected: the result is what its `IntegerTwin` computes.
    """
    exact = with_exact_sums(ranges, sums_of(tensors))
    held = {name: exact.get(each.module, _PICTURE) for each in tensors for name in each.tensors}
    return integer_body(body, form, held)


def quantized_statically(
    graph: onnx.ModelProto,
    form: IntegerForm,
    feeds: Feeds,
    count: int,
    recipe: QuantizeRecipe,
    progress: Progress,
) -> StaticGraph:
    """Quantize a float graph of one input and one output.

    Args:
        graph: The graph; it is not changed.
        form: What becomes integers.
        feeds: The graph's inputs for the photographs to calibrate on.
        count: How many they are.
        recipe: Settings.
        progress: Told of every photograph.

    Raises:
        ExportMismatchError: an activation is infinite, or the quality asked for can't be reached.
    """
    body = rewritten(graph, per_channel=form.per_channel)
    ranges = calibrate(
        body,
        form.operators,
        counted(feeds(), "calibrate", count, progress),
        CALIBRATORS[recipe.calibrator](recipe.percentile),
    )
    if "Add" in form.operators:
        ranges = with_exact_sums(ranges, sums_in(body))
    make = functools.partial(integer_body, body, form, ranges)
    islands: tuple[Island, ...] = ()
    if recipe.quality_budget is not None:
        islands = _islands(recipe.quality_budget, body, form, make, feeds, count, progress)
    left = [island.name for island in islands]
    made = {name: make(left_in_float=name) for name in ((), tuple(left))}
    if recipe.rounding == "adaptive":
        for integer in made.values():
            looked_at = counted(feeds(), "round", count, progress)
            round_adaptively(integer, body, looked_at, limit=LARGEST_WEIGHT)
    return StaticGraph(graph=made[tuple(left)], all_integer=made[()], islands=islands)


def rewritten(graph: onnx.ModelProto, *, per_channel: bool) -> onnx.ModelProto:
    """The same function in the form that loses least to integers.

    Neighbouring layers share out scale where one scale serves all of a layer's filters, and between
    normalisations, where each tensor is rounded on its way in and out. Between filters that have
    scales of their own, in a network without normalisation, it costs a tenth of a dB.
    """
    body = onnx.ModelProto()
    body.CopyFrom(graph)
    fold_batch_norm(body)
    drop_bias_before_norm(body)
    if not per_channel or GraphIndex(body).nodes("InstanceNormalization"):
        equalise_layers(body)
    equalise_before_norm(body)
    return body


def psnr_db(
    wanted: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    black_and_white: tuple[float, float] = (0.0, 1.0),
) -> float:
    """Of pictures, clamped to black and white, over all of them."""
    black, white = black_and_white
    errors = [
        np.mean((a.clip(black, white) - b.clip(black, white)) ** 2, dtype=np.float64)
        for a, b in zip(wanted, found, strict=True)
    ]
    return agreement.psnr_db(float(np.mean(errors)), white - black)


def _islands(
    budget_db: float,
    body: onnx.ModelProto,
    form: IntegerForm,
    make: functools.partial[onnx.ModelProto],
    feeds: Feeds,
    count: int,
    progress: Progress,
) -> tuple[Island, ...]:
    step = max(1, -(-count // _JUDGED_ON))
    judged = list(itertools.islice(feeds(), 0, None, step))
    wanted = list(outputs(body, judged))

    def judge(left: tuple[str, ...]) -> float:
        return psnr_db(
            wanted, list(outputs(make(left_in_float=left), judged)), form.black_and_white
        )

    def weigh(left: tuple[str, ...]) -> int:
        return int(make(left_in_float=left).ByteSize())

    layers = [node.name for node in GraphIndex(body).nodes("Conv")]
    return islands_for(budget_db, layers, judge, weigh, progress)
