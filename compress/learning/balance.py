"""Weights of losses that are set while a network or an image is optimised.

`GradientBalance` and `ContentBalance` measure the norms of two losses' gradients with respect to
the picture, after Chen et al., "GradNorm: Gradient normalization for adaptive loss balancing in
deep multitask networks", ICML 2018, who learn such factors for the norms at a shared layer.
`RatioBalance` measures what comes of the losses.
"""

import math
import weakref
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Final

import torch
from torch import Tensor

from nstc.compress.learning.loop import Processes
from nstc.core.photos import sample_photos
from nstc.models.tensors import images_to_tensor, mixed_precision
from nstc.models.vgg import VggFeatures

MEASURED_EVERY: Final = 10  # steps between measurements, each of which costs two passes of VGG back
_SMOOTHING: Final = 0.8
_LARGEST: Final = math.log(100.0)
_TINY: Final = 1e-20


def gradient_norms(
    losses: Sequence[Tensor], picture: Tensor, processes: Processes
) -> tuple[float, ...]:
    """Norms of the gradients of losses, scalars, with respect to a picture (N, 3, H, W)."""
    squares = [
        torch.autograd.grad(loss, picture, retain_graph=True)[0].float().square().sum()
        for loss in losses
    ]
    return tuple(processes.mean(torch.stack(squares)).clamp_min(_TINY).sqrt().tolist())


