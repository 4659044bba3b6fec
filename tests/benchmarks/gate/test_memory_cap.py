"""The limit on peak memory, on rows whose memory is known."""

import dataclasses

import pytest

from nstc.benchmarks.bench import bench
from nstc.benchmarks.gate.keys import RowKey
from nstc.benchmarks.gate.limits import peak_memory, refuse_over_cap, refuse_useless_cap
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.timing import latency
from nstc.core.errors import MemoryCapError, OptionError
from nstc.core.recipe import BenchRecipe

pytestmark = pytest.mark.slow  # each measures files in fresh processes


@pytest.fixture
def result(make_bundle, photo_set, monkeypatch):
    monkeypatch.setattr(latency, "PAUSE_S", 0.0)
    bundle = make_bundle("plain", {"onnx": 0.5, "int8.onnx": 0.8})
    recipe = BenchRecipe(size=64, rounds=3, targets=("mobile",))
    return bench(
        [bundle.path], against=bundle.path, photos=photo_set(1), recipe=recipe, quality=False
    )


def test_mobile_rows_say_what_memory_a_fresh_process_needs(result):
    for row in result.to_dict()["rows"]:
        assert row["target"] == "mobile"
        assert 5e6 < row["memory"]["peak_bytes"] < 1e9
        assert 0 < row["memory"]["network_bytes"] < row["memory"]["peak_bytes"]
        assert row["cold_start_ms"] > 0


def test_the_gate_says_which_rows_are_over(result):
    key = RowKey(model="m", artifact="onnx", target="mobile", size=64)
    row = result.rows[0]
    (over,), (within,) = (peak_memory(key, row, cap) for cap in (1, 1000))
    assert (over.fact, over.verdict) == ("peak_bytes", "REGRESSED")
    assert over.value == row.footprint.peak_bytes > over.baseline == 1_000_000
    assert within.verdict == "PASS"
    [unknown] = peak_memory(key, dataclasses.replace(row, footprint=None), 1000)
    assert unknown.verdict == "INCOMPARABLE"
    assert peak_memory(key, dataclasses.replace(row, target="cpu:1"), 1000) == []


def test_rows_over_the_cap_are_all_named(result):
    refuse_over_cap(result, None)
    refuse_over_cap(result, 2000)
    with pytest.raises(MemoryCapError, match=r"cap 1 MB: .*int8\.onnx \d+ MB, .* onnx \d+ MB"):
        refuse_over_cap(result, 1)


def test_a_cap_that_nothing_would_be_held_to_is_refused():
    refuse_useless_cap(None, [parse_target("cpu:1")])
    refuse_useless_cap(100, [parse_target("cpu:1"), parse_target("mobile")])
    refuse_useless_cap(100, [parse_target("cpu:1")], memory=True)
    with pytest.raises(OptionError, match="--target mobile, or --memory"):
        refuse_useless_cap(100, [parse_target("cpu:1")])
    with pytest.raises(OptionError, match="above 0"):
        refuse_useless_cap(0, [parse_target("mobile")])
