"""Networks as others export them, in miniature: each has the traits of one that is about."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nstc.core.errors import OptionError, TeacherError
from nstc.runtime.foreign.probing import probe_contract

FLOAT = TensorProto.FLOAT


@pytest.fixture
def sharpened(write_graph, tmp_path):
    """Writes clip(gain * x + offset, low, high): without normalisation, so its range is decided."""

    def write(*, gain: float, offset: float, low: float, high: float, **options):
        return write_graph(
            tmp_path / "network.onnx",
            [
                helper.make_node("Mul", ["x", "gain"], ["m"]),
                helper.make_node("Add", ["m", "offset"], ["a"]),
                helper.make_node("Clip", ["a", "low", "high"], ["y"]),
            ],
            constants={
                "gain": np.float32(gain),
                "offset": np.float32(offset),
                "low": np.float32(low),
                "high": np.float32(high),
            },
            **options,
        )

    return write


@pytest.fixture
def shrinking(write_graph, tmp_path):
    """Writes a network that halves its picture some times and doubles it as often."""

    def write(times: int, **options):
        nodes, last = [], "x"
        for step in range(times):
            nodes.append(
                helper.make_node(
                    "AveragePool", [last], [f"d{step}"], kernel_shape=[2, 2], strides=[2, 2]
                )
            )
            last = f"d{step}"
        scales = np.array([1, 1, 2**times, 2**times], np.float32)
        nodes.append(helper.make_node("Resize", [last, "", "scales"], ["y"], mode="nearest"))
        return write_graph(
            tmp_path / "network.onnx",
            nodes,
            output_shape=(1, 3, "OH", "OW"),
            constants={"scales": scales},
            **options,
        )

    return write


def test_planes_from_0_to_1(sharpened) -> None:
    contract = probe_contract(sharpened(gain=0.8, offset=0.1, low=0, high=1))
    assert (contract.layout, contract.dtype) == ("NCHW", "float32")
    assert (contract.input_range, contract.output_range) == (1, 1)
    assert (contract.size_multiple, contract.fixed_size) == (1, None)
    assert contract.input_name == "x"


def test_values_from_0_to_255(sharpened) -> None:
    contract = probe_contract(sharpened(gain=0.8, offset=30, low=0, high=255))
    assert (contract.input_range, contract.output_range) == (255, 255)


def test_values_from_minus_1_to_1(sharpened) -> None:
    contract = probe_contract(sharpened(gain=1, offset=0, low=-0.9, high=0.9))
    assert (contract.input_range, contract.output_range) == (-1, -1)


def test_values_to_1_in_and_to_255_out(sharpened) -> None:
    contract = probe_contract(sharpened(gain=200, offset=20, low=0, high=255))
    assert (contract.input_range, contract.output_range) == (1, 255)


def test_a_network_that_normalises_its_input_is_taken_to_give_what_it_takes(
    write_graph, tmp_path
) -> None:
    """As the fast_neural_style networks: an instance normalisation hides the input's scale."""
    path = write_graph(
        tmp_path / "network.onnx",
        [
            helper.make_node("InstanceNormalization", ["x", "scale", "shift"], ["y"]),
        ],
        constants={
            "scale": np.full(3, 50, np.float32),
            "shift": np.full(3, 120, np.float32),
        },
    )
    contract = probe_contract(path)
    assert (contract.input_range, contract.output_range) == (255, 255)


def test_channels_last(sharpened) -> None:
    contract = probe_contract(
        sharpened(gain=0.8, offset=0.1, low=0, high=1, shape=("N", "H", "W", 3))
    )
    assert (contract.layout, contract.output_layout) == ("NHWC", "NHWC")


def test_a_layout_that_the_file_leaves_open_is_found_by_trying(write_graph, tmp_path) -> None:
    weights = np.zeros((3, 3, 1, 1), np.float32)
    weights[[0, 1, 2], [0, 1, 2]] = 0.9
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w"], ["c"]),
        helper.make_node("Identity", ["c"], ["y"]),
    ]
    path = write_graph(
        tmp_path / "network.onnx", nodes, shape=("a", "b", "c", "d"),
        output_shape=("e", "f", "g", "h"), constants={"w": weights},
    )  # fmt: skip
    contract = probe_contract(path)
    assert (contract.layout, contract.output_layout) == ("NHWC", "NCHW")


def test_bytes_are_taken_as_bytes(negative_bytes, tmp_path) -> None:
    contract = probe_contract(negative_bytes(tmp_path / "network.onnx"))
    assert (contract.dtype, contract.layout) == ("uint8", "NHWC")
    assert (contract.input_range, contract.output_range) == (255, 255)


@pytest.mark.parametrize(("times", "multiple"), [(1, 2), (2, 4), (3, 8), (5, 32)])
def test_the_multiple_that_sizes_must_keep_to(shrinking, times, multiple) -> None:
    contract = probe_contract(shrinking(times))
    assert contract.size_multiple == multiple
    assert contract.minimum_size == 64


def test_a_size_multiple_that_is_not_one_is_refused(shrinking) -> None:
    path = shrinking(3)
    assert probe_contract(path, size_multiple=16).size_multiple == 16
    with pytest.raises(OptionError, match="size-multiple is 4"):
        probe_contract(path, size_multiple=4)


def test_a_fixed_size_is_kept(sharpened) -> None:
    contract = probe_contract(sharpened(gain=1, offset=0, low=0, high=1, shape=(1, 3, 96, 160)))
    assert contract.fixed_size == (96, 160)
    assert "96x160 (height x width) only" in contract.describe()


