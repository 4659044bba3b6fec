import pytest

from nstc.benchmarks.timing.layer_times import LayerTimes, Operator, layer_times
from nstc.core.errors import CorruptBundleError, OptionError


def test_every_operator_of_the_graph_has_a_time(make_bundle):
    bundle = make_bundle("dim", {"onnx": 0.5})
    found = layer_times(bundle.path / "model.onnx", size=32, threads=1, runs=3)
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


def test_no_runs_and_no_graph_are_refused(make_bundle, tmp_path):
    with pytest.raises(OptionError, match="runs is 0"):
        layer_times(tmp_path / "none.onnx", size=32, threads=1, runs=0)
    (tmp_path / "rubbish.onnx").write_bytes(b"rubbish")
    with pytest.raises(CorruptBundleError):
        layer_times(tmp_path / "rubbish.onnx", size=32, threads=1)


def test_nothing_is_left_behind(make_bundle, tmp_path, monkeypatch):
    bundle = make_bundle("dim", {"onnx": 0.5})
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    layer_times(bundle.path / "model.onnx", size=32, threads=1, runs=1)
    assert sorted(tmp_path.rglob("*")) == before
