"""How much noise each layer of a file has, and how much of it the layer itself adds.

ONNX Runtime's `qdq_loss_debug` has a part of this: it keeps all activations of all photographs,
finds tensors by the endings that its own quantizer gives them, which nstc's files have lost, and
can't tell a layer that adds noise from one that is given it.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from nstc.compress.graphs.surgery import AT_ONCE, Array, Feed, observed, opened
from nstc.compress.quantization.matched_layers import Match, layer_alone, levels_of
from nstc.core import Progress
from nstc.core.errors import UnusableModelError
from nstc.core.terminal import short_name

_LARGEST: Final = float(np.finfo(np.float32).max)  # in the place of what JSON does not have
MOST_DB: Final = 99.0  # of no difference, and its negative of values that are not finite


@dataclass(frozen=True, kw_only=True)
class LayerNoise:
    """A layer's output in one file, compared with the same in another, over all photographs."""

    layer: str  # see `Match.layer`
    snr_db: float  # signal-to-noise ratio: squares of the reference over those of the difference
    # The same of the layer given the reference's values: what it adds by itself.
    own_db: float
    largest: float  # largest difference
    peak: float  # largest magnitude in the reference
    # Share of the reference's values that the integers can't reach; None where there are none.
    outside: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Noise:
    """What was measured of two graphs."""

    layers: tuple[LayerNoise, ...]  # in the candidate's order
    # By layer and photograph: the mean over channels of what the layer adds, (h, w).
    maps: dict[str, list[npt.NDArray[np.float32]]]
    # Layers whose tensors have other shapes, or are integers that no node makes floats of.
    other_forms: tuple[str, ...]


class _Sums:
    """Of one layer, over all photographs."""

    def __init__(self, match: Match, levels: tuple[float, float] | None) -> None:
        self.match, self.levels = match, levels
        self.count = self.outside = 0
        self.signal = self.noise = self.own = self.largest = self.peak = 0.0
        self.maps: list[npt.NDArray[np.float32]] = []

    def add(self, exact: Array, inherited: Array, alone: Array) -> None:
        """Count a photograph's values (N, C, H, W), of which `exact` are the reference's."""
        wide = exact.astype(np.float64)
        apart, own = np.abs(inherited - wide), np.abs(alone - wide)
        self.count += wide.size
        self.signal += float((wide**2).sum())
        self.noise += float((apart**2).sum())
        self.own += float((own**2).sum())
        self.peak = max(self.peak, float(np.abs(wide).max()))
        largest = float(apart.max())
        self.largest = largest if math.isnan(largest) else max(self.largest, largest)
        if self.levels is not None:
            low, high = self.levels
            slack = (high - low) * 1e-6 + 1e-12  # of scales in float32
            self.outside += int(np.count_nonzero((wide < low - slack) | (wide > high + slack)))
        self.maps.append(own.mean(axis=(0, 1), dtype=np.float64).astype(np.float32))

    def result(self) -> LayerNoise:
        """Over all of them."""
        return LayerNoise(
            layer=self.match.layer,
            snr_db=ratio_db(self.signal, self.noise),
            own_db=ratio_db(self.signal, self.own),
            largest=self.largest if math.isfinite(self.largest) else _LARGEST,
            peak=self.peak,
            outside=None if self.levels is None else self.outside / self.count,
        )


def measure_noise(
    reference: onnx.ModelProto,
    candidate: onnx.ModelProto,
    matches: Sequence[Match],
    feeds: Sequence[tuple[Feed, Feed]],
    progress: Progress,
) -> Noise:
    """Run two graphs, each on its own feed of every pair, and compare the matched tensors.

    Integers are computed as ONNX's standard has them, nothing fused. A layer alone is the part of
    the candidate that lies between matched tensors, given what the reference has there, before it
    is rounded: each rounding counts to the layer whose output it stores. One photograph's values
    are in memory at a time. UnusableModelError if the reference's are not finite.
    """
    given = [own for own, _ in feeds], [own for _, own in feeds]
    exactly = _seen(reference, [match.reference for match in matches], given[0])
    found = _seen(candidate, [match.candidate for match in matches], given[1])
    layers: dict[str, _Sums] = {}
    alone: dict[str, _Alone] = {}
    for number, (wanted, made, feed) in enumerate(zip(exactly, found, given[1], strict=True)):
        exact = {match.candidate: wanted[match.reference] for match in matches}
        if number == 0:
            layers = {
                m.candidate: _Sums(m, levels_of(candidate, m.candidate))
                for m in matches
                if _are_alike(exact[m.candidate], made[m.candidate])
            }
            kinds = {name: helper.np_dtype_to_tensor_dtype(made[name].dtype) for name in layers}
            alone = {name: _Alone(candidate, name, kinds) for name in layers}
        for name, sums in layers.items():
            if not np.isfinite(exact[name]).all():
                raise UnusableModelError(
                    "the reference gives values that are not finite at "
                    f"{short_name(sums.match.layer)}: its weights are damaged. Compare with "
                    "another copy."
                )
            sums.add(exact[name], made[name], alone[name].run(exact, feed))
        progress.advance(number + 1, {})
    return Noise(
        tuple(sums.result() for sums in layers.values()),
        {sums.match.layer: sums.maps for sums in layers.values()},
        tuple(match.layer for match in matches if match.candidate not in layers),
    )


def _are_alike(exact: Array, made: Array) -> bool:
    """Whether both are floats (N, C, H, W) of one shape: levels of bytes are no values."""
    are_floats = exact.dtype.kind == made.dtype.kind == "f"
    return are_floats and made.ndim == 4 and made.shape == exact.shape


class _Alone:
    """A layer of a graph, run on what the reference has in front of it."""

    def __init__(self, model: onnx.ModelProto, tensor: str, kinds: Mapping[str, int]) -> None:
        part, self._given = layer_alone(model, tensor, kinds)
        self._pictures = {value.name for value in part.graph.input} - set(self._given)
        self._kinds = {name: helper.tensor_dtype_to_np_dtype(kinds[name]) for name in self._given}
        # There is one for each layer, which would each keep threads of their own.
        self._session = opened(part, optimised=False, threads=1)

    def run(self, exact: Mapping[str, Array], feed: Feed) -> Array:
        """Its output."""
        values = {name: exact[name].astype(kind) for name, kind in self._kinds.items()}
        values |= {name: own for name, own in feed.items() if name in self._pictures}
        result: Array = self._session.run(None, values)[0]
        return result


def _seen(
    model: onnx.ModelProto, tensors: Sequence[str], feeds: Sequence[Feed]
) -> Iterator[dict[str, Array]]:
    """The values of some tensors for each input, all of them together."""
    parts = observed(model, tensors, feeds)
    for _ in feeds:
        together: dict[str, Array] = {}
        for part in itertools.islice(parts, -(-len(tensors) // AT_ONCE)):
            together |= part
        yield together


def ratio_db(signal: float, noise: float) -> float:
    """A signal-to-noise ratio of sums of squares, from -`MOST_DB` to `MOST_DB`."""
    if not math.isfinite(noise):
        return -MOST_DB
    if noise == 0:
        return MOST_DB
    return max(-MOST_DB, min(10 * math.log10(signal / noise), MOST_DB)) if signal else -MOST_DB