def test_what_was_found_is_one_line_that_names_the_flags(shrinking) -> None:
    text = probe_contract(shrinking(2)).describe()
    assert text == (
        "takes NCHW float32 RGB from 0 to 1, gives NCHW from 0 to 1, sizes in multiples of 4; "
        "certain, no other values give such a picture, the order of colours is taken to be RGB; "
        "if that is wrong: --layout, --input-range, --output-range, --mean, --std, --channels, "
        "--size-multiple"
    )


def test_a_given_range_is_believed(write_graph, tmp_path) -> None:
    path = write_graph(tmp_path / "network.onnx", [helper.make_node("Identity", ["x"], ["y"])])
    assert probe_contract(path).input_range == 1
    assert probe_contract(path, value_range=255).input_range == 255


@pytest.mark.parametrize(
    "flags",
    [
        {"layout": "CHW"},
        {"input_range": 2},
        {"value_range": 2},
        {"size_multiple": 0},
        {"layout": "NHWC"},
    ],
)
def test_flags_out_of_range_are_refused(sharpened, flags) -> None:
    (name,) = flags
    with pytest.raises(OptionError, match=f"{name.replace('_', '-')} is"):
        probe_contract(sharpened(gain=1, offset=0, low=0, high=1), **flags)


def test_a_missing_file(tmp_path) -> None:
    with pytest.raises(TeacherError, match="no such file"):
        probe_contract(tmp_path / "network.onnx")


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "is empty"), (b"\x89PNG no network", "can't be loaded as ONNX")],
)
def test_what_is_no_onnx_file(tmp_path, content, told) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    with pytest.raises(TeacherError, match=told) as caught:
        probe_contract(path)
    assert "\n" not in str(caught.value)


def test_a_classifier(write_graph, tmp_path) -> None:
    path = write_graph(
        tmp_path / "network.onnx",
        [
            helper.make_node("GlobalAveragePool", ["x"], ["p"]),
            helper.make_node("Flatten", ["p"], ["y"]),
        ],
        output_shape=(1, 3),
    )
    with pytest.raises(TeacherError, match=r"it gives \[1, 3\], which is not a picture"):
        probe_contract(path)


def test_an_upscaler(write_graph, tmp_path) -> None:
    path = write_graph(
        tmp_path / "network.onnx",
        [helper.make_node("Resize", ["x", "", "scales"], ["y"])],
        output_shape=(1, 3, "OH", "OW"),
        constants={"scales": np.array([1, 1, 2, 2], np.float32)},
    )
    with pytest.raises(TeacherError, match=r"128x192 it gives \[1, 3, 256, 384\]|512x512"):
        probe_contract(path)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((1, 10), "expected one picture"),
        ((4, 3, "H", "W"), "expected one picture"),
        ((1, 1, "H", 64), "no axis holds 3 colours"),
        ((1, 3, 64, "W"), "both sides free or fixed"),
    ],
)
def test_an_input_that_is_no_picture(write_graph, tmp_path, shape, reason) -> None:
    identity = [helper.make_node("Identity", ["x"], ["y"])]
    path = write_graph(tmp_path / "network.onnx", identity, shape=shape)
    with pytest.raises(TeacherError, match=reason):
        probe_contract(path)


def test_an_input_of_another_type(write_graph, tmp_path) -> None:
    path = write_graph(
        tmp_path / "network.onnx",
        [helper.make_node("Identity", ["x"], ["y"])],
        dtype=TensorProto.INT64,
    )
    with pytest.raises(TeacherError, match=r"tensor\(int64\)"):
        probe_contract(path)


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"dtype": TensorProto.DOUBLE}, r"double precision: .*network\.float\(\)"),
        ({"shape": (1, 4, "H", "W")}, "four channels: .*alpha channel or a mask.*3 colours"),
        ({"shape": (1, "H", "W", 4)}, "four channels: .*alpha channel or a mask.*3 colours"),
    ],
)
def test_what_to_do_with_double_precision_and_four_channels(
    write_graph, tmp_path, options, advice
) -> None:
    identity = [helper.make_node("Identity", ["x"], ["y"])]
    with pytest.raises(TeacherError, match=advice):
        probe_contract(write_graph(tmp_path / "network.onnx", identity, **options))


def test_an_output_of_four_channels_names_the_way_out(write_graph, tmp_path) -> None:
    path = write_graph(
        tmp_path / "network.onnx",
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        output_shape=(1, 4, "H", "W"),
        constants={"w": np.ones((4, 3, 1, 1), np.float32)},
    )
    with pytest.raises(TeacherError, match=r"four channels: .*leaves out the fourth channel"):
        probe_contract(path)


def test_initializers_that_are_listed_as_inputs_are_none(write_graph, tmp_path) -> None:
    nodes = [helper.make_node("Mul", ["x", "gain"], ["y"])]
    path = write_graph(tmp_path / "n.onnx", nodes, constants={"gain": np.float32(1)})
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("gain", FLOAT, ()))
    onnx.save(model, path)
    assert probe_contract(path).input_name == "x"


def test_a_network_that_ignores_its_picture(sharpened) -> None:
    with pytest.raises(TeacherError, match="nothing like the photograph"):
        probe_contract(sharpened(gain=0, offset=0.5, low=0, high=1))


def test_an_operator_that_nobody_has(write_graph, tmp_path) -> None:
    path = write_graph(tmp_path / "n.onnx", [helper.make_node("Identity", ["x"], ["y"])])
    model = onnx.load(path)
    model.graph.node[0].op_type = "PaintLikeMunch"
    onnx.save(model, path)
    with pytest.raises(TeacherError, match="PaintLikeMunch"):
        probe_contract(path)
