"""What an image is optimised for: losses against a photograph and paintings, at one size."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from nstc.compress.learning.balance import ContentBalance, content_levels, typical_energies
from nstc.compress.learning.named_losses import mixed_targets, refuse_unmixable
from nstc.core import errors
from nstc.core.recipe import OptimizeRecipe
from nstc.core.recipe.settings import weights_in
from nstc.models.losses import (
    LOSSES,
    Loss,
    PixelLoss,
    RegionLoss,
    layer_losses,
    layer_targets,
    total_variation,
)
from nstc.models.tensors import mixed_precision
from nstc.models.vgg import VggFeatures

# Optimised images end below it: 18 of 20 at 512 px, at 0.05 to 0.26.
_USUAL_STYLE: Final = 0.3


class Image(nn.Module):
    """The image that is optimised: its pixels (1, 3, H, W) in [0, 1], or (1, 1, H, W) of grey."""

    def __init__(self, pixels: Tensor) -> None:
        super().__init__()
        self.pixels = nn.Parameter(pixels.clone())

    def forward(self) -> Tensor:
        """(1, 3, H, W)."""
        return self.pixels.expand(-1, 3, -1, -1)

    @torch.no_grad()
    def clamp(self) -> None:
        """Bring the pixels back into their range."""
        self.pixels.clamp_(0, 1)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What goes into an optimisation at one size, on one device."""

    photograph: Tensor  # (1, 3, H, W) in [0, 1]
    paintings: Sequence[Tensor]  # (1, 3, h, w), each with a size of its own; or none, with Grams
    shares: Sequence[float]  # of the paintings, which add up to 1
    # Of a style whose painting is not there, by layer: (C, C) as `gram_matrix` gives them.
    style_grams: Mapping[str, Tensor] | None = None
    photo_masks: Tensor | None = None  # (1, R, H, W) in [0, 1]
    style_masks: Tensor | None = None  # (1, R, h, w), of the one painting that there then is


def refuse_unknown_losses(recipe: OptimizeRecipe, *, masked: bool) -> None:
    """Raise `OptionError` for losses and strengths that a recipe can't have together."""
    for setting, names, source in (
        ("style-losses", recipe.style_terms, "painting"),
        ("content-losses", recipe.content_terms, "photograph"),
    ):
        known = [
            name
            for name, loss in LOSSES.items()
            if ("photograph" if isinstance(loss, PixelLoss) else loss.of) == source
            and name != "tv"  # has a weight of its own
        ]
        for name in names:
            if name not in known:
                raise errors.OptionError(
                    f"{setting} names {name:.40}: expected some of {', '.join(known)}."
                )
            if isinstance(LOSSES[name], RegionLoss) and not masked:
                raise errors.OptionError(
                    f"{setting} names {name}, which compares regions: give --photo-mask and "
                    "--style-mask."
                )
    if masked and len({"gram", "semantic"} & set(recipe.style_terms)) != 1:
        raise errors.OptionError(
            f"label maps were given, and style-losses is {recipe.style_losses:.80}: expected "
            "gram or semantic among them, which with maps are the same and compare regions."
        )
    refuse_unmixable(recipe.style_terms, recipe)


