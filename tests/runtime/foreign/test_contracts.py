"""One small network, which warms a picture's colours and clamps them, fed in all usual ways."""

import re
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from nstc.core.errors import OptionError, TeacherError
from nstc.core.graph_form import GraphForm
from nstc.core.images import read_picture
from nstc.runtime.foreign.contracts import GraphContract, choose
from nstc.runtime.foreign.networks import ForeignSession
from nstc.runtime.foreign.probing import probe_contract

MIX = np.array([[0.75, 0.2, 0.0], [0.1, 0.55, 0.15], [0.0, 0.15, 0.5]], np.float32)
BIAS = np.array([0.12, 0.05, 0.02], np.float32)
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
CAFFE = np.float32([103.939, 116.779, 123.68])
IMAGENET = {"mean": "imagenet", "std": "imagenet"}


def truth(rgb: np.ndarray) -> np.ndarray:
    return np.clip(rgb / 255 @ MIX.T + BIAS, 0, 1) * 255


@pytest.fixture
def spelled(write_graph, tmp_path):
    """Writes the network for an input x of which a * x + b is from 0 to 1, its output c * y + d."""

    def write(a=1.0, b=0.0, c=1.0, d=0.0, *, bgr=False, last=False, **options) -> Path:
        def planes(values) -> np.ndarray:
            return np.broadcast_to(np.float32(values), 3).reshape(1, 3, 1, 1).astype(np.float32)

        mix, bias = (MIX[::-1, ::-1], BIAS[::-1]) if bgr else (MIX, BIAS)
        nodes = [
            helper.make_node("Mul", ["in", "a"], ["m"]),
            helper.make_node("Add", ["m", "b"], ["n"]),
            helper.make_node("Conv", ["n", "mix", "bias"], ["o"]),
            helper.make_node("Clip", ["o", "low", "high"], ["p"]),
            helper.make_node("Mul", ["p", "c"], ["q"]),
            helper.make_node("Add", ["q", "d"], ["out"]),
        ]
        before = helper.make_node("Identity", ["x"], ["in"])
        after = helper.make_node("Identity", ["out"], ["y"])
        if last:
            before = helper.make_node("Transpose", ["x"], ["in"], perm=[0, 3, 1, 2])
            after = helper.make_node("Transpose", ["out"], ["y"], perm=[0, 2, 3, 1])
            options["shape"] = (1, "H", "W", 3)
        return write_graph(
            tmp_path / "network.onnx",
            [before, *nodes, after],
            constants={
                **{name: planes(x) for name, x in {"a": a, "b": b, "c": c, "d": d}.items()},
                "mix": np.ascontiguousarray(mix[:, :, None, None]),
                "bias": np.ascontiguousarray(bias),
                "low": np.float32(0),
                "high": np.float32(1),
            },
            **options,
        )

    return write


def error_of(path: Path, rgb: np.ndarray, **told) -> float:
    """The largest difference to the right picture, in levels."""
    made = ForeignSession(path, probe_contract(path, **told), threads=1).run(rgb)
    return float(np.abs(made.astype(np.float64) - truth(rgb)).max())


@pytest.mark.parametrize("last", [False, True], ids=["NCHW", "NHWC"])
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"a": 1 / 255, "c": 255},
        {"a": 0.5, "b": 0.5, "c": 2, "d": -1},
        {"c": 255},
        {"a": 1 / 255},
        {"a": 1 / 255, "c": 2, "d": -1},
    ],
    ids=["1>1", "255>255", "-1>-1", "1>255", "255>1", "255>-1"],
)
def test_usual_values_are_found(spelled, pixels, form, last) -> None:
    assert error_of(spelled(**form, last=last), pixels) <= 0.6


@pytest.mark.parametrize(
    ("form", "told", "flags"),
    [
        ({"a": 0.5, "b": 0.5}, {"input_range": -1}, "--input-range -1"),
        ({"a": STD, "b": MEAN}, IMAGENET, "--mean imagenet --std imagenet"),
        (
            {"a": 1 / 255, "b": CAFFE / 255, "c": 255, "d": -CAFFE, "bgr": True},
            {"mean": CAFFE, "channels": "bgr"},
            "--channels bgr --mean imagenet",
        ),
        (
            {"a": 1 / 255, "b": CAFFE / 255, "c": 255, "d": -CAFFE, "bgr": True},
            {"mean": CAFFE, "channels": "bgr", "input_range": 255, "output_range": 255},
            "--channels bgr --mean imagenet",
        ),
        (
            {"a": 1 / 255, "b": CAFFE / 255, "c": 255, "bgr": True},
            {"mean": CAFFE, "channels": "bgr"},
            "--channels bgr",
        ),
        ({"a": STD, "b": MEAN, "c": 1 / STD, "d": -MEAN / STD}, IMAGENET, "--std imagenet"),
    ],
    ids=["-1>1", "imagenet", "caffe", "caffe-ranges", "caffe>255", "imagenet>imagenet"],
)
def test_what_can_not_be_found_is_said_and_told(spelled, pixels, form, told, flags) -> None:
    path = spelled(**form)
    told = {name: tuple(x.tolist()) if isinstance(x, np.ndarray) else x for name, x in told.items()}
    with pytest.raises(TeacherError, match=r"in [234] ways that differ") as caught:
        probe_contract(path)
    assert flags in str(caught.value)
    assert "\n" not in str(caught.value)
    assert error_of(path, pixels, **told) <= 0.7


