"""Training a full-size style network from a painting and photographs."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from nstc.compress.card import write_training_card
from nstc.compress.export.checking import refuse_unusable_network
from nstc.compress.learning import logs, loop, named_losses, optimisers
from nstc.compress.learning.balance import (
    ContentBalance,
    GradientBalance,
    content_levels,
    typical_energies,
)
from nstc.compress.learning.symptoms import Examination, symptoms_of
from nstc.core import Progress, Silent, errors
from nstc.core.bundle import Bundle, open_bundle
from nstc.core.files import one_at_a_time, sha256_of
from nstc.core.images import Pixels, read_picture, resize_longer_side, resize_shorter_side
from nstc.core.images.paintings import read_painting
from nstc.core.manifest import Step, Style
from nstc.core.photos import PhotoSet, random_crop
from nstc.core.recipe import TrainRecipe
from nstc.models import losses, tensors, transformer
from nstc.models.architectures import load, network_bundle
from nstc.models.style import (
    StyleSource,
    color_statistics,
    recolored,
    statistics_of_painting,
)
from nstc.models.vgg import VggFeatures, load_vgg

OWN_WEIGHTS: Final[Mapping[str, str]] = {
    "gram": "style-weight",
    "content": "content-weight",
    "tv": "tv-weight",
}
_ADVICE: Final[Mapping[str, str]] = {
    "one colour": "Start again with a lower --learning-rate, or a higher --content-weight.",
    "grain": "Try a higher --tv-weight, or a larger --style-size for larger strokes.",
    "colours alone": "Try more --steps, or a higher --style-weight.",
}
_LAST_LAYER_RATE: Final = {"deconv3.": 20.0}

# The colours of photographs are taken of at most so many, scaled down to this shorter side.
_COLORED_PHOTOS: Final = 500
_COLORED_SIDE: Final = 64


@one_at_a_time("output", when=loop.leads_here)
def train(
    painting: str | Path,
    photos: PhotoSet,
    output: str | Path,
    *,
    recipe: TrainRecipe | None = None,
    name: str | None = None,
    credit: str | None = None,
    init: str | Path | None = None,
    vgg: str = "shipped",
    resume: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Train a `TransformerNet` with the losses of Johnson et al., ECCV 2016; give its bundle.

    Under `torchrun` every process takes its part of each batch; the first one writes. `painting` is
    the style, `credit` is for the manifest, and random crops of the photographs are stylised.
    `init` is the bundle of a full-size network to start from instead of random weights. The other
    arguments are those of `nstc.distill`.

    Raises:
        NstcError: bad input, an interrupted or a diverged run.
    """
    painting, output = Path(painting), Path(output)
    recipe, folder = recipe or TrainRecipe(), loop.training_folder(output)
    named_losses.refuse_unknown(recipe.added_terms, OWN_WEIGHTS)  # before any work
    named_losses.refuse_unmixable(recipe.added_terms, recipe)
    start = None if init is None else open_bundle(init)
    vgg_features = load_vgg(vgg)
    pixels = _painting_of(painting, photos, recipe)
    grams, targets, style = _style_of(painting, pixels, recipe, vgg_features, credit)
    record = photos.record()
    settings = {**dataclasses.asdict(recipe), "init": start and start.identity, "vgg": vgg}
    step = Step(verb="train", recipe=settings, seed=recipe.seed, photos=record)
    progress = progress or Silent()
    examination = Examination(_ADVICE, progress, usual=_usual_grain(pixels, recipe))
    torch.manual_seed(recipe.seed)
    network = _starting_point(start)
    with loop.joined() as processes:
        network = _learn(
            PaintingObjective(network, photos, vgg_features, grams, recipe, processes, targets),
            folder,
            resume=resume,
            identity={**settings, "painting": sha256_of(painting), "photos": record.list_sha256},
            progress=progress,
            examination=examination,
        )
        with loop.led(processes):
            if processes.leads:
                _write(output, name or output.name, network, style, step, start, folder)
    return open_bundle(output)


