"""Structured pruning: whole channels go, along torch-pruning's dependency graph.

Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import torch
import torch_pruning
from torch import Tensor, nn

from nstc.compress.distillation import DistillationRun
from nstc.compress.optimisation import training_folder
from nstc.compress.processes import best_device
from nstc.compress.style_sources import StyleSource
from nstc.compress.teacher_style import style_of_teacher
from nstc.compress.teachers import Teacher, TeacherOptions, open_teacher
from nstc.core.bundle import (
    STYLE_FILE,
    WEIGHTS_FILE,
    Bundle,
    new_bundle,
    open_bundle,
)
from nstc.core.errors import OptionError, TeacherError
from nstc.core.manifest import Manifest
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress, Silent
from nstc.core.recipe import DistillRecipe, PruneRecipe
from nstc.models.architectures import build, describe, load, style_of
from nstc.models.complexity import count_macs, count_parameters
from nstc.models.student import Student
from nstc.models.tensors import save_tensors
from nstc.models.vgg import load_vgg

DEFAULT_RATIO = 0.25
_TRACED_SIZE = 64
_SEARCH_STEPS = 12
_LARGEST_RATIO = 0.95


def prune(
    model: str | Path,
    output: Path,
    *,
    photos: PhotoSet,
    recipe: PruneRecipe | None = None,
    distillation: DistillRecipe | None = None,
    teacher: str | Path | None = None,
    name: str | None = None,
    options: TeacherOptions | None = None,
    vgg: str = "shipped",
    resume: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Remove channels, then fine-tune by distillation.

    Args:
        model: The bundle to prune, a student's or a teacher's.
        output: The bundle to write; checkpoints go to `OUTPUT.training` beside it.
        photos: To fine-tune on.
        recipe: How much to remove and how long to fine-tune.
        distillation: Weights and sizes of the losses while fine-tuning.
        teacher: Who is copied while fine-tuning; the manifest's by default, or the model itself
            if it has none.
        name: Of the result; the model's by default.
        options: For a teacher that is a foreign file.
        vgg: See `nstc.models.vgg.load_vgg`.
        resume: Go on from the checkpoint of a run with the same settings.
        progress: Told of every step.

    Raises:
        OptionError: nothing can be removed at this ratio, or the speed-up can't be reached.
        NstcError: bad input, an interrupted or a diverged run.
    """
    recipe, progress = recipe or PruneRecipe(), progress or Silent()
    folder = training_folder(output)
    bundle = open_bundle(model)
    network = load(bundle)
    opened = _open_teacher(bundle, teacher, options)
    before = count_macs(network), count_parameters(network)
    slim_down(network, recipe)
    network = rebuilt(network)
    after = count_macs(network), count_parameters(network)
    progress.note(
        f"pruned: {before[0] / 1e9:.2f} to {after[0] / 1e9:.2f} GMACs at 512x512, "
        f"{before[1]:,} to {after[1]:,} parameters"
    )
    source = _style_of(bundle) or style_of_teacher(
        opened, None, credit=None, vgg=vgg, progress=progress
    )
    run = DistillationRun(
        teacher=opened,
        source=source,
        photos=photos,
        recipe=dataclasses.replace(distillation or DistillRecipe(), seed=recipe.seed),
        features=load_vgg(vgg).to(best_device()),
        folder=folder,
        resume=resume,
        progress=progress,
        settings={"vgg": vgg, "pruned": bundle.identity, "prune": dataclasses.asdict(recipe)},
    )
    run.perceptual_stage(network, steps=recipe.steps, rate=recipe.learning_rate)
    architecture, contract = describe(network)
    step = run.history_step(
        "prune", macs_before=before[0], macs=after[0], params_before=before[1], params=after[1]
    )
    manifest = Manifest(
        name=name or bundle.name,
        stage="pruned",
        architecture=architecture,
        contract=contract,
        style=source.record,
        parent=bundle.origin(),
        teacher=opened.origin,
        history=(*bundle.manifest.history, step),
    )
    with new_bundle(output, manifest) as draft:
        save_tensors(network.state_dict(), draft / WEIGHTS_FILE)
        save_tensors(source.statistics.packed(), draft / STYLE_FILE)
    run.forget_checkpoints()
    return open_bundle(output)


