import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from nstc.core.errors import CorruptBundleError, ImageError, OptionError
from nstc.runtime.onnx_session import STATISTICS_ROWS, OnnxSession


def test_the_deployed_graph_gets_bytes_as_they_are(negative_bytes, tmp_path, pixels) -> None:
    session = OnnxSession(negative_bytes(tmp_path / "g.onnx"), "int8.onnx", threads=1)
    feed = session.prepare(pixels)
    assert np.shares_memory(feed["x"], pixels)
    assert feed["x"].shape == (1, 37, 53, 3)
    np.testing.assert_array_equal(session.run(pixels), 255 - pixels)


def test_the_float_graph_gets_planes_from_0_to_1(linear, tmp_path, pixels) -> None:
    session = OnnxSession(linear(tmp_path / "g.onnx", 1, 0), "onnx")
    feed = session.prepare(pixels)
    assert (feed["x"].dtype, feed["x"].shape) == (np.float32, (1, 3, 37, 53))
    np.testing.assert_array_equal(session.run(pixels), pixels)


@pytest.mark.parametrize(("artifact", "options"), [("int8.onnx", {"use_tf32": "0"}), ("onnx", {})])
def test_integer_graphs_sum_squares_in_full_float32_on_a_gpu(
    linear, tmp_path, monkeypatch, artifact, options
) -> None:
    opened = []
    real = onnxruntime.InferenceSession

    def on_cpu(path, settings, providers):
        opened.extend(providers)
        return real(path, settings, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", on_cpu)
    providers = ("CUDAExecutionProvider", "CPUExecutionProvider")
    OnnxSession(linear(tmp_path / "g.onnx", 1, 0), artifact, providers=providers)
    assert opened == [("CUDAExecutionProvider", options), ("CPUExecutionProvider", {})]


def test_float_output_beyond_the_range_is_clipped(linear, tmp_path) -> None:
    session = OnnxSession(linear(tmp_path / "g.onnx", 2, -0.5), "onnx")
    rgb = np.array([[[0, 255, 128]]], dtype=np.uint8)  # 2 * 128 / 255 - 0.5 = 0.5039 = 128.5 / 255
    assert session.run(rgb).tolist()[0][0][:2] == [0, 255]
    assert session.run(rgb)[0, 0, 2] in {128, 129}


@pytest.mark.parametrize("shape", [(1, 1, 3), (40, 5000, 3), (5000, 40, 3)])
def test_any_size_comes_back_in_its_own(negative_bytes, tmp_path, shape) -> None:
    session = OnnxSession(negative_bytes(tmp_path / "g.onnx"), "int8.onnx")
    assert session.run(np.zeros(shape, np.uint8)).shape == shape


def test_a_graph_of_one_size_says_so(negative_bytes, tmp_path) -> None:
    session = OnnxSession(negative_bytes(tmp_path / "g.onnx", 8, 16), "int8.8x16.onnx")
    assert session.run(np.zeros((8, 16, 3), np.uint8)).min() == 255
    with pytest.raises(OptionError, match=r"8x16 .* only, this one is 16x8"):
        session.run(np.zeros((16, 8, 3), np.uint8))


@pytest.mark.parametrize("content", [b"", b"no graph at all", None])
def test_a_damaged_file_is_one_line(negative_bytes, tmp_path, content) -> None:
    path = negative_bytes(tmp_path / "g.onnx")
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    with pytest.raises(CorruptBundleError, match="can't be loaded") as caught:
        OnnxSession(path, "int8.onnx")
    assert "\n" not in str(caught.value)


def test_a_graph_of_another_form_is_refused(write_graph, tmp_path) -> None:
    path = write_graph(
        tmp_path / "g.onnx", [helper.make_node("Identity", ["x"], ["y"])], shape=(1, 10)
    )
    with pytest.raises(CorruptBundleError, match="not a graph of nstc's"):
        OnnxSession(path, "onnx")


def test_a_graph_that_fails_names_the_size(write_graph, tmp_path) -> None:
    path = write_graph(
        tmp_path / "g.onnx",
        [helper.make_node("Add", ["x", "row"], ["y"])],
        constants={"row": np.zeros((1, 3, 1, 7), np.float32)},
    )
    session = OnnxSession(path, "onnx")
    assert session.run(np.zeros((5, 7, 3), np.uint8)).shape == (5, 7, 3)
    with pytest.raises(ImageError, match="failed on a picture of shape 1x3x5x8"):
        session.run(np.zeros((5, 8, 3), np.uint8))


def test_an_array_that_is_no_picture_is_refused(negative_bytes, tmp_path) -> None:
    session = OnnxSession(negative_bytes(tmp_path / "g.onnx"), "int8.onnx")
    with pytest.raises(ImageError, match="float32"):
        session.run(np.zeros((4, 4, 3), np.float32))


@pytest.fixture
def opened(monkeypatch) -> list[onnxruntime.SessionOptions]:
    """The options of every session that ONNX Runtime is asked for."""
    asked = []
    real = onnxruntime.InferenceSession

    def remembered(path, settings, providers):
        asked.append(settings)
        return real(path, settings, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", remembered)
    return asked


def test_threads_reach_onnx_runtime(negative_bytes, tmp_path, opened) -> None:
    session = OnnxSession(negative_bytes(tmp_path / "g.onnx"), "int8.onnx", threads=1)
    (options,) = opened
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert session.provider == "CPUExecutionProvider"


@pytest.mark.parametrize("arena", [True, False])
def test_a_session_opened_anew_has_the_same_options(
    negative_bytes, tmp_path, opened, arena
) -> None:
    OnnxSession(negative_bytes(tmp_path / "g.onnx"), "int8.onnx", 1, arena=arena).reopened()
    first, second = (
        (own.intra_op_num_threads, own.enable_cpu_mem_arena, own.enable_mem_pattern)
        for own in opened
    )
    assert first == second == (1, arena, arena)


def test_a_failing_graph_logs_nothing_of_its_own(write_graph, tmp_path, capfd) -> None:
    path = write_graph(
        tmp_path / "g.onnx",
        [helper.make_node("Add", ["x", "row"], ["y"])],
        constants={"row": np.zeros((1, 3, 1, 7), np.float32)},
        dtype=TensorProto.FLOAT,
    )
    with pytest.raises(ImageError):
        OnnxSession(path, "onnx").run(np.zeros((5, 8, 3), np.uint8))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("rows", ["0", "65", "-4", "4.0", "four", "", "\u0664"])
def test_rows_of_statistics_that_are_no_number_are_refused(
    two_scale_tiles_bundle, tmp_path, rows
) -> None:
    graph = onnx.load(two_scale_tiles_bundle.file("model.int8.tiles.onnx"))
    helper.set_model_props(graph, {STATISTICS_ROWS: rows})
    onnx.save(graph, tmp_path / "model.onnx")
    with pytest.raises(CorruptBundleError, match=r"its statistics_rows is .*, expected 1 to 64"):
        OnnxSession(tmp_path / "model.onnx", "int8.tiles.onnx")
