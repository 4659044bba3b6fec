import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from nstc.benchmarks.targets.adb import (
    read_runs,
    tensor_bytes,
    write_perf_folder,
)
from nstc.benchmarks.targets.remote.remote_target import make_job
from nstc.core.errors import TargetError
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.networks import ForeignSession
from nstc.runtime.foreign.probing import probe_contract

PRINTED = """Setting intra_op_num_threads to 1
Session creation time cost: 0.0183481 s
First inference time cost: 2 ms
Total inference time cost: 0.0090 s
Total inference requests: 3
Average inference time cost: 3 ms
Peak working set size: 50905088 bytes
"""
ROWS = "graph0,0.002,50905088,74,0\ngraph0,0.003,50905088,74,1\ngraph0,0.004,50905099,-1,2\n"


def read(output, runs=3):
    return read_runs("adb:x", output, runs)


def test_times_in_order_peak_and_cold_start():
    times_ms, footprint = read(PRINTED + ROWS)
    assert times_ms == (2.0, 3.0, 4.0)
    assert (footprint.peak_bytes, footprint.network_bytes) == (50905099, None)
    assert footprint.cold_start_ms == pytest.approx(20.3481)


def test_lines_may_end_as_old_adb_ends_them():
    times_ms, _ = read((PRINTED + ROWS).replace("\n", "\r\n"))
    assert times_ms == (2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    "line", ["Average inference time cost total: 3.000000 ms", "Average time cost:3 ms"]
)
def test_other_versions_words_are_understood(line):
    assert read(line + "\n" + ROWS) == ((2.0, 3.0, 4.0), None)


@pytest.mark.parametrize(
    "output",
    [
        "",
        PRINTED,
        ROWS,
        PRINTED + ROWS + ROWS,
        PRINTED + ROWS.replace("0.003", "nan"),
        PRINTED + ROWS.replace("0.003", "-0.003"),
        PRINTED + ROWS.replace("0.003", "0"),
        PRINTED + ROWS.replace("0.003", "1e999"),
        PRINTED + ROWS.replace("0.003", "1e-e"),
        "error while loading shared libraries: libonnxruntime.so",
    ],
)
def test_times_that_can_not_be_are_refused(output):
    with pytest.raises(TargetError, match="adb:x: onnxruntime_perf_test gave"):
        read(output)


def test_times_of_another_unit_than_the_average_are_refused():
    in_ns = ROWS.replace("0.00", "")
    with pytest.raises(TargetError, match=r"says 3\.0 ms on average and lists"):
        read(PRINTED + in_ns)


def test_weights_beside_a_graph_lie_beside_it_on_the_device(linear, weights_beside, tmp_path):
    path = weights_beside(linear(tmp_path / "split.onnx", 1, 0))
    session = ForeignSession(path, probe_contract(path), 1)
    picture = np.zeros((64, 64, 3), np.uint8)
    recipe = BenchRecipe(size=64, rounds=3)
    job = make_job([session, session], picture, recipe, threads=1)
    write_perf_folder(job, tmp_path / "job")
    assert {file.name for file in (tmp_path / "job" / "graph0").iterdir()} == {
        "model.onnx",
        "split.onnx.data",
        "test_data_set_0",
    }


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16"])
def test_onnx_reads_the_same_array(dtype):
    rng = np.random.default_rng(0)
    values = (rng.random((1, 300, 5, 3)) * 255).astype(dtype)
    tensor = onnx.TensorProto.FromString(tensor_bytes(values))
    read = numpy_helper.to_array(tensor)
    assert read.dtype == values.dtype
    np.testing.assert_array_equal(read, values)
    assert tensor.name == ""


def test_a_view_in_another_order_is_written_as_it_reads():
    values = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4).transpose(0, 3, 1, 2)
    read = numpy_helper.to_array(onnx.TensorProto.FromString(tensor_bytes(values)))
    np.testing.assert_array_equal(read, values)


def test_other_types_are_a_mistake_of_the_caller():
    with pytest.raises(KeyError):
        tensor_bytes(np.zeros(3, np.int64))
