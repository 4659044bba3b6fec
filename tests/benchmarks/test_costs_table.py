import dataclasses
import io

from rich.console import Console

from nstc.benchmarks.result import BenchProtocol, BenchResult, LatencySummary, Reference, Row
from nstc.benchmarks.table import costs_table, has_costs
from nstc.benchmarks.timing.latency import Throughput
from nstc.benchmarks.timing.machine import Peaks, Roofline
from nstc.benchmarks.timing.statistics import Interval
from nstc.core.manifest import PhotoRecord
from nstc.runtime.footprint import Footprint

ROW = Row(
    model="zoo:starry-night",
    artifact="int8.512x512.onnx",
    target="cpu:2",
    size=512,
    latency_ms=LatencySummary.of((7.0,)),
    speedup=Interval(median=80.0, low=79.0, high=81.0),
    params=57_912,
    macs=940_000_000,
    size_bytes=81_300,
    quality=None,
    footprint=Footprint(
        peak_bytes=84_800_000, network_bytes=1, cold_start_ms=52.3, arena_bytes=3_160_000
    ),
    throughput=Throughput(
        frames_per_second=143.0, graph_batch=1, batched_frames_per_second=150.0, energy_mj=77.1
    ),
    roofline=Roofline(
        precision="int8",
        intensity=20.0,
        attainable_gmac_s=200.0,
        achieved_gmac_s=134.0,
        bound="compute",
    ),
)


def result_of(row: Row) -> BenchResult:
    return BenchResult(
        machine={},
        protocol=BenchProtocol(
            rounds=1,
            size=512,
            photos=PhotoRecord(count=1, sets=("samples",), list_sha256="0" * 64),
            seed=0,
            vgg=None,
            reference="1" * 64,
        ),
        references=(
            Reference(
                model="t",
                artifact="onnx",
                target="cpu:2",
                latency_ms=LatencySummary.of((560.0,)),
                peaks=Peaks(threads=2, int8_gmac_s=200.0, float_gmac_s=51.5, bandwidth_gb_s=9.5),
            ),
        ),
        rows=(row,),
    )


def shown(row: Row) -> str:
    sink = io.StringIO()
    Console(file=sink, width=100, color_system=None).print(costs_table(result_of(row)))
    return sink.getvalue()


def test_every_cost_has_a_column_and_nothing_is_cut_off():
    output = shown(ROW)
    [line] = [line for line in output.splitlines() if "512x512" in line and "cpu:2" in line]
    assert line.split()[3:] == ["143", "150", "77.1", "84.8", "3.16", "52.3", "134", "67.0"]
    assert "…" not in output
    assert "cpu:2 does 200 GMAC/s in int8, 51.5 in float, and moves 9.50 GB/s" in output
    assert "one picture a run is all that these graphs take: int8.512x512.onnx" in output


def test_a_column_that_no_row_has_anything_for_is_left_out():
    bare = dataclasses.replace(
        ROW,
        footprint=None,
        roofline=None,
        throughput=Throughput(frames_per_second=143.0, graph_batch="any"),
    )
    output = shown(bare)
    for heading in ("batches", "mJ", "peak", "arena", "roof"):
        assert heading not in output
    assert "143" in output
    assert "one picture" not in output
    assert has_costs(result_of(bare))
    assert not has_costs(result_of(dataclasses.replace(bare, throughput=None)))
