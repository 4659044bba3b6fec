"""Static quantization of whole bodies: its algebra, networks hard on it, layers in float."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from nstc.compress.export.checking import eager_reference, sample_picture
from nstc.compress.graphs.float_graphs import body_graph
from nstc.compress.graphs.surgery import Feed, outputs
from nstc.compress.quantization.calibration import (
    CALIBRATORS,
    OPERATORS_BETWEEN_NORMS,
    Range,
    calibrate,
    photographs,
)
from nstc.compress.quantization.integer_body import (
    choose_float_layers,
    integer_body,
    integer_form_of,
    psnr_db,
    quantized_body,
    rewritten,
)
from nstc.compress.quantization.quantize_model import quantize
from nstc.core import Silent
from nstc.core.bundle import Bundle
from nstc.core.errors import ExportMismatchError
from nstc.core.photos import PhotoSet, sample_photos
from nstc.core.recipe import QuantizeRecipe
from nstc.models.architectures import describe
from nstc.models.student import Student
from nstc.runtime.session import open_session

MakeBundle = Callable[[torch.nn.Module, Path], Bundle]

SMALL = QuantizeRecipe(calibration_photos=2, calibration_size=96)


def instance_norm_student(block: str) -> Student:
    """Filters and channels of very different size, as training leaves them where norms follow."""
    torch.manual_seed(0)
    network = Student(16, [16, 16], block, norm="instance")  # type: ignore[arg-type]
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d) and module is not network.head:
            spread = torch.exp(torch.randn(module.out_channels))
            module.weight.data *= spread[:, None, None, None]
        if isinstance(module, torch.nn.InstanceNorm2d):
            module.weight.data *= torch.exp(0.5 * torch.randn(module.num_features))
            torch.nn.init.normal_(module.bias, std=0.3)
    torch.nn.init.normal_(network.head.weight, std=0.02)
    return network.eval()


class Trial:
    """A network's body in float, and what integers make of it."""

    def __init__(self, network: Student, photos: PhotoSet) -> None:
        self.network, self.contract = network, describe(network)[1]
        self.body = body_graph(network)
        self.feeds: list[Feed] = list(photographs(network, self.contract, photos, size=192))
        self.wanted = list(outputs(self.body, self.feeds))

    def error(self, body: onnx.ModelProto, *, per_channel: bool) -> float:
        """Root mean square of a body's integer form, of a picture from 0 to 1."""
        percentile = CALIBRATORS["percentile"](99.99)
        ranges: Mapping[str, Range]
        ranges = calibrate(body, OPERATORS_BETWEEN_NORMS, self.feeds, percentile)
        form = integer_form_of(self.network, self.contract, per_channel=per_channel)
        painted = list(outputs(integer_body(body, form, ranges), self.feeds))
        return float(10 ** (-psnr_db(self.wanted, painted) / 20))


@pytest.mark.parametrize("block", ["plain", "separable"])
def test_one_scale_a_layer_loses_nothing_where_norms_follow(block: str) -> None:
    """At most 5 % of the error of a scale a filter, and both a fraction of the plain form's."""
    trial = Trial(instance_norm_student(block), sample_photos().take(4))
    per_tensor, per_channel = (
        trial.error(rewritten(trial.body, per_channel=of), per_channel=of) for of in (False, True)
    )
    assert per_tensor <= 1.05 * per_channel
    assert per_tensor < 0.6 * trial.error(trial.body, per_channel=False)
    assert per_channel < 0.6 * trial.error(trial.body, per_channel=True)


def test_layers_that_give_one_value_are_quantized(
    student: Student, make_network_bundle: MakeBundle, photos: PhotoSet, tmp_path: Path
) -> None:
    """Their ranges are zero, or a single value. What the blocks add to is all there is."""
    network = copy.deepcopy(student)
    for parameter in network.blocks.parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.constant_(network.blocks[0].project[-1].bias, 0.25)
    bundle = make_network_bundle(network, tmp_path / "idle")
    made, report = quantize(bundle, tmp_path / "int8", photos=photos, recipe=SMALL)
    assert report.operators.left == ()
    picture = sample_picture(32, 48)
    exact = eager_reference(network, describe(network)[1])(picture)
    assert np.abs(open_session(made).run(picture).astype(int) - exact).mean() < 2


def test_infinite_activations_are_told(student: Student, photos: PhotoSet) -> None:
    body = body_graph(student)
    feeds = photographs(student, describe(student)[1], photos, size=64)
    broken = [{name: np.full_like(values, np.inf) for name, values in next(iter(feeds)).items()}]
    with pytest.raises(ExportMismatchError, match="infinite values for a photograph"):
        calibrate(body, OPERATORS_BETWEEN_NORMS, broken, CALIBRATORS["percentile"](99.99))


