"""The graph that quantize-aware distillation learns through, beside what ONNX Runtime computes."""

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nstc.compress.export.checking import eager_reference
from nstc.compress.graphs.deployed import deployed_graph, edges_of
from nstc.compress.graphs.float_graphs import body_graph
from nstc.compress.graphs.stored_weights import weight_scale
from nstc.compress.quantization import aware_training
from nstc.compress.quantization.aware_training import (
    agreement,
    calibrated_qat_student,
    fake_quantized_reference,
    quantize_with_learned_ranges,
)
from nstc.compress.quantization.calibration import Range
from nstc.compress.quantization.fake_quantization import (
    FakeQuantizedStudent,
    activations_of,
    fake_quantize,
    round_ste,
    scale_gradient,
    stored_bias,
)
from nstc.compress.quantization.integer_body import integer_form_of
from nstc.core import Silent
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet, sample_photos
from nstc.core.recipe import BLOCKS, QuantizeRecipe
from nstc.models.architectures import describe, load
from nstc.models.student import Student, StudentNetwork, TwoScaleStudent
from nstc.runtime.arrays import LEAST_NEAR_PIXELS, channel_statistics
from nstc.runtime.onnx_session import OnnxSession

SMALL = QuantizeRecipe(calibration_photos=2, calibration_size=96)
SHAPES: Mapping[str, Mapping[str, object]] = {
    **{kind: {"block": kind} for kind in BLOCKS},
    "eighth": {"scale": 8},
    "two scales": {"skip": 8},
}
SIZES = ((64, 64), (120, 88), (67, 93))


def painter(**shape: object) -> StudentNetwork:
    """A student with random weights whose pictures have contrast, and biases of every sign."""
    torch.manual_seed(2)
    kind = TwoScaleStudent if "skip" in shape else Student
    network: StudentNetwork = kind(16, [16, 24], **shape)  # type: ignore[arg-type]
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for module in convolutions:
        if module.bias is not None:
            module.bias.data += 0.1 * torch.randn(module.out_channels)
    if isinstance(network, TwoScaleStudent):  # in the steps of such a filter biases are large
        network.stem.weight.data[0] = 1e-9
        network.stem.bias.data[0] = 0.5
    convolutions[-1].weight.data += 0.05 * torch.randn(convolutions[-1].weight.shape)
    return network.eval()


def trained_a_little(qat_student: FakeQuantizedStudent) -> FakeQuantizedStudent:
    """With scales that no calibration would give."""
    generator = torch.Generator().manual_seed(3)
    moved = 0.2 * torch.randn(qat_student.log_factors.shape, generator=generator)
    qat_student.log_factors.data += moved
    return qat_student


def integer_session(
    student: StudentNetwork, ranges: Mapping[str, Range], folder: Path
) -> OnnxSession:
    _, contract = describe(student)
    body = body_graph(student)
    form = integer_form_of(student, contract, per_channel=True)
    integer = quantize_with_learned_ranges(body, form, activations_of(student, body), ranges)
    onnx.save(deployed_graph(integer, edges_of(student, contract)), folder / "model.int8.onnx")
    return OnnxSession(folder / "model.int8.onnx", "int8.onnx", 1)


def pictures() -> list[Pixels]:
    """Parts of scikit-image's photographs, of sizes that are multiples of a scale and are not."""
    photographs = sample_photos().take(len(SIZES)).squares(120)
    return [
        square[:height, :width] for square, (height, width) in zip(photographs, SIZES, strict=True)
    ]


@pytest.mark.parametrize("name", SHAPES)
def test_it_paints_what_its_integer_file_paints(
    name: str, photos: PhotoSet, tmp_path: Path
) -> None:
    student = painter(**SHAPES[name])
    qat_student = trained_a_little(calibrated_qat_student(student, photos, Silent(), SMALL))
    session = integer_session(student, qat_student.ranges(), tmp_path)
    _, contract = describe(student)
    found = agreement(session, fake_quantized_reference(qat_student, contract), pictures())
    assert found >= LEAST_NEAR_PIXELS
    # What is not rounded as the file rounds falls short of that by far.
    assert agreement(session, eager_reference(student, contract), pictures()) < 0.9


