"""The losses of distillation: a table of terms, the objectives that sum them, and their ratios.

A recipe's `terms` hold weights of more: of nstc.models.losses.LOSSES, and of other packages.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TypeGuard

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nstc.benchmarks.quality import picture_metrics
from nstc.compress.distillation.compared_losses import ComparedLosses, PaintingLosses
from nstc.compress.distillation.crops import Crops
from nstc.compress.distillation.teacher_outputs import TeacherOutputs
from nstc.compress.export.checking import stylise_with
from nstc.compress.learning import named_losses
from nstc.compress.learning.balance import ContentBalance, RatioBalance, content_levels
from nstc.compress.quantization.fake_quantization import FakeQuantizedStudent
from nstc.core import errors, extensions
from nstc.core.recipe import DistillRecipe
from nstc.models.losses import (
    CONTENT_LAYERS,
    LOSSES,
    SHIFTS,
    STYLE_LAYERS,
    checkerboard_energy,
    displacement_map,
    flicker_map,
)
from nstc.models.student import SCALE, StudentNetwork
from nstc.models.tensors import images_to_tensor, mixed_precision


@dataclass(frozen=True, kw_only=True)
class StepView:
    """What a term is computed from in a step. Most need no more than the first four."""

    outputs: Tensor  # (N, 3, h, w), the student's pictures, about [0, 1] and not clamped
    targets: Tensor  # the teacher's, of that shape, in [0, 1]; without one the photographs again
    photographs: Tensor  # what both were made of, of the same shape, in [0, 1]
    features: Mapping[str, Tensor]  # VGG features (N, C, h', w') of the outputs, by `STYLE_LAYERS`
    step: int  # its number: with the recipe's seed the only source of randomness
    recipe: DistillRecipe
    names: tuple[str, ...]  # keys of the pictures
    pairs: Crops  # what was drawn from
    teacher: PaintingLosses  # what the losses are relative to: without a teacher, what is usual
    period: int  # of a checkerboard: pixels a side of the grid that the student may leave
    flicker_map: Callable[[], Tensor]  # (N, 3, H, W), of whole crops; runs the student once more
    content_balance: ContentBalance | None = None  # where the recipe has a style's strength

    @functools.cached_property
    def compared(self) -> ComparedLosses:
        """Style and content loss of the student's pictures, and of the teacher's."""
        grams = self.painted["gram"]
        return self.teacher.compare(
            self.names, self.features, self.targets, self.photograph_features, grams
        )

    @functools.cached_property
    def photograph_features(self) -> Mapping[str, Tensor]:
        """VGG features of the photographs that content, and a mixed style, are compared with."""
        mixed = self.recipe.strength_of_statistics is not None
        layers = set(CONTENT_LAYERS).union(*(self.teacher.painted.values() if mixed else ()))
        return self.teacher.features(self.photographs, layers)

    @functools.cached_property
    def painted(self) -> named_losses.Targets:
        """Targets of the losses that compare with the painting, for the recipe's strength."""
        if self.recipe.strength_of_statistics is None:
            return self.teacher.painted
        return named_losses.mixed_targets(
            self.teacher.painted, self.photograph_features, self.recipe
        )

    @functools.cached_property
    def ratios(self) -> tuple[Tensor, Tensor]:
        """Style and content loss (N,), each over the teacher's on the same pictures."""
        return self.compared.ratios


@dataclass(frozen=True)
class LossTerm:
    """A row of the table."""

    compute: Callable[[StepView], Tensor]  # to a scalar
    # By the recipe; None for those whose weight stands in a recipe's `terms`.
    weight: Callable[[DistillRecipe], float] | None = None


def pixel(view: StepView) -> Tensor:
    """Mean absolute difference to the teacher's picture."""
    return (view.outputs.float() - view.targets).abs().mean()


def checkerboard(view: StepView) -> Tensor:
    """The energy of a checkerboard of the student's period, over that of the teacher's pictures."""
    energy = checkerboard_energy(view.outputs, view.period).mean()
    return energy / view.pairs.mean_checkerboard(view.period)