def _painting_of(painting: Path, photos: PhotoSet, recipe: TrainRecipe) -> Pixels:
    """The painting, (H, W, 3) uint8, recoloured if asked for."""
    pixels = read_painting(painting)
    if recipe.color_of == "photos":
        some = photos.take(_COLORED_PHOTOS)
        small = (resize_shorter_side(read_picture(path).rgb, _COLORED_SIDE) for path in some)
        pixels = recolored(pixels, color_statistics(small))
    return pixels


def _usual_grain(painting: Pixels, recipe: TrainRecipe) -> set[str]:
    """The symptom of grain, if the painting has it too: one of dots is to be learned so."""
    small = resize_longer_side(painting, recipe.style_size)
    return {"grain"} & symptoms_of([small], [small])


def _style_of(
    painting: Path, pixels: Pixels, recipe: TrainRecipe, vgg: VggFeatures, credit: str | None
) -> tuple[Mapping[str, Tensor], named_losses.Targets, StyleSource]:
    """A painting's Gram matrices and other targets to train on, and the style to keep."""
    grams = statistics_of_painting(pixels, vgg, [recipe.style_size]).at(recipe.style_size)
    targets = named_losses.painting_targets(recipe.added_terms, pixels, vgg, recipe.style_size)
    record = Style(name=painting.stem, source="painting", credit=credit)
    return grams, targets, StyleSource(record, statistics_of_painting(pixels, vgg))


def _starting_point(start: Bundle | None) -> nn.Module:
    if start is None:
        network = transformer.TransformerNet()
        network.prepare_for_training()
        return network
    loaded = load(start)
    if not isinstance(loaded, transformer.TransformerNet):
        raise errors.OptionError(
            f"--init {start.path} is not a full-size network: give a teacher's bundle."
        )
    refuse_unusable_network(loaded, start.path)
    return loaded.train()


def _learn(
    objective: "PaintingObjective",
    folder: Path,
    *,
    resume: bool,
    identity: Mapping[str, Any],
    progress: Progress,
    examination: Examination,
) -> nn.Module:
    """Train in place; give the network to keep, a copy where weights are averaged."""
    network, recipe = objective.network, objective.recipe
    average = optimisers.AveragedWeights(network, recipe.ema) if recipe.ema else None
    kept = network if average is None else average.network
    previews = logs.Previews(kept, folder / "previews", last=recipe.steps)

    def after_step(finished: int) -> None:
        previews.show(finished)
        examination.after(kept, recipe.steps, finished)

    loop.Optimisation(
        network=network,
        objective=objective,
        schedule=optimisers.Schedule(steps=recipe.steps, learning_rate=recipe.learning_rate),
        title="train",
        folder=folder,
        resume=resume,
        identity=identity,
        progress=progress,
        after_step=after_step if objective.processes.leads else None,
        average=average,
        rate_scales=_LAST_LAYER_RATE,
        balance=objective.balance,
        processes=objective.processes,
    ).run()
    return kept


def _write(
    output: Path,
    name: str,
    network: nn.Module,
    style: StyleSource,
    step: Step,
    start: Bundle | None,
    folder: Path,
) -> None:
    """Write the bundle, with a card of curves and pictures, and delete the checkpoint."""
    logged = logs.read_losses(folder / logs.LOSSES_FILE)
    before = None if start is None or start.manifest.style is None else start.manifest.style.name
    # A pruned network is still compared with the one it was pruned from, if in its style.
    teacher = start.manifest.teacher if start and before == style.record.name else None
    with network_bundle(
        output,
        network,
        style,
        name=name,
        stage="trained",
        step=dataclasses.replace(step, results=logs.last_losses(logged)),
        parent=start,
        teacher=teacher,
        half=True,
    ) as (draft, manifest):
        write_training_card(draft, manifest, network, logged)
    loop.forget(folder)


