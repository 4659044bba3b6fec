import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from nstc.benchmarks.remote.tensor_file import tensor_bytes


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
