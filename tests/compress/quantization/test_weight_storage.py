"""Rounding by what it does to a layer's output: by hand, and on a network."""

import numpy as np
import onnx
import pytest

from nstc.compress.graphs.float_graphs import body_graph
from nstc.compress.graphs.surgery import observed
from nstc.compress.quantization.calibration import photographs
from nstc.compress.quantization.integer_body import psnr_db, quantized_body
from nstc.compress.quantization.weight_storage import (
    coordinate_descent,
    quantize_rows,
    with_stored_weights,
)
from nstc.core import Silent
from nstc.core.photos import PhotoSet
from nstc.core.recipe import QuantizeRecipe
from nstc.models.architectures import describe
from nstc.models.student import Student


def descended(weight: list[float], hessian: np.ndarray, limit: int = 7) -> list[float]:
    weights = np.array([[weight]])
    rounded = coordinate_descent(
        weights, np.rint(weights), np.ones((1, 1)), hessian[None], limit=limit
    )
    return [float(value) for value in rounded[0, 0]]


def test_two_weights_that_see_the_same_round_to_opposite_sides() -> None:
    """0.4 and 0.4 give 0.8 of a shared input: 0 and 0 miss by 0.8, 1 and 0 by 0.2."""
    assert sorted(descended([0.4, 0.4], np.ones((2, 2)))) == [0, 1]


def test_weights_that_see_nothing_in_common_round_to_the_nearest() -> None:
    assert descended([0.4, 0.6, -1.4], np.eye(3)) == [0, 1, -1]


def test_no_integer_leaves_its_bits() -> None:
    assert descended([7.4, 7.4], np.ones((2, 2)), limit=7) == [7, 7]


def test_the_expected_error_never_grows() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(40, 12)) @ rng.normal(size=(12, 12))
    hessian = (inputs.T @ inputs / len(inputs))[None]
    weight = rng.normal(size=(1, 6, 12))
    scale = np.full((1, 6), 0.2)
    nearest = np.rint(weight / 0.2)
    rounded = coordinate_descent(weight, nearest, scale, hessian, limit=64)

    def error(integers: np.ndarray) -> np.ndarray:
        miss = integers * 0.2 - weight
        return np.einsum("grd,gde,gre->r", miss, hessian, miss)

    assert (error(rounded) <= error(nearest) + 1e-9).all()
    assert error(rounded).sum() < 0.7 * error(nearest).sum()
    for position in range(12):  # and no weight that changes sides alone makes it less
        moved = rounded.copy()
        moved[..., position] -= np.sign(rounded - weight / 0.2)[..., position]
        assert (error(moved) >= error(rounded) - 1e-9).all()


@pytest.fixture(scope="module")
def body(student: Student) -> onnx.ModelProto:
    return body_graph(student)


@pytest.fixture(scope="module")
def feeds(student: Student, photos: PhotoSet) -> list[dict[str, np.ndarray]]:
    return [dict(f) for f in photographs(student, describe(student)[1], photos, size=96)]


def outputs_of(model: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    return [seen["body_out"].copy() for seen in observed(model, ["body_out"], feeds)]


def test_four_bits_gain_decibels(body: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]) -> None:
    nearest, adaptive = with_stored_weights(body, 4), with_stored_weights(body, 4, feeds)
    wanted = outputs_of(body, feeds)
    plain, gained = (psnr_db(wanted, outputs_of(m, feeds)) for m in (nearest, adaptive))
    assert gained > plain + 2
    assert adaptive.ByteSize() == pytest.approx(nearest.ByteSize(), rel=0.01)


def test_integer_layers_gain_too(
    student: Student, photos: PhotoSet, body: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]
) -> None:
    wanted = outputs_of(body, feeds)
    found = {}
    for rounding in ("nearest", "adaptive"):
        recipe = QuantizeRecipe(calibration_size=96, rounding=rounding, per_channel=False)
        made = quantized_body(student, describe(student)[1], photos, recipe, Silent())
        found[rounding] = psnr_db(wanted, outputs_of(made.graph, feeds))
    assert found["adaptive"] > found["nearest"] + 0.1


def test_the_scale_of_a_row_is_the_one_of_least_error() -> None:
    """One large weight among many small ones: in four bits it is better cut than held."""
    row = np.append(np.tile([0.1, -0.1], 200), 1.0)[None]
    integers, scale = quantize_rows(row, 4)
    whole = 1 / 7
    held = np.rint(row / whole) * whole
    assert ((integers * scale[:, None] - row) ** 2).sum() <= ((held - row) ** 2).sum()
    assert np.abs(integers).max() <= 7


def test_a_row_of_zeros_stays_zeros() -> None:
    integers, scale = quantize_rows(np.zeros((2, 3)), 8)
    assert not integers.any()
    assert (scale > 0).all()
