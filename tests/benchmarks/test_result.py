import dataclasses
import json
import math

import pytest

from nstc.benchmarks.result import (
    SCHEMA,
    BenchProtocol,
    BenchResult,
    LatencySummary,
    Quality,
    Reference,
    Row,
    migrated,
    rows_content,
)
from nstc.benchmarks.timing.latency import MachineNoise, Throughput
from nstc.benchmarks.timing.machine import Peaks, Roofline
from nstc.benchmarks.timing.statistics import Interval, Tail
from nstc.core.decoding import DecodingError, decode
from nstc.core.errors import OutputError
from nstc.core.manifest import PhotoRecord
from nstc.runtime.footprint import Footprint

PROTOCOL = BenchProtocol(
    rounds=3,
    size=64,
    photos=PhotoRecord(count=2, sets=("holiday",), list_sha256="ab" * 32),
    seed=0,
    vgg="cd" * 32,
    reference="ef" * 32,
)


def spread(median: float) -> Interval:
    return Interval(median=median, low=median - 0.1, high=median + 0.1)


QUALITY = Quality(
    metrics={
        "style_ratio": spread(1.25),
        "content_ratio": spread(1.1),
        "ssim": spread(0.8),
        "psnr_db": Interval(median=math.inf, low=30.0, high=math.inf),
        "feature_distance": spread(0.5),
        "flicker_ratio": spread(1.05),
    },
    photos=2,
    teacher="zoo:dusk/teacher",
    style_source="outputs",
    sampled_photos={"flicker_ratio": 1},
    tails={"style_ratio": Tail(p90=1.4, worst=math.inf, worst_photo="sky.jpg")},
)

ROW = Row(
    model="zoo:dusk",
    artifact="int8.onnx",
    target="cpu:2",
    size=64,
    latency_ms=LatencySummary.of((4.0, 6.0, 5.0)),
    speedup=Interval(median=40.0, low=39.0, high=41.5),
    params=33_000,
    macs=540_000_000,
    size_bytes=56_000,
    quality=QUALITY,
)

RESULT = BenchResult(
    machine={"arch": "x86_64"},
    protocol=PROTOCOL,
    references=(
        Reference(
            model="zoo:dusk/teacher",
            artifact="onnx",
            target="cpu:2",
            latency_ms=LatencySummary.of((200.0, 200.0, 230.0)),
        ),
    ),
    rows=(ROW, dataclasses.replace(ROW, params=None, macs=None, quality=None)),
)


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def test_the_json_has_the_schemas_keys_and_only_finite_numbers():
    content = json.loads(RESULT.to_json(), parse_constant=refuse)
    top = ["schema", "taken", "machine", "protocol", "references", "rows", "unfinished"]
    assert list(content) == top
    assert content["schema"] == "nstc.bench/2"
    assert content["protocol"]["photos"] == {
        "count": 2,
        "sets": ["holiday"],
        "list_sha256": "ab" * 32,
    }
    assert {"id", "rounds", "size", "photos"} <= set(content["protocol"])
    assert content["references"][0] == {
        "model": "zoo:dusk/teacher",
        "artifact": "onnx",
        "target": "cpu:2",
        "latency_ms": {
            "median": 200.0,
            "iqr": 15.0,
            "p95": 227.0,
            "samples": [200.0, 200.0, 230.0],
        },
        "place": {},
    }
    row, bare = content["rows"]
    assert list(row) == [
        "model",
        "artifact",
        "target",
        "size",
        "latency_ms",
        "speedup",
        "precision",
        "params",
        "macs",
        "bytes",
        "counts",
        "quality",
    ]
    samples = row["latency_ms"].pop("samples")
    assert samples == [4.0, 6.0, 5.0]
    assert row["latency_ms"] == pytest.approx({"median": 5.0, "iqr": 1.0, "p95": 5.9})
    assert row["speedup"] == {"median": 40.0, "low": 39.0, "high": 41.5}
    assert (bare["params"], bare["macs"], bare["quality"]) == (None, None, None)


def test_a_row_says_whether_its_interval_is_narrow_enough_and_what_would_make_it_so():
    row, _ = RESULT.to_dict()["rows"]
    assert row["precision"] == {"verdict": "CONCLUSIVE", "tolerance": 0.05, "more_rounds": None}
    # the width goes with 1 / sqrt(rounds): of 3 rounds 10 % are 5 % after 3 * (ln 1.1 / ln 1.05)²,
    # that is 11.4
    noisy = dataclasses.replace(ROW, speedup=Interval(median=40.0, low=39.0, high=44.0))
    result = dataclasses.replace(RESULT, rows=(noisy,))
    assert result.to_dict()["rows"][0]["precision"] == {
        "verdict": "INCONCLUSIVE",
        "tolerance": 0.05,
        "more_rounds": 9,
    }
    hopeless = dataclasses.replace(ROW, speedup=Interval(median=40.0, low=0.01, high=1e6))
    result = dataclasses.replace(RESULT, rows=(hopeless,))
    assert result.to_dict()["rows"][0]["precision"]["more_rounds"] is None


