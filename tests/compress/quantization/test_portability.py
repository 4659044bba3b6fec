"""What graphs say of other machines, and bytes that are added alike on every processor."""

import numpy as np
import onnx
import onnx.parser
import pytest
from emulation.graphs import between_bytes

from nstc.compress.graphs.float_graphs import body_graph
from nstc.compress.quantization.calibration import (
    Addition,
    Range,
    additions_in,
    is_portable_addition,
    range_of_levels,
    scale_and_zero_point,
    with_moved,
    with_portable_additions,
)
from nstc.compress.quantization.fake_quantization import activations_of, additions_of
from nstc.compress.quantization.summary import (
    NEARLY,
    SAME_BUT_ON_ARM,
    SAME_BYTES,
    float_operators,
    portability,
)
from nstc.core.bundle import open_bundle
from nstc.models.student import Student


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


TRUNK = [
    Addition(total="one", addends=("stem", "first")),
    Addition(total="two", addends=("one", "second")),
    Addition(total="three", addends=("third", "two")),
]
BYTES = np.arange(256)


def trunk(seed: int) -> dict[str, Range]:
    """Ranges as calibration finds them: some sums wider than what is added, some not."""
    random = np.random.default_rng(seed)
    return {
        name: range_of_levels(random.uniform(0.01, 0.03), int(random.integers(0, 256)))
        for name in ("stem", "first", "one", "second", "two", "third", "three")
    }


def bytes_added(
    ranges: dict[str, Range], each: Addition, *, fused: bool, away_from_zero: bool
) -> np.ndarray:
    """What all pairs of bytes come to, (256, 256), as one processor or another adds in float32."""
    held = {name: scale_and_zero_point(found) for name, found in ranges.items()}
    total, zero = np.float32(held[each.total][0]), np.float32(held[each.total][1])
    ratios = [np.float32(held[name][0]) / total for name in each.addends]
    zeros = [np.float32(held[name][1]) for name in each.addends]
    start = zero - (ratios[0] * zeros[0] + ratios[1] * zeros[1])

    def times_plus(numbers: np.ndarray, ratio: np.float32, more: np.ndarray) -> np.ndarray:
        if fused:
            exact = numbers.astype(np.float64) * float(ratio) + more.astype(np.float64)
            return np.asarray(exact, np.float32)
        return np.asarray(numbers.astype(np.float32) * ratio + more)

    inner = times_plus(BYTES[None, :], ratios[1], np.asarray(start))
    sums = times_plus(BYTES[:, None], ratios[0], inner)
    if away_from_zero:
        steps = sums - zero
        rounded = np.copysign(np.floor(np.abs(steps) + 0.5), steps) + zero
    else:
        rounded = np.rint(sums)
    return rounded.clip(0, 255)


def processors_agree(ranges: dict[str, Range], each: Addition) -> bool:
    ways = [
        bytes_added(ranges, each, fused=fused, away_from_zero=away)
        for fused in (False, True)
        for away in (False, True)
    ]
    return all(np.array_equal(ways[0], way) for way in ways)


def told_alike(ranges: dict[str, Range], each: Addition) -> bool:
    first, second = each.addends
    return is_portable_addition(ranges[first], ranges[second], ranges[each.total])


@pytest.mark.parametrize("seed", range(12))
def test_all_pairs_of_bytes_come_to_the_same_on_every_processor(seed: int) -> None:
    exact = with_portable_additions(trunk(seed), TRUNK)
    assert all(processors_agree(exact, each) for each in TRUNK)
    assert all(told_alike(exact, each) for each in TRUNK)


def test_as_they_were_found_they_do_not() -> None:
    found = [(trunk(seed), each) for seed in range(12) for each in TRUNK]
    assert not all(processors_agree(*each) for each in found)
    assert not any(told_alike(*each) for each in found)