def test_layers_stay_float_until_the_quality_is_reached(
    student_bundle: Bundle, student: Student, photos: PhotoSet, tmp_path: Path
) -> None:
    contract = describe(student)[1]
    feeds = list(photographs(student, contract, photos, size=96))
    wanted = list(outputs(body_graph(student), feeds))
    plain = quantized_body(student, contract, photos, SMALL, Silent())
    assert plain.float_layers == ()
    budget_db = psnr_db(wanted, list(outputs(plain.graph, feeds))) + 0.5
    asked = dataclasses.replace(SMALL, quality_budget=budget_db)
    made, report = quantize(student_bundle, tmp_path / "mixed", photos=photos, recipe=asked)
    assert 1 <= len(report.islands) < 6
    assert report.islands[-1].psnr_db >= budget_db
    assert all(island.gain_db > 0 for island in report.islands)
    assert len(report.operators.left) >= len(report.islands)
    assert report.integer_latency_ms is not None
    assert report.to_dict()["islands"][0]["name"] == report.islands[0].name
    assert f"{report.islands[0].name} stays float" in report.describe()
    assert open_session(made).run(sample_picture(31, 47)).shape == (31, 47, 3)


@pytest.mark.parametrize("left", ["first", "last"])
def test_a_picture_comes_and_goes_as_bytes_whatever_stays_float(
    student: Student, photos: PhotoSet, left: str
) -> None:
    contract = describe(student)[1]
    body = body_graph(student)
    form = integer_form_of(student, contract, per_channel=True)
    feeds = photographs(student, contract, photos, size=96)
    ranges = calibrate(body, form.operators, feeds, CALIBRATORS["min-max"](100))
    convolutions = [node.name for node in body.graph.node if node.op_type == "Conv"]
    island = convolutions[0 if left == "first" else -1]
    made = integer_body(body, form, ranges, left_in_float=[island])
    (reader,) = [n for n in made.graph.node if made.graph.input[0].name in n.input]
    (maker,) = [n for n in made.graph.node if made.graph.output[0].name in n.output]
    assert (reader.op_type, maker.op_type) == ("QuantizeLinear", "DequantizeLinear")
    wanted = list(outputs(body, feeds))
    assert psnr_db(wanted, list(outputs(made, feeds))) > 35


def test_the_same_settings_give_the_same_bytes(student: Student, photos: PhotoSet) -> None:
    recipe = QuantizeRecipe(calibration_size=96, rounding="adaptive")
    contract = describe(student)[1]
    first, second = (
        quantized_body(student, contract, photos, recipe, Silent()).graph.SerializeToString()
        for _ in range(2)
    )
    assert first == second


GAINS_DB = {"a": 1.0, "b": 4.0, "c": 2.0}
BYTES = {"a": 10, "b": 300, "c": 20}


def judge(left: tuple[str, ...]) -> float:
    return 30 + sum(GAINS_DB[name] for name in left)


def weigh(left: tuple[str, ...]) -> int:
    return 1000 + sum(BYTES[name] for name in left)


def test_no_layer_stays_float_where_integers_are_good_enough() -> None:
    assert choose_float_layers(30, list(GAINS_DB), judge, weigh, Silent()) == ()


def test_the_layer_that_helps_most_goes_first_and_no_more_than_needed_follow() -> None:
    first, second = choose_float_layers(35.5, list(GAINS_DB), judge, weigh, Silent())
    assert (first.name, first.psnr_db, first.gain_db, first.more_bytes) == ("b", 34, 4, 300)
    assert (second.name, second.psnr_db, second.gain_db, second.more_bytes) == ("c", 36, 2, 20)
    assert first.describe() == "b stays float: +4.0 dB to 34.0 dB, +0.3 KB"


def test_layers_are_judged_beside_those_already_chosen() -> None:
    """Alone b is best, behind it c is: a is only worth something without b."""
    pairs = {("b", "a"): 34.0, ("b", "c"): 36.0}
    alone = {"a": 33.0, "b": 34.0, "c": 30.5}

    def together(left: tuple[str, ...]) -> float:
        return {0: 30.0, 1: alone.get(left[0], 0.0) if left else 30.0}.get(
            len(left), pairs.get(left, 40.0)
        )

    chosen = choose_float_layers(35, list(GAINS_DB), together, weigh, Silent())
    assert [island.name for island in chosen] == ["b", "c"]


def test_a_quality_that_can_not_be_reached_is_told_with_the_nearest() -> None:
    with pytest.raises(ExportMismatchError, match=r"37\.0 dB: ask for less"):
        choose_float_layers(40, list(GAINS_DB), judge, weigh, Silent())
