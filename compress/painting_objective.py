"""What a full-size network learns from: a painting's style, and photographs as content."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from nstc.compress.balancing import GradientBalance
from nstc.compress.optimisation import mixed_precision
from nstc.compress.processes import Processes
from nstc.core.photos import PhotoSet, random_crop
from nstc.core.recipe import TrainRecipe
from nstc.models.functional import total_variation
from nstc.models.perceptual import CONTENT_LAYERS, STYLE_LAYERS, ContentLoss, StyleLoss
from nstc.models.tensors import images_to_tensor
from nstc.models.vgg import VggFeatures


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
        """The weighted terms at a step; see `nstc.compress.optimisation.Objective`."""
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
        return images_to_tensor([self._crop(step, place) for place in self._places])

    def _crop(self, step: int, place: int) -> np.ndarray:
        rng = np.random.default_rng((self._recipe.seed, step, place))
        path = self._photos.paths[int(rng.integers(0, len(self._photos)))]
        return random_crop(path, self._recipe.size, rng)