def beyond_range(view: StepView) -> Tensor:
    """Mean square of what leaves [0, 1]."""
    return (view.outputs - view.outputs.clamp(0, 1)).float().square().mean()


def flicker(view: StepView) -> Tensor:
    """How much the pictures flicker, over how much the teacher's do."""
    return view.flicker_map().mean() / view.pairs.mean_flicker


def focused(ratios: Tensor, power: float) -> Tensor:
    """What is minimised of ratios (N,): their mean, each gradient times ratio^power."""
    return ratios.pow(power + 1).mean() / (power + 1)


def style(view: StepView) -> Tensor:
    """The style loss over the teacher's."""
    return focused(view.ratios[0], view.recipe.focus)


def content(view: StepView) -> Tensor:
    """The content loss over the teacher's; or what holds it at the level of a style's strength."""
    balance, found = view.content_balance, view.compared
    if balance is None:
        return focused(view.ratios[1], view.recipe.focus)
    strength = view.recipe.strength_of_level
    levels = content_levels(found.photographs, view.teacher.typical, strength)
    # As each picture's style loss is, what is in balance with it is over the teacher's style loss.
    return balance.term(found.content, levels, 1 / found.teacher_style)


# By the names that losses are logged by.
TERMS: Final[Mapping[str, LossTerm]] = {
    "pixel": LossTerm(pixel, lambda recipe: recipe.pixel_weight),
    "grid": LossTerm(checkerboard, lambda recipe: recipe.checkerboard_weight),
    "range": LossTerm(beyond_range, lambda _: 10.0),
    "style": LossTerm(style, lambda recipe: recipe.style_weight),
    "content": LossTerm(content, lambda recipe: recipe.content_weight),
    "flicker": LossTerm(flicker, lambda recipe: recipe.steadiness_weight),
}
OWN_WEIGHTS: Final[Mapping[str, str]] = {
    "pixel": "pixel-weight",
    "grid": "checkerboard-weight",
    "style": "style-weight",
    "gram": "style-weight",
    "content": "content-weight",
    "flicker": "flicker-weight",
}
# Those of other packages.
ADDED: Final = extensions.Extensions(extensions.LOSSES, LossTerm, (*TERMS, *LOSSES))


def named_loss(name: str, view: StepView) -> Tensor:
    """The mean of a loss of `nstc.models.losses.LOSSES`."""
    return named_losses.named_loss(
        name,
        view.outputs,
        view.photographs,
        view.features,
        view.painted,
        lambda layers: view.teacher.features(view.photographs, layers),
    )


def weighted_terms(recipe: DistillRecipe) -> Mapping[str, tuple[LossTerm, float]]:
    """The terms whose weight in a recipe is above 0, and the weights.

    `OptionError` if the recipe's `terms` name one that there is not, or that has its own setting;
    `ExtensionError` if another package adds it, and it can't be used.
    """
    weighted = {name: (term, term.weight(recipe)) for name, term in TERMS.items() if term.weight}
    # Packages' metadata is read only for a name that is not nstc's own.
    packages = ADDED.names() if set(recipe.added_terms) - set(LOSSES) else ()
    named_losses.refuse_unknown(recipe.added_terms, OWN_WEIGHTS, packages)
    for name, weight in recipe.added_terms.items():
        added = None if name in LOSSES else ADDED.get(name)
        weighted[name] = added or LossTerm(functools.partial(named_loss, name)), weight
    return {name: (term, weight) for name, (term, weight) in weighted.items() if weight > 0}


def refuse_unusable_terms(recipe: DistillRecipe, painting: Path | None) -> None:
    """Raise what `weighted_terms` does, and `OptionError` if a term needs a painting not given."""
    weighted_terms(recipe)
    named_losses.refuse_unmixable(recipe.added_terms, recipe)
    named_losses.refuse_without_painting(recipe.added_terms, painting)