def test_what_was_watched_and_what_it_costs_stand_in_the_json_where_somebody_looked():
    reference = dataclasses.replace(
        RESULT.references[0],
        watch=MachineNoise(void_rounds=2, drifting_rounds=0, unsteady_sessions=0, tick_ns=40),
        peaks=Peaks(threads=2, int8_gmac_s=200.0, float_gmac_s=50.0, bandwidth_gb_s=10.0),
    )
    row = dataclasses.replace(
        ROW,
        provider="CPUExecutionProvider",
        footprint=Footprint(peak_bytes=9, network_bytes=4, cold_start_ms=50.0, arena_bytes=3),
        throughput=Throughput(frames_per_second=210.0, graph_batch=1, energy_mj=12.5),
        roofline=Roofline(
            precision="int8",
            intensity=30.0,
            attainable_gmac_s=200.0,
            achieved_gmac_s=100.0,
            bound="compute",
        ),
    )
    content = dataclasses.replace(RESULT, references=(reference,), rows=(row,)).to_dict()
    assert content["references"][0]["watch"]["void_rounds"] == 2
    assert content["references"][0]["roofline"]["int8_gmac_s"] == 200.0
    (shown,) = content["rows"]
    assert shown["provider"] == "CPUExecutionProvider"
    assert shown["memory"] == {"peak_bytes": 9, "network_bytes": 4, "arena_bytes": 3}
    assert shown["throughput"]["frames_per_second"] == 210.0
    assert shown["throughput"]["energy_mj"] == 12.5
    assert shown["roofline"]["share"] == 0.5


def test_quality_has_plain_numbers_and_says_what_it_stands_on():
    quality = RESULT.to_dict()["rows"][0]["quality"]
    assert quality["style_ratio"] == 1.25
    assert quality["psnr_db"] is None
    assert quality["intervals"]["psnr_db"] == {"low": 30.0, "high": None}
    assert quality["flicker_ratio"] == 1.05
    assert quality["few_photos"] is True
    assert quality["sampled_photos"] == {"flicker_ratio": 1}
    assert quality["tails"] == {
        "style_ratio": {"p90": 1.4, "worst": None, "worst_photo": "sky.jpg"}
    }
    assert quality["style_source"] == "outputs"
    assert quality["teacher"] == "zoo:dusk/teacher"


def test_limits_may_be_set_on_medians_and_on_tails():
    numbers = QUALITY.numbers
    assert (numbers["style_ratio"], numbers["style_ratio_p90"]) == (1.25, 1.4)
    assert numbers["style_ratio_worst"] == math.inf
    assert "content_ratio_p90" not in numbers


def test_rows_are_read_with_their_tails_and_old_ones_without():
    content = RESULT.to_dict()["rows"][:1]
    (row,) = decode(rows_content(content), tuple[Row, ...], known_keys_only=False)
    assert row.quality == QUALITY
    del content[0]["quality"]["tails"]
    (row,) = decode(rows_content(content), tuple[Row, ...], known_keys_only=False)
    assert row.quality.tails == {}
    content[0]["quality"]["tails"] = {"style_ratio": {"p90": "high"}}
    with pytest.raises(DecodingError):
        decode(rows_content(content), tuple[Row, ...], known_keys_only=False)


def test_rows_of_an_older_nstc_have_the_names_that_metrics_have_now():
    content = RESULT.to_dict()["rows"][:1]
    old = content[0]["quality"]
    old |= {"edge_preservation": -0.05, "sampled_photos": {"edge_preservation": 2}}
    old["intervals"]["edge_preservation"] = {"low": -0.1, "high": None}
    old["tails"]["edge_preservation"] = {"p90": 0.1, "worst": 0.2, "worst_photo": "sky.jpg"}
    (row,) = decode(rows_content(content), tuple[Row, ...], known_keys_only=False)
    expected = Interval(median=-0.05, low=-0.1, high=math.inf)
    assert row.quality.metrics["edge_difference"] == expected
    assert row.quality.sampled_photos == {"edge_difference": 2}
    assert row.quality.numbers["edge_difference_worst"] == 0.2
    assert "edge_preservation" not in row.quality.numbers
    old["tails"] = old["sampled_photos"] = [1]
    with pytest.raises(DecodingError):
        decode(rows_content(content), tuple[Row, ...], known_keys_only=False)


def test_the_protocol_id_is_of_what_makes_numbers_comparable():
    def changed(**changes):
        return dataclasses.replace(PROTOCOL, **changes).id

    other_photos = dataclasses.replace(PROTOCOL.photos, list_sha256="00" * 32)
    renamed_photos = dataclasses.replace(PROTOCOL.photos, sets=("elsewhere",))
    same = [changed(rounds=99), changed(seed=7), changed(photos=renamed_photos)]
    different = [
        changed(size=128),
        changed(photos=other_photos),
        changed(vgg=None),
        changed(reference="0" * 64),
    ]
    assert set(same) == {PROTOCOL.id}
    assert len({PROTOCOL.id, *different}) == 5


def test_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "results" / "bench.json"
    RESULT.write(path)
    assert json.loads(path.read_text()) == RESULT.to_dict()
    assert [p.name for p in path.parent.iterdir()] == ["bench.json"]
    with pytest.raises(OutputError):
        RESULT.write(path / "below-a-file.json")


def test_the_first_schemas_one_reference_becomes_a_list():
    old = {"schema": "nstc.bench/1", "reference": {"model": "t"}, "rows": [1]}
    assert migrated(old) == {"schema": SCHEMA, "references": [{"model": "t"}], "rows": [1]}
    assert "reference" in old


def test_the_newest_is_left_alone():
    assert migrated({"schema": SCHEMA, "rows": []}) == {"schema": SCHEMA, "rows": []}


def test_what_is_missing_stays_missing():
    assert migrated({"schema": "nstc.bench/1"}) == {"schema": SCHEMA, "references": []}