@pytest.mark.parametrize("seed", range(12))
def test_scales_hardly_change_and_zero_points_do_not(seed: int) -> None:
    found = trunk(seed)
    for name, made in with_portable_additions(found, TRUNK).items():
        scale, zero_point = scale_and_zero_point(found[name])
        assert scale_and_zero_point(made)[0] == pytest.approx(scale, rel=2e-3)
        assert scale_and_zero_point(made)[1] == zero_point


def test_what_is_exact_stays() -> None:
    exact = with_portable_additions(trunk(0), TRUNK)
    assert with_portable_additions(exact, TRUNK) == exact


def test_sums_of_two_sums_stay_as_they_are() -> None:
    found = trunk(0)
    across = Addition(total="third", addends=("one", "three"))
    beside = [*TRUNK[:1], Addition(total="three", addends=("two", "second"))]
    exact = with_portable_additions(found, [*beside, across])
    assert exact["third"] == found["third"]
    assert exact == with_portable_additions(found, beside)


@pytest.mark.parametrize(("share", "stays"), [(1 / 100, True), (1 / 30, False)])
def test_an_addend_of_a_hundredth_of_the_sum_stays_as_it_is(share: float, stays: bool) -> None:
    found = trunk(0)
    scale, _ = scale_and_zero_point(found["one"])
    found["first"] = range_of_levels(scale * share, 128)
    assert (with_portable_additions(found, TRUNK[:1]) == found) is stays


@pytest.mark.parametrize("scale", [1e-6, 1e-50, 1e38])
def test_scales_of_which_float32_makes_nothing_stay_as_they_are(scale: float) -> None:
    found = trunk(0) | {"one": range_of_levels(scale, 128)}
    assert with_portable_additions(found, TRUNK[:1]) == found
    assert not told_alike(found, TRUNK[0])


def test_a_sum_without_ranges_is_left_out() -> None:
    found = trunk(0)
    del found["first"]
    assert with_portable_additions(found, TRUNK[:1]) == found


def test_the_sums_of_a_student_are_those_of_its_residual_blocks() -> None:
    student = Student(width=8, inner=(8, 8), block="separable", head="separable").eval()
    assert list(additions_of(activations_of(student, body_graph(student)))) == [
        Addition(total="blocks.0", addends=("stem", "blocks.0.project.1")),
        Addition(total="blocks.1", addends=("blocks.0", "blocks.1.project.1")),
    ]


def test_the_sums_of_a_graph_are_those_of_computed_bytes() -> None:
    graph = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        sums (float[1, 2, 8, 8] x) => (float[1, 2, 8, 8] clipped)
        <float[2, 2, 1, 1] w = {1, 0, 0, 1}, float[2, 1, 1] b = {1, 2}>
        { a = Conv(x, w)  c = Conv(a, w)  sum = Add(a, c)  shifted = Add(sum, b)
          turned = Transpose<perm = [0, 1, 3, 2]>(c)  of_turned = Add(shifted, turned)
          last = Add(of_turned, c)  clipped = Relu(last) }"""
    )
    assert list(additions_in(graph)) == [
        Addition(total="sum", addends=("a", "c")),
        # what is stored is what the ReLU gives
        Addition(total="clipped", addends=("of_turned", "c")),
    ]


def test_what_is_moved_to_where_it_is_added_counts_as_computed() -> None:
    graph = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        moved (float[1, 4, 8, 8] x, float[1, 1, 16, 16] y) => (float[1, 1, 16, 16] sum)
        <float[4, 4, 1, 1] w = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}>
        { deep = Conv(x, w)  wide = DepthToSpace<blocksize = 2>(deep)  sum = Add(wide, y) }"""
    )
    assert list(additions_in(graph)) == [Addition(total="sum", addends=("wide", "y"))]
    ranges = {"deep": (0.0, 1.0), "wide": (0.0, 2.0), "sum": (-1.0, 3.0)}
    assert with_moved(graph, ranges) == {**ranges, "deep": (0.0, 2.0)}