def slim_down(network: nn.Module, recipe: PruneRecipe) -> None:
    """Remove channels in place, by `recipe.speedup` if it is given, else by `recipe.ratio`.

    Raises:
        OptionError: nothing can be removed at this ratio, or the speed-up can't be reached.
    """
    widths = _widths(network)
    if recipe.speedup is None:
        ratio = recipe.ratio or DEFAULT_RATIO
    else:
        ratio = _ratio_for(network, recipe.speedup, recipe.round_to)
    _remove_channels(network, ratio, recipe.round_to)
    if _widths(network) == widths:
        raise OptionError(
            f"nothing is removed at ratio {ratio:.2f} with widths in multiples of "
            f"{recipe.round_to}: lower --round-to."
        )


def rebuilt(network: nn.Module) -> nn.Module:
    """The same network made from what its manifest will say of it, weights carried over."""
    architecture, _ = describe(network)
    fresh = build(architecture)
    fresh.load_state_dict(network.state_dict())
    return fresh


def teacher_of(bundle: Bundle) -> str | Path:
    """Where a bundle's teacher is, by its manifest; a network without one teaches itself.

    Raises:
        TeacherError: it is not where the manifest says.
    """
    origin = bundle.manifest.teacher
    if origin is None:
        return bundle.path
    if origin.zoo:
        return origin.zoo
    if origin.path and Path(origin.path).exists():
        return Path(origin.path)
    raise TeacherError(
        f"the teacher of {bundle.path}, {origin.name}, is not at {origin.path}: "
        "say where it is with --teacher."
    )


def _open_teacher(
    bundle: Bundle, given: str | Path | None, options: TeacherOptions | None
) -> Teacher:
    if given is not None:
        return open_teacher(given, options)
    opened = open_teacher(teacher_of(bundle), options)
    origin = bundle.manifest.teacher
    if origin is not None and origin.path and opened.origin.sha256 != origin.sha256:
        raise TeacherError(
            f"{origin.path} is no longer {origin.name}, the teacher of {bundle.path}: its content "
            "has changed. Say where the teacher is with --teacher."
        )
    return opened


def _style_of(bundle: Bundle) -> StyleSource | None:
    """The style that the model was made for, which its teacher may have come without."""
    statistics, record = style_of(bundle), bundle.manifest.style
    if statistics is None or record is None:
        return None
    return StyleSource(record, statistics)


def _ratio_for(network: nn.Module, speedup: float, round_to: int) -> float:
    """The smallest ratio, to a few thousandths, that leaves 1/speedup of the MACs."""
    goal = count_macs(network) / speedup
    low, high = 0.0, _LARGEST_RATIO
    if _macs_after(network, high, round_to) > goal:
        raise OptionError(
            f"a speed-up of {speedup} can't be reached by removing channels from this network with "
            f"widths in multiples of {round_to}: ask for less, or lower --round-to."
        )
    for _ in range(_SEARCH_STEPS):
        middle = (low + high) / 2
        if _macs_after(network, middle, round_to) > goal:
            low = middle
        else:
            high = middle
    return high


def _macs_after(network: nn.Module, ratio: float, round_to: int) -> int:
    trial = rebuilt(network)
    _remove_channels(trial, ratio, round_to)
    return count_macs(trial)


def _remove_channels(network: nn.Module, ratio: float, round_to: int) -> None:
    """Remove `ratio` of each layer's channels, those of least norm, in place.

    `round_to` channels are left in any layer: torch-pruning would round fewer down to none, and
    then leave the layer whole.
    """
    example = torch.zeros(1, 3, _TRACED_SIZE, _TRACED_SIZE)
    with _without_finish(network):
        _prune_in_place(network, example, ratio, round_to)


def _prune_in_place(network: nn.Module, example: Tensor, ratio: float, round_to: int) -> None:
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    # Half a channel more, so that no rounding error takes one from the last `round_to`.
    most = {m: max(0.0, 1 - (round_to + 0.5) / m.out_channels) for m in convolutions}
    pruner = torch_pruning.BasePruner(
        network,
        example,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        pruning_ratio_dict={m: min(ratio, most[m]) for m in convolutions},
        max_pruning_ratio=_LARGEST_RATIO,
        round_to=round_to,
        ignored_layers=[convolutions[-1]],
        in_channel_groups={},  # torch-pruning's own defaults are shared between calls
        out_channel_groups={},
    )
    pruner.step()


@contextlib.contextmanager
def _without_finish(network: nn.Module) -> Iterator[None]:
    """Leave out a student's last convolution: it has the colours' channels in and out.

    torch-pruning would follow them through depth to space and take them for the head's.
    """
    if not isinstance(network, Student):
        yield
        return
    finish, network.finish = network.finish, None
    try:
        yield
    finally:
        network.finish = finish


def _widths(network: nn.Module) -> list[int]:
    return [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)]