@dataclass(frozen=True, kw_only=True)
class _Term:
    """A loss with its weight and what it compares with."""

    loss: Loss
    weight: float
    targets: Mapping[str, Tensor]  # by layer; none of a loss of pixels
    layer_weights: Mapping[str, float]
    masks: Tensor | None = None

    def value(self, picture: Tensor, photograph: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """The weighted loss of a picture (N, 3, H, W) with these features: (N,)."""
        if isinstance(self.loss, PixelLoss):
            return self.weight * self.loss.distance(picture, photograph)
        return self.weight * layer_losses(
            self.loss, features, self.targets, self.layer_weights, masks=self.masks
        )


class PictureLosses:
    """The weighted losses of an image; see `nstc.compress.learning.loop.Objective`.

    Style is the mean over paintings, by their shares; with masks Gram matrices are compared region
    by region. Content, where it is balanced, is replaced by what holds it at its level.
    """

    def __init__(
        self, image: Image, scene: Scene, vgg: VggFeatures, recipe: OptimizeRecipe
    ) -> None:
        self._image, self._scene, self._vgg, self._recipe = image, scene, vgg, recipe
        self._device = scene.photograph.device
        masked = scene.photo_masks is not None
        self._by_loss = recipe.strength_of_level
        layer_weights = {
            "painting": weights_in(recipe.style_layers) if recipe.style_layers else {},
            "photograph": weights_in(recipe.content_layers) if recipe.content_layers else {},
        }
        style = {
            "semantic" if masked and name == "gram" else name: weight
            for name, weight in recipe.style_terms.items()
        }
        needed = {
            layer
            for names, source in ((style, "painting"), (recipe.content_terms, "photograph"))
            for name in names
            for layer in _layers_of(LOSSES[name], layer_weights[source])
        }
        self.latest: Mapping[str, float] = {}  # losses at the latest step
        self._layers = sorted(needed, key=vgg.position)  # refuses those that there are not
        own = self._features(scene.photograph)
        self._content = {
            name: _Term(
                loss=(loss := LOSSES[name]),
                weight=weight,
                targets=_targets(loss, own, layer_weights["photograph"]),
                layer_weights=layer_weights["photograph"],
            )
            for name, weight in recipe.content_terms.items()
        }
        self._style: list[_Term] = []
        for targets_of, share in self._styles():
            for name, weight in style.items():
                loss, weights = LOSSES[name], layer_weights["painting"]
                painted = {name: targets_of(loss=loss, weights=weights)}
                targets = mixed_targets(painted, own, recipe, scene.photo_masks)[name]
                self._style.append(
                    _Term(
                        loss=loss,
                        weight=share * weight,
                        targets=targets,
                        layer_weights=weights,
                        masks=scene.photo_masks,
                    )
                )
        self.balance: ContentBalance | None = None
        if recipe.balances:
            self.balance = ContentBalance(usual_style=_USUAL_STYLE)
            self.levels = self._levels(own, layer_weights["photograph"])

    def _levels(self, own: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        """Of the content loss (1,) over `_content_scale`, so that weights change no strength."""
        layers = tuple(self._content["content"].targets)
        typical = typical_energies(self._vgg, layers)
        by_layer = [
            weights.get(layer, 1.0) * content_levels({layer: own[layer]}, typical, self._by_loss)
            for layer in layers
        ]
        mean_weight = sum(weights.get(layer, 1.0) for layer in layers) / len(layers)
        self._content_scale = self._recipe.content_terms["content"] * mean_weight
        return torch.stack(by_layer).sum(dim=0) / mean_weight

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """The weighted terms at a step, each a scalar."""
        picture = self._image()
        losses = self._losses_of(picture)
        if self.balance is not None:
            style = self._recipe.style_weight * losses["style"]
            content = losses["content"] / self._content_scale
            self.balance.measure(step, style, content, picture)
        self.latest = {name: float(loss.detach()) for name, loss in losses.items()}
        return self._weighted(losses)

    @torch.no_grad()
    def look(self) -> Mapping[str, float]:
        """The losses of the image as it is, without the weights of style, content and tv."""
        return {name: float(loss) for name, loss in self._losses_of(self._image()).items()}

    @torch.no_grad()
    def total(self, losses: Mapping[str, float]) -> float:
        """What is minimised, of losses as of `look`, with the weights as they are now.

        A balance changes its weight while it runs: totals of two images can be compared only if
        they are computed with the same one.
        """
        known = {name: torch.tensor(loss, device=self._device) for name, loss in losses.items()}
        return float(torch.stack(list(self._weighted(known).values())).sum())

    @property
    def weights(self) -> float:
        """Of style and content together: about the total of an image that has nothing of either."""
        return self._recipe.style_weight + self._recipe.content_weight

    def figures(self) -> Mapping[str, float]:
        """For the log of a step: the losses without those weights, and the balance."""
        found = {}
        if "style" in self.latest:
            found["style_loss"] = self.latest["style"]
        if content := [self.latest[name] for name in self._content if name in self.latest]:
            found["content_loss"] = sum(content)
        return {**found, **({} if self.balance is None else self.balance.figures())}

    def _losses_of(self, picture: Tensor) -> Mapping[str, Tensor]:
        """Those that have a weight, each a scalar."""
        recipe, photograph = self._recipe, self._scene.photograph
        with mixed_precision(self._device):
            features = self._vgg(picture, self._layers, sparing=True)
        losses = {}
        if recipe.style_weight:
            losses["style"] = self._style_loss(picture, features)
        if recipe.content_weight:
            for name, term in self._content.items():
                losses[name] = term.value(picture, photograph, features).mean()
        if recipe.tv_weight:
            losses["tv"] = total_variation(picture).mean()
        return losses

    def _weighted(self, losses: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        recipe, terms = self._recipe, {}
        for name, loss in losses.items():
            if name == "style":
                strength = 1.0 if self.balance is not None else self._by_loss
                terms[name] = recipe.style_weight * strength * loss
            elif name == "content" and self.balance is not None:
                terms[name] = self.balance.term(loss.view(1) / self._content_scale, self.levels)
            else:
                weight = recipe.tv_weight if name == "tv" else recipe.content_weight
                terms[name] = weight * loss
        return terms

    @torch.no_grad()
    def unweighted(self, picture: Tensor) -> Mapping[str, float]:
        """Style and content of a picture (1, 3, H, W), each summed by its own losses' weights."""
        picture = picture.to(self._device)
        features = self._features(picture)
        content = [
            term.value(picture, self._scene.photograph, features).mean()
            for term in self._content.values()
        ]
        return {
            "style": float(self._style_loss(picture, features)),
            "content": float(torch.stack(content).sum()),
        }

    def _style_loss(self, picture: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        photograph = self._scene.photograph
        losses = [term.value(picture, photograph, features).mean() for term in self._style]
        return torch.stack(losses).sum()

    def _styles(self) -> Iterator[tuple[Callable[..., Mapping[str, Tensor]], float]]:
        """For each painting what gives a loss's targets, and its share; Gram matrices are one."""
        scene = self._scene
        if scene.style_grams is not None:
            yield functools.partial(_gram_targets, scene.style_grams), 1.0
        for painting, share in zip(scene.paintings, scene.shares, strict=True):
            features = self._features(painting)
            yield functools.partial(_targets, features=features, masks=scene.style_masks), share

    @torch.no_grad()
    def _features(self, picture: Tensor) -> Mapping[str, Tensor]:
        """In full precision, for targets are computed once."""
        found: Mapping[str, Tensor] = self._vgg(picture, self._layers)
        return found


def _layers_of(loss: Loss, weights: Mapping[str, float]) -> tuple[str, ...]:
    """The layers that a loss compares: those with a weight, or its own."""
    return () if isinstance(loss, PixelLoss) else tuple(weights) or loss.layers


def _targets(
    loss: Loss,
    features: Mapping[str, Tensor],
    weights: Mapping[str, float],
    masks: Tensor | None = None,
) -> Mapping[str, Tensor]:
    if isinstance(loss, PixelLoss):
        return {}
    own = {layer: features[layer] for layer in _layers_of(loss, weights)}
    return layer_targets(loss, own, masks)


def _gram_targets(
    grams: Mapping[str, Tensor], loss: Loss, weights: Mapping[str, float]
) -> Mapping[str, Tensor]:
    """Gram matrices (1, C, C) as targets; `OptionError` for all that they are none of."""
    layers = _layers_of(loss, weights)
    if loss is not LOSSES["gram"] or not set(layers) <= set(grams):
        raise errors.OptionError(
            f"the style is known by its Gram matrices at {', '.join(grams)} alone: expected the "
            "style loss gram at these layers; others need the painting."
        )
    return {layer: grams[layer].unsqueeze(0) for layer in layers}
