"""What graphs say of floats, on shipped files and on graphs written out."""

import onnx
import onnx.parser
import pytest
from emulation.graphs import between_bytes

from nstc.compress.quantization.portability import (
    NEARLY,
    SAME_BUT_ON_ARM,
    SAME_BYTES,
    float_operators,
    portability,
)
from nstc.core.bundle import open_bundle


def shipped(file: str) -> onnx.ModelProto:
    return onnx.load(open_bundle("zoo:starry-night").file(file))


def between_levels(*lines: str) -> onnx.ModelProto:
    """A graph whose `lines` make the float `y` of the float `x`, which are bytes outside."""
    return onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        written (uint8[1, 2, h, w] image) => (uint8[1, 2, h, w] stylized)
        <float scale = {0.1}, uint8 zero = {0}, float[2] ones = {1, 1},
         int8[2, 2, 1, 1] integers = {1, 2, 3, 4}, int8 middle = {0}>
        { x = DequantizeLinear(image, scale, zero)
        """
        + "\n".join(lines)
        + "\nstylized = QuantizeLinear(y, scale, zero) }"
    )


@pytest.mark.parametrize("file", ["model.int8.onnx", "model.int8.tiles.onnx"])
def test_shipped_files_compute_with_floats_in_front_alone(file: str) -> None:
    left = float_operators(shipped(file))
    assert left.inside == ()
    assert {"Sub", "Mul", "Div"} <= set(left.in_front)
    assert NEARLY in portability(shipped(file))


def test_between_bytes_shipped_files_are_integer_from_end_to_end() -> None:
    integers = between_bytes(shipped("model.int8.onnx"))
    assert portability(integers) == f"integer from end to end: {SAME_BYTES}"


def test_a_convolution_of_stored_integers_runs_on_integers() -> None:
    model = between_levels(
        "weight = DequantizeLinear(integers, scale, middle)", "c = Conv(x, weight)", "y = Relu(c)"
    )
    left = float_operators(model)
    assert (left.in_front, left.inside) == ((), ())


@pytest.mark.parametrize(
    ("scales", "expected"),
    [((0.75, 0.5, 1.0), SAME_BUT_ON_ARM), ((3.0, 2.0, 1.0), SAME_BYTES)],
    ids=["sums between bytes", "whole sums"],
)
def test_sums_are_alike_everywhere_if_none_lies_between_bytes(
    scales: tuple[float, float, float], expected: str
) -> None:
    one, other, total = scales
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]>
        added (uint8[1, 2, h, w] a, uint8[1, 2, h, w] b) => (uint8[1, 2, h, w] sum)
        <float one = {{{one}}}, float other = {{{other}}}, float both = {{{total}}},
         uint8 zero = {{7}}>
        {{ x = DequantizeLinear(a, one, zero)  y = DequantizeLinear(b, other, zero)
           z = Add(x, y)  sum = QuantizeLinear(z, both, zero) }}"""
    )
    assert portability(model) == f"integer from end to end: {expected}"


def test_normalisation_between_bytes_is_inside() -> None:
    model = between_levels("y = InstanceNormalization(x, ones, ones)")
    assert float_operators(model).inside == ("InstanceNormalization",)
    assert "may differ" in portability(model)


def test_floats_without_integers_are_in_front_of_nothing() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        written (uint8[1, 2, h, w] image) => (uint8[1, 2, h, w] stylized)
        { x = Cast<to = 1>(image)
          y = Sqrt(x)
          stylized = Cast<to = 2>(y) }"""
    )
    left = float_operators(model)
    assert (left.in_front, left.inside) == ((), ("Sqrt",))


def test_a_layer_left_in_float_is_inside() -> None:
    """As `integer_body` writes one: a copy holds it off from the bytes made of it."""
    model = between_levels(
        "weight = DequantizeLinear(integers, scale, middle)", "c = Conv(x, weight)", "y = Max(c)"
    )
    assert float_operators(model).inside == ("Conv", "Max")