def test_ten_layers_of_a_shipped_student_do_not_make_more_of_a_byte(
    photos: PhotoSet, tmp_path: Path
) -> None:
    """Its contrast makes a visible patch of one byte on the other side of a border."""
    student = load("zoo:starry-night")
    assert isinstance(student, Student)
    qat_student = calibrated_qat_student(student, photos, Silent(), SMALL)
    session = integer_session(student, qat_student.ranges(), tmp_path)
    _, contract = describe(student)
    square = next(sample_photos().take(1).squares(256))
    seen = [square, *pictures()]
    assert (
        agreement(session, fake_quantized_reference(qat_student, contract), seen)
        >= LEAST_NEAR_PIXELS
    )


def picture_of(level: int) -> Pixels:
    """Of which every other row has one level."""
    picture = np.random.default_rng(level).integers(0, 256, (300, 40, 3), dtype=np.uint8)
    picture[::2] = level
    return picture


def scale_of_tie(level: int, found: float) -> np.float32 | None:
    """A scale near the one found by which the level's red lies between two bytes.

    None where it makes no difference whether it is divided by or multiplied with the reciprocal.
    """
    mean, deviation = channel_statistics(picture_of(level))[:, 0]
    whole = np.float32(255)
    normalised = (np.float32(level) - mean * whole) * (np.float32(1) / (deviation * whole))
    tie = np.float32(normalised / (np.floor(normalised / found) + 0.5))
    for scale in (tie, *np.nextafter(tie, np.float32([-9, 9]))):
        if np.rint(normalised / scale) != np.rint(normalised * (np.float32(1) / scale)):
            return scale
    return None


def test_a_frequent_level_between_two_of_the_input_goes_where_the_file_puts_it(
    photos: PhotoSet, tmp_path: Path
) -> None:
    """One in the last digit of a picture's mean would move half of it by a whole step."""
    student = painter()
    qat_student = calibrated_qat_student(student, photos, Silent(), SMALL)
    _, contract = describe(student)
    found = float(qat_student.found_scales[0])
    ties = {level: scale_of_tie(level, found) for level in range(256)}
    deceptive = {level: scale for level, scale in ties.items() if scale is not None}
    for level, scale in list(deceptive.items())[::8][:4]:
        qat_student.found_scales[0] = float(scale)
        session = integer_session(student, qat_student.ranges(), tmp_path)
        reference = fake_quantized_reference(qat_student, contract)
        assert agreement(session, reference, [picture_of(level)]) > LEAST_NEAR_PIXELS
    assert len(deceptive) > 32


def test_learning_starts_from_channels_that_bytes_hold_alike_well(
    photos: PhotoSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = painter()
    expand, project = student.blocks[0].expand[-1], student.blocks[0].project[0]
    uneven = torch.logspace(-1.5, 1.5, expand.out_channels)
    expand.weight.data *= uneven[:, None, None, None]
    expand.bias.data *= uneven
    project.weight.data /= uneven[:, None, None, None]

    def rounding_error() -> float:
        """In levels, root of the mean square."""
        qat_student = calibrated_qat_student(copy.deepcopy(student), photos, Silent(), SMALL)
        painted = fake_quantized_reference(qat_student, describe(student)[1])(pictures()[0])
        exact = eager_reference(student, describe(student)[1])(pictures()[0])
        return float(np.sqrt(np.mean((painted - exact.astype(float)) ** 2)))

    equalised = rounding_error()
    monkeypatch.setattr(aware_training, "equalise_channels", lambda *_: None)
    assert equalised < 0.7 * rounding_error()


def test_weights_biases_and_scales_learn(photos: PhotoSet) -> None:
    student = painter()
    qat_student = calibrated_qat_student(student, photos, Silent(), SMALL)
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    qat_student(images).square().mean().backward()
    for name, parameter in qat_student.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_weights_learn_as_they_would_without_rounding(photos: PhotoSet) -> None:
    """Bytes are fine enough that gradients through them are those of the student, nearly."""
    student = painter()
    qat_student = calibrated_qat_student(student, photos, Silent(), SMALL)
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    gradients = []
    for network in (student, qat_student):
        student.zero_grad()
        network(images).square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in student.parameters()]))
    assert F.cosine_similarity(*gradients, dim=0) > 0.98


def test_its_ranges_are_those_it_was_given(photos: PhotoSet) -> None:
    """But for zero, which is a level."""
    student = painter()
    qat_student = calibrated_qat_student(student, photos, Silent(), SMALL)
    again = FakeQuantizedStudent(student, qat_student.activations, qat_student.ranges())
    given = qat_student.ranges()
    assert set(again.ranges()) == set(given)
    for name, found in again.ranges().items():
        assert found == pytest.approx(given[name], rel=1e-6), name