class GradientBalance:
    """Two factors that hold the gradients of style and content at a chosen ratio.

    Every ten steps the norms of both losses' gradients with respect to the network's output are
    measured, and the correction that would bring their ratio to the target is smoothed, in
    logarithms, and bounded to a factor of 100 either way. Half of it makes the style stronger, half
    the content weaker, so that their product, and with it the meaning of the other weights, stays.

    `target` is the norm of the style's gradient over that of the content's. All `processes` that
    share the batch get the same factors.
    """

    def __init__(self, target: float, processes: Processes) -> None:
        self._target = target
        self._processes = processes
        self._correction: float | None = None

    def measure(self, step: int, style: Tensor, content: Tensor, output: Tensor) -> None:
        """Measure the gradients in the first and then every tenth step.

        Style and content are the weighted losses, scalars; `output` is the network's picture
        (N, 3, H, W) that both came from.
        """
        if step % MEASURED_EVERY and self._correction is not None:
            return
        of_style, of_content = gradient_norms((style, content), output, self._processes)
        if not math.isfinite(of_style) or not math.isfinite(of_content):
            return  # the training itself reports a diverged loss
        wanted = math.log(self._target * of_content / of_style)
        wanted = max(-_LARGEST, min(_LARGEST, wanted))
        before = wanted if self._correction is None else self._correction
        self._correction = _SMOOTHING * before + (1 - _SMOOTHING) * wanted

    @property
    def style_factor(self) -> float:
        """On the style loss."""
        return math.exp((self._correction or 0.0) / 2)

    @property
    def content_factor(self) -> float:
        """On the content loss."""
        return 1 / self.style_factor

    def figures(self) -> Mapping[str, float]:
        """For the log: the factor on the recipe's ratio of style to content weight."""
        return {"balance": math.exp(self._correction or 0.0)}

    def state_dict(self) -> Mapping[str, Tensor]:
        """See `nstc.compress.learning.loop.Stateful`."""
        known = [] if self._correction is None else [self._correction]
        return {"correction": torch.tensor(known, dtype=torch.float64)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """See `nstc.compress.learning.loop.Stateful`."""
        known = state["correction"].tolist()
        self._correction = known[0] if known else None


_STIFFNESS: Final = 6  # power with which the content's weight rises with its loss
_STEEPEST: Final = 2.0  # of loss over level, from where the weight rises no further
_FIRST: Final = 5  # steps that are all measured, for the photograph itself has no content loss
_WEIGHTS: Final = (0.02, 5.0)
# How a level gives way to a painting; see `ContentBalance`.
_ELASTICITY, _USUAL_RATIO, _MOST = 0.7, 0.2, 2.0
_STYLE_ELASTICITY, _MOST_BY_STYLE = 0.5, 1.25
# See `content_levels`.
_KEPT, _LENT, _TYPICAL_SIZE = 0.22, 0.264, 256


class ContentBalance:
    """Holds the content loss near a level that the photograph sets, whatever the painting.

    Of all pictures with one content loss the one with the least style loss is wanted. There the
    style's gradient is the content's, reversed and times the Lagrange multiplier, which is the
    ratio r of their norms. So the content's weight is r (c / l)^6, the gradient of

        r · l / 7 · (c / l)^7

    with the content loss c: where c is l, the gradients are equal and nothing moves; a little
    above, the photograph wins, and a little below, the painting. r is measured as `GradientBalance`
    does and smoothed.

    r is also what a painting gives for a little more content loss: the style loss that it takes
    away. Where that is much, l is above the photograph's level:

        l = level · (r / 0.2)^0.7, from one level to two

    A painting that is as unlike the photograph as a bright sea is unlike a night sky would
    otherwise keep most of its style loss.

    r is small where style is hard to gain, however much of it is still missing. So the level also
    gives way to a style loss that stays high:

        times (style loss / usual_style)^0.5, from one to 1.25, to two levels in all

    Args:
        processes: Those that share the batch.
        usual_style: The weighted style loss above which the level gives way. Never by default: a
            network's losses are relative to another's, or fall from a high start for long.
    """

    def __init__(
        self, processes: Processes | None = None, *, usual_style: float = math.inf
    ) -> None:
        self._processes = processes or Processes()
        self._usual_style = usual_style
        self._ratio: float | None = None
        self._style = 0.0
        self._over_level: float | None = None

    def measure(self, step: int, style: Tensor, content: Tensor, picture: Tensor) -> None:
        """As `GradientBalance.measure`; content is the mean over the batch."""
        if step % MEASURED_EVERY and step >= _FIRST and self._ratio is not None:
            return
        of_style, of_content = gradient_norms((style, content), picture, self._processes)
        if not math.isfinite(of_style) or not math.isfinite(of_content):
            return
        low, high = _WEIGHTS
        found = max(low, min(high, of_style / of_content))
        known = found if self._ratio is None or step < _FIRST else self._ratio
        self._ratio = math.sqrt(known * found)
        self._style = float(self._processes.mean(style.detach()))

    def term(self, content: Tensor, levels: Tensor, shares: Tensor | None = None) -> Tensor:
        """What is minimised in the place of content losses (N,) with levels (N,): a scalar.

        `shares` (N,) are weights of the pictures, where their style losses have such: 1 by default.
        """
        levels = (self._given_way() * levels).clamp_min(1e-3)
        ratio = content / levels
        self._over_level = float(self._processes.mean(ratio.mean()))
        near = ratio.clamp_max(_STEEPEST)
        power = _STIFFNESS + 1
        beyond = (ratio - near) * _STEEPEST**_STIFFNESS  # a line, for a power would overflow
        scaled = levels * (near**power / power + beyond)
        weighted = scaled if shares is None else shares * scaled
        return (1.0 if self._ratio is None else self._ratio) * weighted.mean()

    def _given_way(self) -> float:
        """The level for this painting over the photograph's own."""
        if self._ratio is None:
            return 1.0
        gained = (self._ratio / _USUAL_RATIO) ** _ELASTICITY
        missing = (self._style / self._usual_style) ** _STYLE_ELASTICITY
        by_style = max(1.0, min(_MOST_BY_STYLE, missing))
        return float(min(_MOST, max(1.0, gained) * by_style))

    def figures(self) -> Mapping[str, float]:
        """For the log: the ratio of the gradients, and the last content loss over what it may be.

        That is `l`: the level as it has given way to the painting.
        """
        over_level = {} if self._over_level is None else {"content/level": self._over_level}
        return {"balance": 1.0 if self._ratio is None else self._ratio, **over_level}

    def state_dict(self) -> Mapping[str, Tensor]:
        """See `nstc.compress.learning.loop.Stateful`."""
        known = [] if self._ratio is None else [self._ratio, self._style]
        return {"known": torch.tensor(known, dtype=torch.float64)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """See `nstc.compress.learning.loop.Stateful`."""
        known = state["known"].tolist()
        self._ratio, self._style = known or (None, 0.0)


def content_levels(
    photographs: Mapping[str, Tensor], typical: Mapping[str, float], strength: float
) -> Tensor:
    """The content loss (N,) that a style of some strength is worth on each photograph.

    strength · Σ over layers of 0.22 + 0.264 · E_typical / E, with the mean square E of a
    photograph's features. A painting's features replace the photograph's by ones of a usual size,
    and that weighs the more in a relative distance the less there is in a photograph: twelve
    photographs explain 85 % of how the content losses of the networks in the zoo differ. At
    strength 1 the level is some 20 % below what those networks lose.

    Args:
        photographs: Features (N, C, H, W) by layer.
        typical: See `typical_energies`.
        strength: From 0, the photograph itself, to 2.
    """
    levels = [
        _KEPT + _LENT * typical[name] / energy(features).clamp_min(_TINY)
        for name, features in photographs.items()
    ]
    return strength * torch.stack(levels).sum(dim=0)


def energy(features: Tensor) -> Tensor:
    """Mean square of features (N, C, H, W), over positions and summed over channels: (N,)."""
    return features.float().square().sum(dim=1).mean(dim=(1, 2))


def typical_energies(vgg: VggFeatures, layers: Sequence[str]) -> Mapping[str, float]:
    """The geometric mean of `energy` over the sample photographs, by layer.

    They are computed once for each network: twelve photographs take as long as some steps.
    """
    known = _energies.setdefault(vgg, {})
    if missing := [layer for layer in layers if layer not in known]:
        known.update(_measured_energies(vgg, missing))
    return {layer: known[layer] for layer in layers}


_energies: MutableMapping[VggFeatures, dict[str, float]] = weakref.WeakKeyDictionary()


def _measured_energies(vgg: VggFeatures, layers: Sequence[str]) -> Mapping[str, float]:
    device = next(vgg.parameters()).device
    logs: dict[str, list[float]] = {name: [] for name in layers}
    for square in sample_photos().squares(_TYPICAL_SIZE):
        with torch.no_grad(), mixed_precision(device):
            found = vgg(images_to_tensor([square]).to(device), layers)
        for name, features in found.items():
            logs[name].append(math.log(float(energy(features))))
    return {name: math.exp(sum(values) / len(values)) for name, values in logs.items()}


# Steps between measurements: five runs of the student at 512 pixels, two runs of VGG.
RATIOS_EVERY: Final = 20
_PACE: Final = 0.1
_FARTHEST: Final = 0.3
_LARGEST_FACTOR: Final = math.log(4.0)
_LEAST: Final = 1e-6


class RatioBalance:
    """Factors that bring ratios equally near to their goals.

    A student is judged by what it loses in style, content and flicker over what its teacher
    loses, and how these trade against each other differs by style. Every 20 steps every factor
    moves, in logarithms, by a tenth of how much farther its ratio is from its goal than the others
    are: an integral controller, slow enough that single photographs average out. What is farther
    than 0.3 counts as that, and the others in proportion: a student that is still far from a style
    it has only begun to learn would else be pushed past the photograph. The factors' product stays
    1, up to a bound of 4 either way.

    `goals` are what each ratio is to come down to; `measured` gives the ratios, by the same names,
    at the number of a measurement.
    """

    def __init__(
        self, goals: Mapping[str, float], measured: Callable[[int], Mapping[str, float]]
    ) -> None:
        self._goals = dict(goals)
        self._measured = measured
        self._corrections = dict.fromkeys(goals, 0.0)
        self._ratios = dict.fromkeys(goals, math.nan)

    def measure(self, step: int) -> None:
        """Measure the ratios and move the factors, in every 20th step."""
        if step % RATIOS_EVERY:
            return
        found = self._measured(step // RATIOS_EVERY)
        self._ratios = {name: found[name] for name in self._goals}
        if not all(map(math.isfinite, self._ratios.values())):
            return  # the training itself reports a diverged loss
        short = {n: math.log(max(r, _LEAST) / self._goals[n]) for n, r in self._ratios.items()}
        mean = sum(short.values()) / len(short)
        farther = {name: distance - mean for name, distance in short.items()}
        pace = _PACE * min(1.0, _FARTHEST / max(_LEAST, *map(abs, farther.values())))
        for name, distance in farther.items():
            moved = self._corrections[name] + pace * distance
            self._corrections[name] = max(-_LARGEST_FACTOR, min(_LARGEST_FACTOR, moved))

    def factors(self) -> Mapping[str, float]:
        """On the losses, by the names of the goals."""
        return {name: math.exp(moved) for name, moved in self._corrections.items()}

    def figures(self) -> Mapping[str, float]:
        """For the log: the factors, and the ratios that were last measured."""
        factors = {f"{name} x": factor for name, factor in self.factors().items()}
        return factors | {f"{name} ratio": ratio for name, ratio in self._ratios.items()}

    def state_dict(self) -> Mapping[str, Tensor]:
        """See `nstc.compress.learning.loop.Stateful`."""
        known = [*self._corrections.values(), *self._ratios.values()]
        return {"known": torch.tensor(known, dtype=torch.float64)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """See `nstc.compress.learning.loop.Stateful`."""
        corrections, ratios = state["known"].reshape(2, -1).tolist()
        self._corrections = dict(zip(self._corrections, corrections, strict=True))
        self._ratios = dict(zip(self._ratios, ratios, strict=True))