def test_the_pictures_of_what_may_be_meant_are_shown(spelled) -> None:
    path = spelled(a=0.5, b=0.5)
    with pytest.raises(TeacherError) as caught:
        probe_contract(path)
    [folder] = re.findall(r"see (\S+)\. Give", str(caught.value))
    washed_out, right = (read_picture(Path(folder) / f"{n}.png").rgb for n in (1, 2))
    assert "1.png is --input-range 1 " in str(caught.value)
    assert "2.png is --input-range -1 " in str(caught.value)
    photo = read_picture(Path(folder) / "photo.png").rgb
    assert np.abs(right - truth(photo)).max() <= 1
    assert washed_out.std() < 0.8 * right.std()


def test_the_order_of_colours_is_taken_to_be_rgb_and_that_is_said(spelled, pixels) -> None:
    path = spelled(bgr=True)
    assert "the order of colours is taken to be RGB" in probe_contract(path).describe()
    assert error_of(path, pixels, channels="bgr") <= 0.6
    assert "taken to be" not in probe_contract(path, channels="bgr").describe()


def test_nothing_is_tried_that_was_told(spelled) -> None:
    path = spelled(a=0.5, b=0.5)
    assert probe_contract(path, input_range=1).input_range == 1
    assert probe_contract(path, value_range=-1).input_range == -1
    assert probe_contract(path, input_range=-1, output_range=255).output_range == 255


def test_what_was_found_once_leaves_nothing_to_find(spelled, pixels) -> None:
    path = spelled(a=STD, b=MEAN)
    first = probe_contract(path, **IMAGENET)
    again = probe_contract(path, first.form)
    assert (again, again.certainty) == (first, "")
    with pytest.raises(TeacherError, match="ways that differ"):
        probe_contract(path)


def test_bytes_have_no_mean(negative_bytes, tmp_path) -> None:
    path = negative_bytes(tmp_path / "network.onnx")
    with pytest.raises(OptionError, match=r"takes bytes.*--mean imagenet can't be"):
        probe_contract(path, mean="imagenet")
    assert probe_contract(path, input_range=255).input_range == 255


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_of_large_pictures_a_megapixel_is_kept(layout) -> None:
    """Six ways of two pictures each would be gigabytes of a graph that takes 8K alone."""
    fixed = contract(layout=layout, output_layout=layout, fixed_size=(1200, 1800))
    levels = np.random.default_rng(0).integers(0, 256, (12, 18, 3), np.uint8)
    photo = levels.repeat(100, axis=0).repeat(100, axis=1)
    fed = []

    def darken(tried: GraphContract, rgb: np.ndarray) -> np.ndarray:
        fed.append(rgb.shape)
        return 0.8 * np.clip(tried.encode(rgb), 0, 1)

    choice = choose(darken, fixed, [photo], GraphForm())
    assert set(fed) == {photo.shape}
    for one in (choice.best, *choice.rivals):
        assert one.pictures.shape == (1, 600, 900, 3)
    assert choice.best.contract.input_range == 1
    np.testing.assert_allclose(choice.best.pictures[0], 0.8 / 255 * photo[::2, ::2], atol=1e-6)


@pytest.mark.parametrize(("distance", "clamped"), [(0.005, 1.0), (0.015, 0.5)])
def test_levels_next_to_the_darkest_and_the_brightest_were_clamped(distance, clamped) -> None:
    """Half of an output is at its ends, and half of it so far from them."""
    photo = np.zeros((16, 16, 3), np.uint8)
    photo[:, 8:] = 255
    made = np.full((1, 16, 16, 3), 0.2, np.float32)
    made[:, :, 8:] = 0.8
    made[:, ::2, :8] += distance
    made[:, ::2, 8:] -= distance
    form = contract(layout="NHWC", output_layout="NHWC")
    choice = choose(lambda _tried, _rgb: made, form, [photo], GraphForm(input_range=1))
    usual = 1.15  # times as likely: what comes out is in the range of what goes in
    assert choice.best.score == pytest.approx((1 - clamped) * usual)


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