def test_scales_that_are_no_numbers_reach_the_loss(photos: PhotoSet) -> None:
    """Whoever learns looks at the loss, and says that it diverged."""
    qat_student = calibrated_qat_student(painter(**SHAPES["separable"]), photos, Silent(), SMALL)
    with torch.no_grad():
        qat_student.log_factors.fill_(torch.nan)
        assert torch.isnan(qat_student(torch.rand(1, 3, 64, 64))).any()


STEP = 0.5


def held_and_gradients(value: float, zero_point: int) -> tuple[float, float, float]:
    """What bytes hold of a value, and the gradients of that by the value and by the scale.

    The scale's is undamped: times the root of one value's 255 levels.
    """
    values = torch.tensor([value], requires_grad=True)
    scale = torch.tensor(STEP, requires_grad=True)
    slow = scale_gradient(scale, 1)
    made = fake_quantize(values / slow, torch.tensor(float(zero_point))) * slow
    made.backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert scale.grad is not None
    return made.item(), values.grad.item(), scale.grad.item() * 255**0.5


@pytest.mark.parametrize(
    ("value", "kept", "passes", "by_scale"),
    [
        (0.6, 0.5, 1, 1 - 1.2),  # a step of 1.2 is held as 1
        (0.25, 0.0, 1, 0 - 0.5),  # half to even
        (0.75, 1.0, 1, 2 - 1.5),
        (-0.6, -0.5, 1, -1 + 1.2),
        (-9.0, -5.0, 0, -10),  # saturates at zero's distance to the lowest level
        (200.0, 122.5, 0, 245),
    ],
)
def test_an_activation_is_held_in_steps_and_its_scale_learns_from_what_that_loses(
    value: float, kept: float, passes: float, by_scale: float
) -> None:
    assert held_and_gradients(value, 10) == pytest.approx((kept, passes, by_scale), abs=1e-4)


def test_a_damped_scale_is_the_same_number_and_learns_by_the_root_of_its_levels() -> None:
    scale = torch.tensor(0.0586789, requires_grad=True)
    made = scale_gradient(scale, 100)
    made.backward()  # type: ignore[no-untyped-call]
    assert made.item() == scale.item()
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx((100 * 255) ** -0.5)


def test_rounding_is_half_to_even_and_passes_gradients() -> None:
    values = torch.tensor([0.5, 1.5, -0.7, 3e5 + 0.25], requires_grad=True)
    made = round_ste(values)
    assert made.tolist() == [0, 2, -1, 3e5]
    made.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert values.grad.tolist() == [1, 1, 1, 1]


def test_each_filters_largest_weight_is_the_last_of_64_steps() -> None:
    weight = torch.tensor([[1.28, -0.011], [0.0, 0.0], [-0.64, 0.015]])[:, :, None, None]
    scale = weight_scale(weight)
    torch.testing.assert_close(scale.flatten()[[0, 2]], torch.tensor([0.02, 0.01]))
    kept = round_ste(weight / scale).flatten()
    assert kept.tolist() == [64, -1, 0, 0, -64, 2]


def test_a_layer_of_zeros_has_steps_too() -> None:
    weight = torch.zeros(2, 1, 3, 3)
    scale = weight_scale(weight)
    assert scale.flatten().tolist() == [2.0**-16 / 64] * 2
    assert not round_ste(weight / scale).any()


def test_a_filter_of_zeros_has_a_step_next_to_nothing_beside_the_largest_of_its_layer() -> None:
    weight = torch.tensor([0.5, 0.0, -0.25])[:, None, None, None]
    assert weight_scale(weight).flatten().tolist() == [0.5 / 64, 0.5 * 2.0**-16 / 64, 0.25 / 64]


def test_a_bias_that_is_a_tie_in_float32_alone_is_stored_as_the_quantizer_stores_it() -> None:
    generator = torch.Generator().manual_seed(0)
    bias = -torch.rand(100_000, generator=generator)
    unit = 1e-4 * (1 + torch.rand(100_000, generator=generator))
    expected = np.round(bias.double().numpy() / unit.double().numpy())
    assert np.array_equal(stored_bias(bias, unit).numpy(), expected)
    ties = np.round((bias / unit).numpy()) != expected
    assert 3 < ties.sum() < 100


def test_a_stored_bias_passes_gradients() -> None:
    bias = torch.tensor([0.3, -0.7], requires_grad=True)
    stored_bias(bias, torch.tensor(0.1)).sum().backward()
    assert bias.grad is not None
    assert bias.grad.tolist() == pytest.approx([10, 10])
