"""A fast wrong picture is no result."""

import numpy as np
import pytest

from nstc.benchmarks.web.job import ask, refuse_other_picture
from nstc.core.errors import TargetError
from nstc.runtime.onnx_session import OnnxSession


@pytest.fixture
def of_bytes(tmp_path, negative_bytes):
    session = OnnxSession(negative_bytes(tmp_path / "model.int8.onnx"), "int8.onnx", 1)
    return ask(session, np.full((50, 40, 3), 100, np.uint8))


@pytest.fixture
def of_floats(tmp_path, linear):
    session = OnnxSession(linear(tmp_path / "model.onnx", -1, 1), "onnx", 1)
    return ask(session, np.full((50, 40, 3), 100, np.uint8))


def changed(asked, count, by):
    raw = asked.raw.copy()
    raw.reshape(-1)[:count] += raw.dtype.type(by)
    return raw.tobytes()


def test_the_same_picture_and_one_that_was_rounded_otherwise(of_bytes):
    assert refuse_other_picture(of_bytes, of_bytes.raw.tobytes(), "there") == 0
    assert refuse_other_picture(of_bytes, changed(of_bytes, 6000, 1), "there") == 1
    assert refuse_other_picture(of_bytes, changed(of_bytes, 6, 40), "there") == 40


def test_one_value_in_a_thousand_is_the_limit(of_bytes, of_floats):
    with pytest.raises(TargetError, match=r"0\.1% of its values.*worst by 2; .*no result"):
        refuse_other_picture(of_bytes, changed(of_bytes, 7, 2), "there")
    with pytest.raises(TargetError, match=r"another picture in there.*100\.0%"):
        refuse_other_picture(of_floats, changed(of_floats, 6000, 0.02), "there")


def test_no_numbers_are_no_picture(of_floats):
    with pytest.raises(TargetError, match="no finite numbers"):
        refuse_other_picture(of_floats, changed(of_floats, 1, np.nan), "there")