SURROUNDINGS = 48  # mirrored pixels around a crop, further than most students' convolutions reach
# Independent streams of random numbers in a step.
_PART, _FLICKER, _PIXEL_BATCH, _PERCEPTUAL_BATCH = 1, 2, 6, 10


def _random(recipe: DistillRecipe, stream: int, step: int) -> np.random.Generator:
    return np.random.default_rng((recipe.seed, stream, step))


class Batch(NamedTuple):
    """Pairs to learn from in a step."""

    photographs: Tensor  # (N, 3, size, size) in [0, 1]
    targets: Tensor  # the teacher's pictures of them, alike
    names: tuple[str, ...]  # key of each pair, whatever the step


def draw_batch(pairs: Crops, count: int, rng: np.random.Generator, device: torch.device) -> Batch:
    """So many pairs by chance."""
    indices = [int(index) for index in rng.integers(0, len(pairs), count)]
    photographs, targets = zip(*(pairs[index] for index in indices), strict=True)
    return Batch(
        images_to_tensor(photographs).to(device),
        images_to_tensor(targets).to(device),
        tuple(pairs.name(index) for index in indices),
    )


@dataclass(frozen=True)
class PixelObjective:
    """Mean absolute difference between a student's picture and its teacher's."""

    network: nn.Module
    pairs: Crops
    recipe: DistillRecipe
    device: torch.device

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """The terms at a step; see `nstc.compress.learning.loop.Objective`."""
        rng = _random(self.recipe, _PIXEL_BATCH, step)
        drawn = draw_batch(self.pairs, self.recipe.batch, rng, self.device)
        outputs = _stylised(self.network, drawn.photographs)
        return {"pixel": (outputs.float() - drawn.targets).abs().mean()}


@dataclass(frozen=True)
class PerceptualObjective:
    """The weighted `TERMS`: the teacher's own aims, and its pixels.

    The teacher's own aims are the style loss against the painting and the content loss against
    the photograph: a student that only copies inherits the teacher's errors beside its own. They,
    flicker and the checkerboard are relative to the teacher's, as a student is judged.

    Zero padding lets a student detect the edge of a picture, and there it would put, as a frame,
    the strokes that a style loss misses elsewhere. So VGG is given the student's picture of the
    crop continued by its mirror image, and the picture of the crop alone is held to that by the
    flicker term: neither a shift of the camera nor the edge may change a picture. Without a weight
    on flicker crops are not continued. Of a student whose period is longer than the usual 4 pixels
    every other step looks at a shift by whole pixels, see `displacement_map`.
    """

    network: nn.Module  # the student, on the device of `own`
    pairs: Crops
    recipe: DistillRecipe
    own: PaintingLosses  # of the painting and VGG
    balance: RatioBalance | ContentBalance | None = None

    @functools.cached_property
    def terms(self) -> Mapping[str, tuple[LossTerm, float]]:
        """The recipe's terms and weights."""
        return weighted_terms(self.recipe)

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """The weighted terms at a step; see `nstc.compress.learning.loop.Objective`."""
        network, recipe, device = self.network, self.recipe, self.own.device
        if isinstance(self.balance, RatioBalance):
            self.balance.measure(step)
        rng = _random(recipe, _PERCEPTUAL_BATCH, step)
        photographs, targets, names = draw_batch(self.pairs, recipe.perceptual_batch, rng, device)
        outputs = _stylised(network, photographs, SURROUNDINGS if "flicker" in self.terms else 0)

        @functools.cache
        def map_of_flicker() -> Tensor:
            rng = _random(recipe, _FLICKER, step)
            with mixed_precision(device):
                if step % 2 and _is_student(network) and network.period > SCALE:
                    like_whole = functools.partial(
                        network, statistics=network.statistics(photographs)
                    )
                    return displacement_map(like_whole, photographs, outputs, network.period, rng)
                axes = SHIFTS[int(rng.integers(len(SHIFTS)))]
                return flicker_map(network, photographs, outputs, axes, rng)

        if "flicker" in self.terms:
            map_of_flicker()  # before VGG: what comes first decides a gradient's last bits
        # VGG is given one square of each crop.
        size = photographs.shape[-1]
        side = min(size, recipe.perceptual_size or size)
        top, left = _random(recipe, _PART, step).integers(0, size - side + 1, 2)
        part = (slice(None), slice(None), slice(top, top + side), slice(left, left + side))
        with mixed_precision(device):
            features = self.own.vgg(outputs[part], STYLE_LAYERS)
        view = StepView(
            outputs=outputs[part],
            targets=targets[part],
            photographs=photographs[part],
            features=features,
            step=step,
            recipe=recipe,
            names=tuple(f"{name} {part}" for name in names),
            pairs=self.pairs,
            teacher=self.own,
            period=network.period if _is_student(network) else SCALE,
            flicker_map=map_of_flicker,
            content_balance=self.balance if isinstance(self.balance, ContentBalance) else None,
        )
        factors = self._factors(view, outputs)
        return {
            name: factors.get(name, 1.0) * (weight * term.compute(view))
            for name, (term, weight) in self.terms.items()
        }

    def _factors(self, view: StepView, outputs: Tensor) -> Mapping[str, float]:
        """On the weighted terms, by name; `outputs` are what those of the view are a part of."""
        if isinstance(self.balance, RatioBalance):
            return self.balance.factors()
        if view.content_balance is None:
            return {}
        found = view.compared
        style, content = found.style / found.teacher_style, found.content / found.teacher_style
        view.content_balance.measure(view.step, style.mean(), content.mean(), outputs)
        # The style's weight is of both, for the other terms: the balance sets only their ratio.
        return {"content": self.recipe.style_weight / self.recipe.content_weight}


