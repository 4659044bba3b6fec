"""Checkpoints of pytorch/examples' `fast_neural_style` become bundles."""

from dataclasses import dataclass
from pathlib import Path

import torch

from nstc.compress.export.checking import refuse_unusable_network
from nstc.compress.importing.checkpoint_files import read_checkpoint
from nstc.compress.importing.checkpoint_parts import matching_part
from nstc.compress.learning.style_sources import StyleSource, painting_style
from nstc.core.bundle import STYLE_FILE, WEIGHTS_FILE, Bundle, new_bundle, open_bundle
from nstc.core.files import sha256_of
from nstc.core.manifest import Manifest, Origin, Step
from nstc.core.progress import Progress, Silent
from nstc.models.architectures import describe
from nstc.models.tensors import refuse_unusable, save_tensors
from nstc.models.transformer import TransformerNet


def import_checkpoint(
    checkpoint: Path,
    output: Path,
    *,
    name: str | None = None,
    style: Path | None = None,
    credit: str | None = None,
    vgg: str = "shipped",
    key: str | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Make a bundle of a state dict, as `torch.save` or safetensors wrote it.

    Args:
        checkpoint: The file; its network works on values from 0 to 255.
        output: The bundle to write.
        name: Of the model; the output's name by default.
        style: The painting it was trained on, so that style loss can be measured against it.
        credit: Of the painting.
        vgg: See `nstc.models.vgg.load_vgg`.
        key: The path in the file that leads to the weights, where several parts of it fit.
        progress: Told which part of the file was taken.

    Raises:
        CheckpointError: the file is missing, damaged, or of another architecture, or several parts
            of it fit.
        UnsafeFileError: the file holds more than tensors.
        UnusableModelError: weights are not finite, or the network gives one colour.
    """
    read = network_of_checkpoint(checkpoint, key)
    network, taken = read.network, {"key": read.key} if read.key else {}
    if read.note:
        (progress or Silent()).note(f"{checkpoint.name} {read.note}")
    source: StyleSource | None = None
    if style is not None:
        source = painting_style(style, credit=credit, vgg=vgg)
    architecture, contract = describe(network)
    manifest = Manifest(
        name=name or output.name,
        stage="imported",
        architecture=architecture,
        contract=contract,
        style=source.record if source else None,
        parent=Origin(
            name=checkpoint.name, sha256=sha256_of(checkpoint), path=str(checkpoint.resolve())
        ),
        history=(Step(verb="import", recipe={"checkpoint": checkpoint.name, "vgg": vgg, **taken}),),
    )
    with new_bundle(output, manifest) as draft:
        save_tensors(network.state_dict(), draft / WEIGHTS_FILE)
        if source:
            save_tensors(source.statistics.packed(), draft / STYLE_FILE)
    return open_bundle(output)


@dataclass(frozen=True)
class CheckpointNetwork:
    """A network out of a checkpoint."""

    network: TransformerNet  # in evaluation mode
    key: str  # the path in the file that leads to its weights; "" for the file itself
    note: str | None  # what was taken of the file, in words; None if it holds the weights alone


def network_of_checkpoint(checkpoint: Path, key: str | None = None) -> CheckpointNetwork:
    """The network of a checkpoint, wherever in the file its weights are.

    Args:
        checkpoint: The file.
        key: See `nstc.compress.importing.checkpoint_parts.matching_part`.

    Raises:
        CheckpointError: the file is missing, damaged, or of another architecture, or several parts
            of it fit.
        UnsafeFileError: the file holds more than tensors.
        UnusableModelError: weights are not finite, or the network gives one colour.
    """
    content = read_checkpoint(checkpoint)
    with torch.device("meta"):
        shapes = {k: tuple(value.shape) for k, value in TransformerNet().state_dict().items()}
    part = matching_part(content, shapes, checkpoint, key)
    refuse_unusable(part.tensors, checkpoint)
    network = TransformerNet()
    network.load_state_dict(part.tensors)
    refuse_unusable_network(network.eval(), checkpoint)
    return CheckpointNetwork(network, part.key, part.note)
