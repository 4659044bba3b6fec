"""Every way to build a student goes all the way: pruned, quantized, exported, loaded again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from optimized_graphs import optimized
from torch import nn

from nstc.compress.export.checking import check_float, check_quantized, eager_reference
from nstc.compress.graphs.deployed import deployed_graph, edges_of, with_other_edges
from nstc.compress.graphs.float_graphs import onnx_graph, torchscript
from nstc.compress.pruning.prune_model import rebuilt
from nstc.compress.quantization.integer_body import quantized_body
from nstc.compress.quantization.summary import count_integer_operators
from nstc.core import Silent
from nstc.core.photos import PhotoSet
from nstc.core.recipe import PruneRecipe, QuantizeRecipe
from nstc.models.architectures import count_macs, describe
from nstc.models.student import Student, StudentNetwork, TwoScaleStudent, fold

OPTIONS: dict[str, dict[str, Any]] = {
    "plain, eighth": {"block": "plain", "scale": 8},
    "separable head": {"head": "separable"},
    "instance": {"norm": "instance"},
    "two scales": {"skip": 8, "dilations": [2]},
}
"""Each option once; the tests of the other modules have separable and plain blocks."""

LOCAL = [name for name, options in OPTIONS.items() if "norm" not in options]


def student_of(name: str) -> StudentNetwork:
    """One as it ships: taught and folded, its outputs unlike each other."""
    torch.manual_seed(5)
    options = OPTIONS[name]
    kind = TwoScaleStudent if "skip" in options else Student
    network: StudentNetwork = kind(
        width=16, inner=[16], batch_norm="norm" not in options, **options
    ).train()
    nn.init.normal_(network.to_pixels.weight, std=0.05)
    with torch.no_grad():
        for _ in range(4):
            network(torch.rand(2, 3, 32, 32))
    return fold(network).eval()


@pytest.fixture(params=OPTIONS)
def network(request: pytest.FixtureRequest) -> StudentNetwork:
    return student_of(request.param)


def test_the_float_files_paint_what_it_paints(network: StudentNetwork, tmp_path: Path) -> None:
    _, contract = describe(network)
    reference = eager_reference(network, contract)
    onnx.save(onnx_graph(network, contract), tmp_path / "model.onnx")
    check_float(tmp_path / "model.onnx", "onnx", reference)
    torchscript(network, contract).save(str(tmp_path / "model.ts"))
    check_float(tmp_path / "model.ts", "ts", reference)


@pytest.mark.parametrize("name", OPTIONS)
def test_the_integer_file_paints_nearly_that_and_computes_what_it_can_in_integers(
    name: str, photos: PhotoSet, tmp_path: Path
) -> None:
    network = student_of(name)
    _, contract = describe(network)
    reference = eager_reference(network, contract)
    body = quantized_body(
        network, contract, photos, QuantizeRecipe(calibration_size=64), Silent()
    ).graph
    edges = edges_of(network, contract)
    deployed = deployed_graph(body, edges)
    file = tmp_path / "model.int8.onnx"
    onnx.save(deployed, file)
    assert check_quantized(file, "int8.onnx", reference) > 30
    onnx.save(with_other_edges(deployed, edges, (40, 56)), tmp_path / "fixed.onnx")
    check_quantized(tmp_path / "fixed.onnx", "int8.40x56.onnx", reference, (40, 56))
    operators = count_integer_operators(optimized(file))
    assert operators.converted > 0
    assert name not in LOCAL or operators.left == ()


def test_pruning_leaves_a_network_that_its_manifest_rebuilds(
    network: StudentNetwork, slim_down: Callable[[StudentNetwork, PruneRecipe], None]
) -> None:
    before, macs = network.arguments(), count_macs(network)
    slim_down(network, PruneRecipe(ratio=0.5))
    assert network.arguments() == {**before, "width": 8, "inner": [8]}
    most = 0.8 if isinstance(network, TwoScaleStudent) else 0.7  # whose channels at a quarter stay
    assert count_macs(network) < most * macs
    pictures = torch.rand(1, 3, 32, 48)
    with torch.inference_mode():
        assert torch.equal(rebuilt(network).eval()(pictures), network.eval()(pictures))