def _is_student(network: nn.Module) -> TypeGuard[StudentNetwork | FakeQuantizedStudent]:
    return isinstance(network, StudentNetwork | FakeQuantizedStudent)


def _stylised(network: nn.Module, photographs: Tensor, surroundings: int = 0) -> Tensor:
    """The student's pictures (N, 3, size, size).

    The photographs are continued by mirrored pixels, at most half as many as they have, and
    normalised as without them; the same margin is cut off the pictures.
    """
    margin = min(surroundings, photographs.shape[-1] // 16 * 8)
    around = F.pad(photographs, (margin,) * 4, mode="reflect")
    inside = slice(margin, margin + photographs.shape[-1])
    with mixed_precision(photographs.device):
        given = [around]
        if _is_student(network):
            given.append(network.statistics(photographs))
        outputs: Tensor = network(*given)
    return outputs[:, :, inside, inside]


class JudgedRatios:
    """Style, content and flicker ratio of a student that is learning, on one photograph a time.

    `judged` are photographs of the size that it is judged at, and `seed` is of their order, for
    those of one folder are alike. The network is on the device of `own`.
    """

    def __init__(
        self, network: nn.Module, judged: TeacherOutputs, own: PaintingLosses, seed: int
    ) -> None:
        self._stylise = stylise_with(network)  # in full precision, as the files that are judged
        self._judged = judged
        self._own = own
        self._order = np.random.default_rng(seed).permutation(len(judged)).tolist()

    def __call__(self, turn: int) -> Mapping[str, float]:
        """The ratios on the photograph whose turn it is, by the names of `goals_in_balance`.

        NaN of a network whose pictures are not finite: the training itself reports that.
        """
        index = self._order[turn % len(self._order)]
        photograph, target = self._judged[index]
        try:
            picture = self._stylise(photograph)
            flickers = picture_metrics.flicker(self._stylise, photograph, picture)
        except errors.UnusableModelError:
            return dict.fromkeys(("style", "content", "flicker"), math.nan)
        pictures, photographs, targets = (
            images_to_tensor([pixels]).to(self._own.device)
            for pixels in (picture, photograph, target)
        )
        features = self._own.features(pictures, STYLE_LAYERS)
        name = self._judged.name(index)
        style, content = self._own.ratios([name], features, targets, photographs)
        flickers /= self._judged.flicker(index)
        return {"style": float(style), "content": float(content), "flicker": flickers}
