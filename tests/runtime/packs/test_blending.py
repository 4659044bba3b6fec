"""Mixtures of styles: how their weights are read, and each kind of constant by hand."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from nstc.core.errors import OptionError
from nstc.runtime.packs.blending import Blend, blended, own_constants
from nstc.runtime.packs.stored_graph import StoredGraph, read_graph


class TestWeights:
    def test_of_a_sum_of_one(self) -> None:
        blend = Blend.parsed("a=0.6, b=0.4")
        assert blend.shares == {"a": 0.6, "b": 0.4}
        assert blend.warning is None
        assert blend.name == "a=0.6,b=0.4"

    def test_of_another_sum_are_divided_by_it_and_that_is_said(self) -> None:
        blend = Blend.parsed("a=3,b=1")
        assert blend.shares == {"a": 0.75, "b": 0.25}
        assert blend.warning == (
            "the weights of the blend add up to 4, not to 1: taken as a=0.75, b=0.25"
        )

    def test_a_style_of_no_weight_takes_no_part(self) -> None:
        blend = Blend.of({"a": 1, "b": 0})
        assert blend.shares == {"a": 1}
        assert blend.name == "a"

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("a=-0.5,b=1.5", "blend gives a a weight of -0.5: expected from 0 to 1000000"),
            ("a=nan", "a weight of nan"),
            ("a=inf", "a weight of inf"),
            ("a=1e308,b=1e308", r"a weight of 1e\+308: expected from 0 to 1000000"),
            ("a=0,b=0", "expected a weight above 0"),
            ("a", "expected styles and weights, such as"),
            ("a=much", "expected styles and weights, such as"),
            ("=1", "expected styles and weights, such as"),
            ("", "expected styles and weights, such as"),
            ("a=0.5,a=0.5", "blend names a twice"),
        ],
    )
    def test_that_can_not_be(self, text: str, told: str) -> None:
        with pytest.raises(OptionError, match=told):
            Blend.parsed(text)

    def test_of_nothing(self) -> None:
        with pytest.raises(OptionError, match="expected a weight above 0"):
            Blend.of({})

    def test_an_unknown_style_is_named_with_the_nearest(self) -> None:
        with pytest.raises(OptionError, match=r"pack has no style udni: .* Did you mean udnie\?"):
            Blend.of("udni").refuse_unknown(["udnie", "the-scream"], "pack")


STYLES = [
    {"range": 0.1, "middle": 100, "step": [1.0, 2.0], "bias": [10, -10], "unit": [0.1, 0.2]},
    {"range": 0.3, "middle": 20, "step": [3.0, 1.0], "bias": [20, 40], "unit": [0.9, 0.3]},
]


@pytest.fixture(scope="module")
def graph() -> StoredGraph:
    """A dequantized convolution and a factor, with the constants of the first style."""
    first = STYLES[0]
    constants = [
        numpy_helper.from_array(np.float32(first["range"]), "range"),
        helper.make_tensor("middle", TensorProto.UINT8, [], [first["middle"]]),
        numpy_helper.from_array(np.ones((2, 1, 1, 1), np.int8), "weight"),
        numpy_helper.from_array(np.float32(first["step"]), "step"),
        numpy_helper.from_array(np.zeros(2, np.int8), "zeros"),
        numpy_helper.from_array(np.int32(first["bias"]), "bias"),
        numpy_helper.from_array(np.float32(first["unit"]), "unit"),
        numpy_helper.from_array(np.float64(first["step"]), "factor"),
        numpy_helper.from_array(np.array([0, 1, 2]), "shape"),
    ]
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "range", "middle"], ["f"]),
        helper.make_node("DequantizeLinear", ["weight", "step", "zeros"], ["w"]),
        helper.make_node("DequantizeLinear", ["bias", "unit"], ["b"]),
        helper.make_node("Conv", ["f", "w", "b"], ["c"]),
        helper.make_node("Mul", ["c", "factor"], ["m"]),
        helper.make_node("Reshape", ["m", "shape"], ["y"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 1, "H", "W"])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    model = helper.make_model(helper.make_graph(nodes, "g", [given], [made], constants))
    return read_graph(model.SerializeToString())


def table(style: dict[str, object]) -> dict[str, np.ndarray]:
    kinds = {"range": "f4", "middle": "u1", "step": "f4", "bias": "i4", "unit": "f4"}
    values = {name: np.asarray(style[name], kind) for name, kind in kinds.items()}
    return {**values, "factor": values["step"].astype(np.float64)}


def test_a_style_owns_scales_zero_points_and_biases_and_no_weights_or_shapes(
    graph: StoredGraph,
) -> None:
    own = own_constants(graph)
    assert own.names == {"range", "middle", "step", "bias", "unit", "factor"}
    assert own.biases == {("bias", "unit", "range", "step")}


def test_a_mixture_by_hand(graph: StoredGraph) -> None:
    first, second = map(table, STYLES)
    mixed = blended(graph, own_constants(graph), [(0.75, first), (0.25, second)])
    np.testing.assert_allclose(mixed["step"], [1.5, 1.75])
    np.testing.assert_array_equal(mixed["factor"], mixed["step"].astype(np.float64))
    # ranges of -10 to 15.5 and of -6 to 70.5: -9 to 29.25
    np.testing.assert_allclose(mixed["range"], 0.15, rtol=1e-6)
    assert mixed["middle"] == 60
    # the input's scale times the weights' step, and 1, -2 and 18, 12 in these
    np.testing.assert_array_equal(mixed["unit"], mixed["range"] * mixed["step"])
    np.testing.assert_array_equal(mixed["bias"], np.rint([5.25 / 0.225, 1.5 / 0.2625]))
    kinds = {name: values.dtype for name, values in first.items()}
    assert {name: values.dtype for name, values in mixed.items()} == kinds


def test_what_styles_do_not_differ_in_stays(graph: StoredGraph) -> None:
    tables = [{"factor": np.float64([1, 2])}, {"factor": np.float64([2, 4])}]
    mixed = blended(graph, own_constants(graph), [(0.5, each) for each in tables])
    assert mixed.keys() == {"factor"}
    np.testing.assert_allclose(mixed["factor"], [1.5, 3])


def test_numbers_beyond_what_can_be_stored_are_an_error(graph: StoredGraph) -> None:
    large = {**table(STYLES[0]), "range": np.float32(3e38), "step": np.float32([3e38, 1])}
    with pytest.raises(ValueError, match="'unit' is not finite"):
        blended(graph, own_constants(graph), [(0.5, table(STYLES[0])), (0.5, large)])
    small = {**table(STYLES[0]), "step": np.float32([1e-30, 1])}
    with pytest.raises(ValueError, match="'bias' is beyond int32"):
        blended(graph, own_constants(graph), [(1e-30, table(STYLES[0])), (1 - 1e-30, small)])
