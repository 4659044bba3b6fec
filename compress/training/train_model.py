"""Training a full-size style network from a painting and photographs."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from nstc.compress.card import write_training_card
from nstc.compress.export.checking import refuse_unusable_network
from nstc.compress.learning.checkpoint import Remembers
from nstc.compress.learning.loop import LOSSES_FILE, Optimisation, Schedule, forget, training_folder
from nstc.compress.learning.loss_curves import last_losses, read_losses
from nstc.compress.learning.optimisers import AveragedWeights
from nstc.compress.learning.previews import Previews
from nstc.compress.learning.processes import Processes, joined, leads_here, led
from nstc.compress.training.painting_objective import GradientBalance, PaintingObjective
from nstc.core.bundle import STYLE_FILE, WEIGHTS_FILE, Bundle, new_bundle, open_bundle
from nstc.core.errors import OptionError
from nstc.core.files import sha256_of
from nstc.core.files.locks import one_at_a_time
from nstc.core.images import read_picture, resize_shorter_side
from nstc.core.manifest import Manifest, Origin, Step, Style
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress, Silent
from nstc.core.recipe import TrainRecipe
from nstc.models.architectures import describe, load
from nstc.models.color_transfer import color_statistics, recolored
from nstc.models.style import StyleStatistics, statistics_of_painting
from nstc.models.tensors import save_tensors
from nstc.models.transformer import TransformerNet
from nstc.models.vgg import VggFeatures, load_vgg

_LAST_LAYER_RATE: Final = {"deconv3.": 20.0}

_COLORED_PHOTOS: Final = 500
_COLORED_SIDE: Final = 64
"""At most so many photographs, and so small, say what colours photographs have."""


@one_at_a_time("output", when=leads_here)
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
    """Train a `TransformerNet` with the losses of Johnson et al., ECCV 2016; give its bundle.

    Under `torchrun` every process takes its part of each batch; the first one writes.

    Args:
        painting: The style.
        photos: What to learn on; crops of them are drawn at random.
        output: The bundle to write; what is kept while training goes to `OUTPUT.training`.
        recipe: Settings.
        name: Of the model; the output's name by default.
        credit: Of the painting, for the manifest.
        init: A bundle of a full-size network to start from instead of random weights.
        vgg: See `nstc.models.vgg.load_vgg`.
        resume: Go on from the checkpoint of a run with the same settings.
        progress: Told of every step.

    Raises:
        NstcError: bad input, an interrupted or a diverged run.
    """
    recipe, folder = recipe or TrainRecipe(), training_folder(output)
    start = None if init is None else open_bundle(init)
    features = load_vgg(vgg)
    grams, kept = _style_of(painting, photos, recipe, features)
    record = photos.record()
    settings = {**dataclasses.asdict(recipe), "init": start and start.identity, "vgg": vgg}
    step = Step(verb="train", recipe=settings, seed=recipe.seed, photos=record)
    style = Style(name=painting.stem, source="painting", credit=credit)
    torch.manual_seed(recipe.seed)
    network = _starting_point(start)
    with joined() as processes:
        network = _learn(
            network.to(processes.device),
            photos,
            features.to(processes.device),
            grams,
            recipe,
            processes=processes,
            folder=folder,
            resume=resume,
            identity={**settings, "painting": sha256_of(painting), "photos": record.list_sha256},
            progress=progress or Silent(),
        )
        with led(processes):
            if processes.leads:
                manifest = _manifest(name or output.name, network, style, step, start)
                _write(output, manifest, network, kept, folder)
    return open_bundle(output)


def _style_of(
    painting: Path, photos: PhotoSet, recipe: TrainRecipe, vgg: VggFeatures
) -> tuple[Mapping[str, Tensor], StyleStatistics]:
    """A painting's matrices to learn and statistics to keep, in the colours the recipe asks for."""
    pixels = read_picture(painting).rgb
    if recipe.color_of == "photos":
        asked = photos.take(_COLORED_PHOTOS)
        small = (resize_shorter_side(read_picture(path).rgb, _COLORED_SIDE) for path in asked)
        pixels = recolored(pixels, color_statistics(small))
    learned = statistics_of_painting(pixels, vgg, [recipe.style_size])
    return learned.at(recipe.style_size), statistics_of_painting(pixels, vgg)


def _starting_point(start: Bundle | None) -> nn.Module:
    if start is None:
        network = TransformerNet()
        network.prepare_for_training()
        return network
    loaded = load(start)
    if not isinstance(loaded, TransformerNet):
        raise OptionError(f"--init {start.path} is no full-size network: give a teacher's bundle.")
    refuse_unusable_network(loaded, start.path)
    return loaded.train()


def _learn(
    network: nn.Module,
    photos: PhotoSet,
    features: VggFeatures,
    grams: Mapping[str, Tensor],
    recipe: TrainRecipe,
    *,
    processes: Processes,
    folder: Path,
    resume: bool,
    identity: Mapping[str, Any],
    progress: Progress,
) -> nn.Module:
    """Train in place; give the network to keep, which is another one where weights are averaged."""
    balance = None if recipe.balance is None else GradientBalance(recipe.balance, processes)
    average = AveragedWeights(network, recipe.ema) if recipe.ema else None
    kept = network if average is None else average.network
    previews = Previews(kept, folder / "previews", last=recipe.steps) if processes.leads else None
    companions: dict[str, Remembers | None] = {"balance": balance, "average": average}

    def after_step(finished: int) -> None:
        if average is not None:
            average.update()
        if previews is not None:
            previews.show(finished)

    Optimisation(
        network=network,
        objective=PaintingObjective(network, photos, features, grams, recipe, processes, balance),
        schedule=Schedule(steps=recipe.steps, learning_rate=recipe.learning_rate),
        title="train",
        folder=folder,
        resume=resume,
        identity=identity,
        progress=progress,
        after_step=after_step,
        rate_scales=_LAST_LAYER_RATE,
        companions={key: part for key, part in companions.items() if part is not None},
        figures=None if balance is None else balance.figures,
        processes=processes,
    ).run()
    return kept


def _manifest(
    name: str, network: nn.Module, style: Style, step: Step, start: Bundle | None
) -> Manifest:
    architecture, contract = describe(network)
    return Manifest(
        name=name,
        stage="trained",
        architecture=architecture,
        contract=contract,
        style=style,
        parent=None if start is None else start.origin(),
        teacher=_teacher(start, style),
        history=(*(() if start is None else start.manifest.history), step),
    )


def _teacher(start: Bundle | None, style: Style) -> Origin | None:
    """Whom a pruned network is judged beside: still the one it was pruned from, in its style."""
    if start is None or start.manifest.style is None or start.manifest.style.name != style.name:
        return None
    return start.manifest.teacher


def _write(
    output: Path, manifest: Manifest, network: nn.Module, kept: StyleStatistics, folder: Path
) -> None:
    """Write the bundle: weights, the painting's statistics, and a card with curves and pictures."""
    losses = read_losses(folder / LOSSES_FILE)
    *before, step = manifest.history
    step = dataclasses.replace(step, results=last_losses(losses))
    manifest = dataclasses.replace(manifest, history=(*before, step))
    with new_bundle(output, manifest) as draft:
        save_tensors({k: v.half() for k, v in network.state_dict().items()}, draft / WEIGHTS_FILE)
        save_tensors(kept.packed(), draft / STYLE_FILE)
        write_training_card(draft, manifest, network, losses)
    forget(folder)
