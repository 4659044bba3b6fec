"""Activations of 16 bits in an integer file: of all layers, or of those that add most noise.

ONNX's operators have had 16 bits since opset 21. ONNX Runtime's kernels for processors have not: it
computes a convolution between such activations in float and rounds before and behind it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import onnx

from nstc.compress.graphs.surgery import Feed
from nstc.compress.quantization.layer_noise import LayerNoise, measure_noise
from nstc.compress.quantization.matched_layers import Match, match_layers
from nstc.core import Progress
from nstc.core.errors import ExportMismatchError, OptionError
from nstc.core.terminal import short_name

BITS: Final = 16
LEVELS: Final = 2**BITS


@dataclass(frozen=True, kw_only=True)
class WideLayer:
    """A layer whose output is stored in 16 bits."""

    name: str  # see `Match.layer`
    own_db: float  # signal-to-noise ratio that it had in 8 bits, given exact inputs
    psnr_db: float | None  # to the float network with it and those before it; None without a budget

    def describe(self) -> str:
        """One line for a reader."""
        reached = "" if self.psnr_db is None else f": to {self.psnr_db:.1f} dB"
        name = short_name(self.name)
        return f"{name}, of {self.own_db:.1f} dB, is wide, of {BITS} bits{reached}"


def by_noise(
    body: onnx.ModelProto,
    integer: onnx.ModelProto,
    kept: Sequence[str],
    feeds: Sequence[Feed],
    progress: Progress,
) -> list[tuple[Match, LayerNoise]]:
    """The layers of a float body, those that add most noise in integers first.

    Tensors that are `kept` in bytes are none of them.
    """
    matches = [m for m in match_layers(body, integer).found if m.reference not in kept]
    progress.begin("compare layers", len(feeds), 0)
    noise = measure_noise(body, integer, matches, [(feed, feed) for feed in feeds], progress)
    known = {match.layer: match for match in matches}
    return sorted(
        ((known[own.layer], own) for own in noise.layers), key=lambda pair: pair[1].own_db
    )


def choose_wide_layers(
    layers: Sequence[tuple[Match, LayerNoise]],
    budget_db: float | None,
    judge: Callable[[tuple[str, ...]], float],
) -> tuple[tuple[WideLayer, ...], tuple[str, ...]]:
    """Those that get 16 bits, and their tensors: all, or in order until a quality is reached.

    `judge` gives the quality in dB for tensors in 16 bits. OptionError if there are no layers,
    ExportMismatchError if not even all of them reach the budget.
    """
    if not layers:
        raise OptionError(
            f"bits is {BITS}, but no layer here can get them: none but the picture's bytes is "
            "stored in integers. Leave --bits out."
        )
    chosen: tuple[WideLayer, ...] = ()
    tensors: tuple[str, ...] = ()
    best = 0.0 if budget_db is None else judge(())
    for match, noise in layers:
        if budget_db is not None and best >= budget_db:
            break
        tensors = (*tensors, match.reference)
        if budget_db is not None:
            best = judge(tensors)
        reached = None if budget_db is None else best
        layer = WideLayer(name=match.layer, own_db=noise.own_db, psnr_db=reached)
        chosen = (*chosen, layer)
    if budget_db is not None and best < budget_db:
        raise ExportMismatchError(
            f"quality-budget is {budget_db:g} dB, but even with every activation in {BITS} bits "
            f"the weights' 8 bits allow {best:.1f} dB: ask for less, or leave --bits out, which "
            "keeps layers in float."
        )
    return chosen, tensors