@dataclasses.dataclass
class PaintingObjective:
    """Style against the painting, content against the photograph, smoothness, and named losses.

    Johnson, Alahi and Fei-Fei, "Perceptual Losses for Real-Time Style Transfer", ECCV 2016.
    """

    network: nn.Module  # moved to the device of `processes`, as is `vgg`
    photos: PhotoSet  # crops of them are drawn by the step's number
    vgg: VggFeatures
    grams: Mapping[str, Tensor]  # the painting's Gram matrix (C, C) of each style layer
    recipe: TrainRecipe
    processes: loop.Processes  # those that share each batch
    targets: named_losses.Targets = dataclasses.field(default_factory=dict)  # of the recipe's terms

    def __post_init__(self) -> None:
        """Move what computes to the device, and set up the losses."""
        device = self.processes.device
        self.network.to(device)
        self.vgg.to(device)
        self.balance = self._balance()
        self._synchronised = self.processes.synchronised(self.network)
        self._indices = self.processes.share_of(self.recipe.batch)
        self._content_loss = losses.ContentLoss()
        painted = {"gram": {n: gram[None] for n, gram in self.grams.items()}, **self.targets}
        self._targets = {
            name: {layer: target.to(device) for layer, target in layers.items()}
            for name, layers in painted.items()
        }
        mixed = self._targets if self.recipe.strength_of_statistics is not None else {}
        self._photograph_layers = named_losses.photograph_layers(self.recipe.added_terms).union(
            losses.CONTENT_LAYERS, *mixed.values()
        )

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        """The weighted terms at a step; see `nstc.compress.learning.loop.Objective`."""
        recipe, device = self.recipe, self.processes.device
        crops = []  # this process's: which ones depends on their indices in the batch alone
        for index in self._indices:
            rng = np.random.default_rng((recipe.seed, step, index))
            path = self.photos.paths[int(rng.integers(0, len(self.photos)))]
            crops.append(random_crop(read_picture(path).rgb, recipe.size, rng))
        images = tensors.images_to_tensor(crops).to(device)
        with tensors.mixed_precision(device):
            output = self._synchronised(images)
            features = self.vgg(output.clamp(-0.5, 1.5), losses.STYLE_LAYERS)
            with torch.no_grad():
                photographs = self.vgg(images, self._photograph_layers)
        targets = named_losses.mixed_targets(self._targets, photographs, recipe)
        style, content = self._weighted(
            step,
            output,
            losses.layer_losses(losses.GRAM, features, targets["gram"]).mean(),
            self._content_loss(features, photographs),
            photographs,
        )
        out_of_range = (output.float() - output.float().clamp(0, 1)).square().mean()
        return {
            "style": style,
            "content": content,
            "tv": recipe.tv_weight * losses.total_variation(output).mean(),
            "range": 10 * out_of_range,
            **{
                name: weight
                * named_losses.named_loss(
                    name, output, images, features, targets, lambda _layers: photographs
                )
                for name, weight in recipe.added_terms.items()
            },
        }

    def _balance(self) -> ContentBalance | GradientBalance | None:
        if self.recipe.style_strength is not None:
            self._typical = typical_energies(self.vgg, losses.CONTENT_LAYERS)
            return ContentBalance(self.processes)
        ratio = self.recipe.balance
        return None if ratio is None else GradientBalance(ratio, self.processes)

    def _weighted(
        self,
        step: int,
        output: Tensor,
        style: Tensor,
        contents: Tensor,
        photographs: Mapping[str, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Style and content as scalars with their weights, from a mean and from losses (N,)."""
        recipe, balance = self.recipe, self.balance
        if isinstance(balance, ContentBalance):
            compared = {layer: photographs[layer] for layer in losses.CONTENT_LAYERS}
            levels = content_levels(compared, self._typical, recipe.strength_of_level)
            balance.measure(step, style, contents.mean(), output)
            # The style's weight is of both, for the other terms: the balance sets only their ratio.
            content = balance.term(contents, levels)
            return recipe.style_weight * style, recipe.style_weight * content
        style, content = recipe.style_weight * style, recipe.content_weight * contents.mean()
        if isinstance(balance, GradientBalance):
            balance.measure(step, style, content, output)
            style, content = style * balance.style_factor, content * balance.content_factor
        return style, content
