from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from nstc.benchmarks.timing.machine import (
    LayerTimes,
    Operator,
    convolution_times,
    layer_times,
)
from nstc.core.errors import ArtifactError, CorruptBundleError


def test_every_operator_of_the_graph_has_a_time(make_bundle):
    bundle = make_bundle("dim", {"onnx": 0.5})
    found = layer_times(bundle.path / "model.onnx", size=32, threads=1)
    assert [operator.kind for operator in found.operators] == ["Mul"]
    assert found.operators[0].ms > 0
    assert found.total_ms == found.operators[0].ms
    assert (found.size, found.threads) == (32, 1)


def test_times_are_summed_by_type_the_slowest_first():
    times = LayerTimes(
        operators=(
            Operator(name="c", kind="Conv", ms=3.0),
            Operator(name="m", kind="Mul", ms=2.5),
            Operator(name="n", kind="Mul", ms=1.5),
        ),
        size=32,
        threads=1,
    )
    assert list(times.by_kind().items()) == [("Mul", 4.0), ("Conv", 3.0)]
    assert times.total_ms == 7.0


def test_no_graph_is_refused(tmp_path):
    (tmp_path / "rubbish.onnx").write_bytes(b"rubbish")
    with pytest.raises(CorruptBundleError):
        layer_times(tmp_path / "rubbish.onnx", size=32, threads=1)


def test_nothing_is_left_behind(make_bundle, tmp_path, monkeypatch):
    bundle = make_bundle("dim", {"onnx": 0.5})
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    layer_times(bundle.path / "model.onnx", size=32, threads=1)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def graph(tmp_path: Path, write_graph) -> Path:
    """x, conv, norm, relu, resize and pad, conv, slice."""
    weight = np.full((3, 3, 1, 1), 0.3, np.float32)
    return write_graph(
        tmp_path / "model.onnx",
        [
            helper.make_node("Conv", ["x", "w"], ["a"], name="first"),
            helper.make_node("InstanceNormalization", ["a", "one", "one"], ["n"], name="norm"),
            helper.make_node("Relu", ["n"], ["r"], name="relu"),
            helper.make_node("Resize", ["r", "", "scales"], ["big"], name="resize"),
            helper.make_node("Pad", ["big", "pads"], ["p"], name="pad", mode="reflect"),
            helper.make_node("Conv", ["p", "w"], ["b"], name="second"),
            helper.make_node("Relu", ["b"], ["c"], name="last relu"),
            helper.make_node("Transpose", ["c"], ["y"], name="edge", perm=[0, 1, 2, 3]),
        ],
        output_shape=(1, 3, "OH", "OW"),
        constants={
            "w": weight,
            "one": np.ones(3, np.float32),
            "scales": np.array([1, 1, 2, 2], np.float32),
            "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        },
    )


def times(**ms: float) -> LayerTimes:
    kinds = {"conv": "Conv", "qconv": "QLinearConv", "other": "Any"}
    operators = []
    for key, value in ms.items():
        kind, name = key.split("__")
        operators.append(Operator(name=name.replace("_sp_", " "), kind=kinds[kind], ms=value))
    return LayerTimes(operators=tuple(operators), size=64, threads=1)


def test_what_is_around_a_convolution_is_its_own(graph: Path) -> None:
    found = convolution_times(
        graph,
        times(
            conv__first=1.0,
            other__norm=2.0,
            other__relu=4.0,
            other__resize=8.0,
            other__pad=16.0,
            conv__second=32.0,
            other__last_sp_relu=64.0,
            other__edge=128.0,
            other__ReorderInput=256.0,
        ),
    )
    assert found.ms == (1 + 2 + 4, 8 + 16 + 32 + 64)
    assert found.other_ms == 128 + 256


def test_fused_and_renamed_ones_are_found(graph: Path) -> None:
    """ONNX Runtime names a fused convolution after its last value, an integer one by a number."""
    assert convolution_times(graph, times(conv__c_nchwc=1.0)).ms == (0, 1)
    assert convolution_times(graph, times(conv__a_nchwc=1.0)).ms == (1, 0)
    assert convolution_times(graph, times(qconv__second_token_12=1.0)).ms == (0, 1)


def test_a_convolution_that_is_not_in_the_file_is_an_error(graph: Path) -> None:
    with pytest.raises(ArtifactError, match="a convolution elsewhere, which the file does not"):
        convolution_times(graph, times(conv__elsewhere=1.0))
    assert convolution_times(graph, times(other__elsewhere=1.0)).other_ms == 1.0
