"""What a full-size network learns from: a painting's style, and photographs as content."""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from nstc.compress.learning.loop import mixed_precision
from nstc.compress.learning.processes import Processes
from nstc.core.photos import PhotoSet, random_crop
from nstc.core.recipe import TrainRecipe
from nstc.models.functional import total_variation
from nstc.models.perceptual import CONTENT_LAYERS, STYLE_LAYERS, ContentLoss, StyleLoss
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures

MEASURED_EVERY: Final = 10
"""Steps between measurements, each of which costs two passes back through VGG."""

_SMOOTHING: Final = 0.8
_LARGEST: Final = math.log(100.0)
_TINY: Final = 1e-20


class GradientBalance:
    """Two factors that hold the pulls of style and content at a chosen ratio.

    The pull of a loss is the norm of its gradient with respect to the network's output. Now and
    then both are measured, and the correction that would bring their ratio to the target is
    smoothed, in logarithms, and bounded to a factor of 100 either way. Half of it makes the style
    stronger, half the content weaker, so that their product, and with it the meaning of the other
    weights, stays. After Chen et al., "GradNorm: Gradient normalization for adaptive loss balancing
    in deep multitask networks", ICML 2018, who learn such factors for the norms at a shared layer.

    Args:
        target: How many times the style's pull is the content's.
        processes: Those that share the batch; all get the same factors.
    """

    def __init__(self, target: float, processes: Processes) -> None:
        self._target = target
        self._processes = processes
        self._correction: float | None = None

    def measure(self, step: int, style: Tensor, content: Tensor, output: Tensor) -> None:
        """Look at the pulls, if it is time to.

        Args:
            step: Its number.
            style: The weighted style loss, a scalar.
            content: The weighted content loss, a scalar.
            output: The network's picture (N, 3, H, W) that both came from.
        """
        if step % MEASURED_EVERY and self._correction is not None:
            return
        pulls = [
            torch.autograd.grad(loss, output, retain_graph=True)[0].float().square().sum()
            for loss in (style, content)
        ]
        ours, theirs = self._processes.mean(torch.stack(pulls)).clamp_min(_TINY).sqrt().tolist()
        if not math.isfinite(ours) or not math.isfinite(theirs):
            return  # a diverged loss is told of by the training itself
        wanted = math.log(self._target * theirs / ours)
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
        """For the log: how many times the recipe's ratio of style to content weight is used."""
        return {"balance": math.exp(self._correction or 0.0)}

    def state(self) -> Mapping[str, Tensor]:
        """What a checkpoint must hold."""
        known = [] if self._correction is None else [self._correction]
        return {"correction": torch.tensor(known, dtype=torch.float64)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state`."""
        known = state["correction"].tolist()
        self._correction = known[0] if known else None


class PaintingObjective:
    """Style against the painting, content against the photograph, and smoothness.

    Johnson, Alahi and Fei-Fei, "Perceptual Losses for Real-Time Style Transfer", ECCV 2016.

    Args:
        network: The network that learns.
        photos: Crops of them are drawn by the step's number.
        vgg: The feature network, on the device where the work is done.
        grams: The painting's Gram matrix (C, C) of each style layer.
        recipe: The weights.
        processes: Those that share each batch.
        balance: Holds style and content at a ratio, where one was asked for.
    """

    def __init__(
        self,
        network: nn.Module,
        photos: PhotoSet,
        vgg: VggFeatures,
        grams: Mapping[str, Tensor],
        recipe: TrainRecipe,
        processes: Processes,
        balance: GradientBalance | None = None,
    ) -> None:
        self._network = processes.in_step(network)
        self._photos = photos
        self._vgg = vgg
        self._recipe = recipe
        self._places = processes.share_of(recipe.batch)
        self._balance = balance
        self._device = processes.device
        self._style_loss = StyleLoss(grams).to(self._device)
        self._content_loss = ContentLoss()

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """The weighted terms at a step; see `nstc.compress.learning.loop.Objective`."""
        recipe = self._recipe
        images = self._batch(step).to(self._device)
        with mixed_precision(self._device):
            output = self._network(images)
            looked_at = self._vgg(output.clamp(-0.5, 1.5), STYLE_LAYERS)
            with torch.no_grad():
                target = self._vgg(images, CONTENT_LAYERS)
        style = recipe.style_weight * self._style_loss(looked_at).mean()
        content = recipe.content_weight * self._content_loss(looked_at, target).mean()
        if self._balance is not None:
            self._balance.measure(step, style, content, output)
            style = style * self._balance.style_factor
            content = content * self._balance.content_factor
        out_of_range = (output.float() - output.float().clamp(0, 1)).square().mean()
        return {
            "style": style,
            "content": content,
            "tv": recipe.tv_weight * total_variation(output).mean(),
            "range": 10 * out_of_range,
        }

    def _batch(self, step: int) -> Tensor:
        """This process's crops of a step: which ones depends on their places alone."""
        crops = []
        for place in self._places:
            rng = np.random.default_rng((self._recipe.seed, step, place))
            path = self._photos.paths[int(rng.integers(0, len(self._photos)))]
            crops.append(random_crop(path, self._recipe.size, rng))
        return images_to_tensor(crops)
