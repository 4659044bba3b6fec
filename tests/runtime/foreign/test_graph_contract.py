import numpy as np
import pytest

from nstc.runtime.foreign.graph_contract import GraphContract


def contract(**changes) -> GraphContract:
    fields = {
        "input_name": "x",
        "output_name": "y",
        "layout": "NCHW",
        "dtype": "float32",
        "input_range": 1,
        "output_layout": "NCHW",
        "output_range": 1,
        "size_multiple": 1,
        "minimum_size": 1,
        "fixed_size": None,
    }
    return GraphContract(**{**fields, **changes})


RGB = np.array([[[0, 51, 255]]], dtype=np.uint8)


@pytest.mark.parametrize(
    ("value_range", "expected"), [(1, [0, 0.2, 1]), (255, [0, 51, 255]), (-1, [-1, -0.6, 1])]
)
def test_values_go_to_the_network_in_its_range_and_come_back(value_range, expected) -> None:
    one = contract(input_range=value_range, output_range=value_range)
    encoded = one.encode(RGB)
    assert encoded.shape == (1, 3, 1, 1)
    np.testing.assert_allclose(encoded.ravel(), expected, atol=1e-6)
    np.testing.assert_allclose(one.decode(encoded), [[[0, 0.2, 1]]], atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_the_network_gets_its_own_type(dtype) -> None:
    assert contract(dtype=dtype, input_range=255).encode(RGB).dtype == dtype


def test_layouts_in_and_out_may_differ() -> None:
    mixed = contract(layout="NHWC", output_layout="NCHW")
    assert mixed.encode(np.zeros((4, 7, 3), np.uint8)).shape == (1, 4, 7, 3)
    assert mixed.decode(np.zeros((1, 3, 4, 7), np.float32)).shape == (4, 7, 3)


def test_any_size_is_said_so() -> None:
    assert ", any size;" in contract().describe()


def test_a_mean_and_a_deviation_go_off_and_come_back_in_the_graphs_order() -> None:
    statistics = {"mean": (51.0, 102.0, 0.0), "std": (1.0, 2.0, 5.0)}
    caffe = contract(
        channels="bgr",
        input_range=255,
        output_range=255,
        output_mean=statistics["mean"],
        output_std=statistics["std"],
        **statistics,
    )
    encoded = caffe.encode(RGB)
    np.testing.assert_allclose(encoded.ravel(), [255 - 51, (51 - 102) / 2, 0], atol=1e-5)
    np.testing.assert_allclose(caffe.decode(encoded), [[[0, 0.2, 1]]], atol=1e-6)
    assert "BGR from 0 to 255 less 51,102,0 over 1,2,5, gives" in caffe.describe()
