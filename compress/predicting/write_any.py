"""The bundle of a student of any painting: its files for one style, and what predicts others."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnx
import torch
from torch import Tensor, nn

from nstc.compress import card
from nstc.compress.distillation.distill_model import DistillationRun
from nstc.compress.export.export_model import export
from nstc.compress.graphs.float_graphs import exported
from nstc.compress.predicting.styled_trunk import PaintingNetwork, styled_layers
from nstc.compress.quantization.aware_training import calibrated_activations
from nstc.compress.quantization.calibration import Range
from nstc.compress.quantization.quantize_model import quantize
from nstc.compress.quantization.weight_storage import with_stored_weights
from nstc.core import errors
from nstc.core.bundle import Bundle, open_bundle, revised_bundle
from nstc.core.files import scratch_folder, write_text
from nstc.core.recipe import QuantizeRecipe
from nstc.models.student import StudentNetwork
from nstc.runtime.packs.any_painting import (
    GRAPHS,
    LAYERS_FILE,
    PREDICTOR_FILE,
    Constants,
    constants_of,
    layers_text,
)
from nstc.runtime.packs.style_pack import read_graph_file
from nstc.runtime.session import open_session

_EXAMPLE: Final = (3, 96, 130)  # of a painting that the predictor is traced with
# A range is of many paintings: less is left out than of one, since it is the wildest one's.
_CALIBRATION: Final = QuantizeRecipe(percentile=99.9, calibration_photos=16)


def write_any(
    run: DistillationRun,
    network: PaintingNetwork,
    paintings: Sequence[Tensor],
    start: Bundle,
    output: Path,
    *,
    name: str,
    settings: Mapping[str, Any],
) -> Bundle:
    """Write the bundle in one step, from a network on the CPU.

    Its weights and files are of the first of `paintings` (1, 3, H, W); the ranges of activations
    hold for all of them.
    """
    network.eval()
    first = network.in_style_of(paintings[0])
    students = [first, *(network.in_style_of(painting) for painting in paintings[1:])]
    ranges = joint_ranges(students, run)
    with scratch_folder() as scratch:
        learned = run.write_bundle(
            scratch / "learned",
            first,
            ranges,
            name=name,
            verb="train-any",
            stage="distilled",
            parent=start,
            settings=settings,
        )
        export(learned, formats=("onnx",), progress=run.progress)
        quantized, report = quantize(
            learned.path, scratch / "quantized", photos=run.photos, progress=run.progress
        )
        export(quantized, formats=("tiles",), progress=run.progress)
        for line in report.describe().splitlines():
            run.progress.note(line)
        quantized = open_bundle(quantized.path)
        layers = {artifact: layers_of(quantized, artifact, network) for artifact in GRAPHS}
        manifest = dataclasses.replace(quantized.manifest, parent=start.origin())
        with revised_bundle(quantized, output, manifest) as draft:
            onnx.save(predictor_graph(network, paintings[0]), draft / PREDICTOR_FILE)
            write_text(draft / LAYERS_FILE, layers_text(quantized, layers))
            card.write_card(draft, manifest, [open_session(quantized).run], run.photos)
    return open_bundle(output)


def joint_ranges(students: Sequence[StudentNetwork], run: DistillationRun) -> Mapping[str, Range]:
    """For each activation the range that holds those of all students."""
    joint: dict[str, Range] = {}
    for student in students:
        activations, found = calibrated_activations(student, run.photos, run.progress, _CALIBRATION)
        for module in (each.module for each in activations[:-1]):  # the last is the picture
            low, high = found[module]
            known = joint.get(module, (low, high))
            joint[module] = min(low, known[0]), max(high, known[1])
    return joint


def layers_of(bundle: Bundle, artifact: str, network: PaintingNetwork) -> tuple[Constants, ...]:
    """The constants of each layer that has a style's numbers, in the order of those.

    `ExportMismatchError` if the graph does not have the network's layers.
    """
    filters = [layer.out_channels for layer in styled_layers(network.student).values()]
    graph = read_graph_file(bundle, artifact)
    found = constants_of(graph)[-len(filters) :]  # what is in front is the first convolution
    held = [len(graph.constants[own.bias].values) for own in found]  # type: ignore[arg-type]
    if held != filters:
        raise errors.ExportMismatchError(
            f"{artifact} has convolutions of {held} filters, and the network of {filters}: a "
            "style's numbers can't be put into it."
        )
    return found


class _Exported(nn.Module):
    """The predictor as files have it: factors over those of the first painting, and biases."""

    def __init__(self, network: PaintingNetwork, first: Tensor) -> None:
        super().__init__()
        self.predictor = network.predictor
        with torch.no_grad():
            self.register_buffer("logarithms", network.predictor(first)[0])
            self.register_buffer("biases", network.biases[None])

    def forward(self, painting: Tensor) -> Tensor:
        """(1, 3, H, W) in [0, 1] to (1, 2 · filters)."""
        logarithms, shifts = self.predictor(painting)
        factors = (logarithms - self.get_buffer("logarithms")).exp()
        return torch.cat([factors, self.get_buffer("biases") + shifts], dim=1)


def predictor_graph(network: PaintingNetwork, first: Tensor) -> onnx.ModelProto:
    """The predictor's ONNX graph, its weights stored in int8."""
    module = _Exported(network, first).eval()
    graph = exported(module, torch.rand(1, *_EXAMPLE), ("painting", "numbers"), fixed=False)
    return with_stored_weights(graph, 8)
