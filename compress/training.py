"""Training a full-size style network from a painting and photographs."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nstc.compress.optimisation import (
    Schedule,
    forget,
    mixed_precision,
    optimise,
    training_folder,
)
from nstc.compress.processes import best_device
from nstc.core.bundle import (
    STYLE_FILE,
    WEIGHTS_FILE,
    Bundle,
    new_bundle,
    open_bundle,
)
from nstc.core.errors import OptionError
from nstc.core.files import sha256_of
from nstc.core.images import Picture, read_picture, write_picture
from nstc.core.manifest import Manifest, Step, Style
from nstc.core.photos import PhotoSet, random_crop, sample_photos
from nstc.core.progress import Progress, Silent
from nstc.core.recipe import TrainRecipe
from nstc.core.sheets import contact_sheet
from nstc.models.architectures import describe, load
from nstc.models.functional import total_variation
from nstc.models.perceptual import CONTENT_LAYERS, STYLE_LAYERS, ContentLoss, StyleLoss
from nstc.models.style import statistics_of_painting
from nstc.models.tensors import images_to_tensor, save_tensors, tensor_to_images
from nstc.models.transformer import TransformerNet
from nstc.models.vgg import VggFeatures, load_vgg

PREVIEW_EVERY = 100
_LAST_LAYER_RATE = {"deconv3.": 20.0}


def train(
    painting: Path,
    photos: PhotoSet,
    output: Path,
    *,
    recipe: TrainRecipe | None = None,
    name: str | None = None,
    credit: str | None = None,
    init: str | Path | None = None,
    vgg: str = "shipped",
    resume: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Train a `TransformerNet` with the losses of Johnson et al., ECCV 2016.

    Args:
        painting: The style.
        photos: What to learn on; crops of them are drawn at random.
        output: The bundle to write. Checkpoint, losses and previews go to `OUTPUT.training`
            beside it.
        recipe: Settings.
        name: Of the model; the output's name by default.
        credit: Of the painting, for the manifest.
        init: A bundle of a full-size network to start from instead of random weights.
        vgg: See `nstc.models.vgg.load_vgg`.
        resume: Go on from the checkpoint of a run with the same settings.
        progress: Told of every step.

    Returns:
        The bundle at `output`.

    Raises:
        NstcError: bad input, an interrupted or a diverged run.
    """
    recipe = recipe or TrainRecipe()
    folder = training_folder(output)
    device = best_device()
    features = load_vgg(vgg)
    pixels = read_picture(painting).rgb
    statistics = statistics_of_painting(pixels, features)
    learned = statistics_of_painting(pixels, features, [recipe.style_size])
    features = features.to(device)
    start = None if init is None else open_bundle(init)
    torch.manual_seed(recipe.seed)
    network = _starting_point(start).to(device)
    record = photos.record()
    settings = {
        **dataclasses.asdict(recipe),
        "init": None if start is None else start.identity,
        "vgg": vgg,
    }
    optimise(
        network,
        _Objective(network, photos, features, learned.at(recipe.style_size), recipe),
        Schedule(steps=recipe.steps, learning_rate=recipe.learning_rate),
        title="train",
        folder=folder,
        resume=resume,
        identity={
            **settings,
            "painting": sha256_of(painting),
            "photos": record.list_sha256,
        },
        progress=progress or Silent(),
        after_step=_Previews(network, folder / "previews", last=recipe.steps),
        rate_scales=_LAST_LAYER_RATE,
    )
    architecture, contract = describe(network)
    manifest = Manifest(
        name=name or output.name,
        stage="trained",
        architecture=architecture,
        contract=contract,
        style=Style(name=painting.stem, source="painting", credit=credit),
        parent=None if start is None else start.origin(),
        history=(
            *(() if start is None else start.manifest.history),
            Step(verb="train", recipe=settings, seed=recipe.seed, photos=record),
        ),
    )
    with new_bundle(output, manifest) as draft:
        save_tensors({k: v.half() for k, v in network.state_dict().items()}, draft / WEIGHTS_FILE)
        save_tensors(statistics.packed(), draft / STYLE_FILE)
    forget(folder)
    return open_bundle(output)


class _Objective:
    """Style against the painting, content against the photograph, and smoothness."""

    def __init__(
        self,
        network: nn.Module,
        photos: PhotoSet,
        vgg: VggFeatures,
        grams: Mapping[str, Tensor],
        recipe: TrainRecipe,
    ) -> None:
        self.network = network
        self.photos = photos
        self.vgg = vgg
        self.recipe = recipe
        self.device = next(vgg.parameters()).device
        self.style_loss = StyleLoss(grams).to(self.device)
        self.content_loss = ContentLoss()

    def __call__(self, step: int) -> Mapping[str, Tensor]:
        images = self._batch(step).to(self.device)
        with mixed_precision(self.device):
            output = self.network(images)
            looked_at = self.vgg(output.clamp(-0.5, 1.5), STYLE_LAYERS)
            with torch.no_grad():
                target = self.vgg(images, CONTENT_LAYERS)
        recipe = self.recipe
        out_of_range = (output.float() - output.float().clamp(0, 1)).square().mean()
        return {
            "style": recipe.style_weight * self.style_loss(looked_at).mean(),
            "content": recipe.content_weight * self.content_loss(looked_at, target).mean(),
            "tv": recipe.tv_weight * total_variation(output).mean(),
            "range": 10 * out_of_range,
        }

    def _batch(self, step: int) -> Tensor:
        rng = np.random.default_rng((self.recipe.seed, step))
        chosen = rng.integers(0, len(self.photos), self.recipe.batch)
        return images_to_tensor(
            [random_crop(self.photos.paths[i], self.recipe.size, rng) for i in chosen]
        )


class _Previews:
    """A sheet of sample photographs and their stylised pictures, now and then and at the end."""

    def __init__(self, network: nn.Module, folder: Path, *, last: int) -> None:
        self.network = network
        self.folder = folder
        self.last = last
        self.squares = list(sample_photos().take(4).squares(256))

    def __call__(self, step: int) -> None:
        if step % PREVIEW_EVERY and step != self.last:
            return
        device = next(self.network.parameters()).device
        with torch.inference_mode(), mixed_precision(device):
            stylised = self.network(images_to_tensor(self.squares).to(device))
        sheet = contact_sheet([self.squares, tensor_to_images(stylised)])
        write_picture(self.folder / f"step-{step:05d}.jpg", Picture(rgb=sheet))


def _starting_point(start: Bundle | None) -> nn.Module:
    if start is None:
        network = TransformerNet()
        network.prepare_for_training()
        return network
    loaded = load(start)
    if not isinstance(loaded, TransformerNet):
        raise OptionError(f"--init {start.path} is no full-size network: give a teacher's bundle.")
    return loaded.train()
