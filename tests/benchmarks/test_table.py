import dataclasses
import io
import math

from rich.console import Console

from nstc.benchmarks.quality.metrics import METRICS
from nstc.benchmarks.result import (
    BenchProtocol,
    BenchResult,
    LatencySummary,
    OptimizedRow,
    Quality,
    Reference,
    Row,
)
from nstc.benchmarks.table import result_table, summary
from nstc.benchmarks.timing.statistics import Interval, Tail
from nstc.core.manifest import PhotoRecord
from nstc.runtime.footprint import Footprint


def spread(median: float) -> Interval:
    return Interval(median=median, low=median * 0.95, high=median * 1.05)


def quality(**changes) -> Quality:
    names = ("style_ratio", "content_ratio", "ssim", "psnr_db", "feature_distance")
    return Quality(
        **{
            "metrics": dict(zip(names, map(spread, (1.273, 1.14, 0.81, 21.0, 0.7)), strict=True)),
            "photos": 12,
            "teacher": "zoo:starry-night/teacher",
            "style_source": "painting",
            **changes,
        }
    )


STUDENT = Row(
    model="zoo:starry-night",
    artifact="int8.onnx",
    target="cpu:2",
    size=512,
    latency_ms=LatencySummary.of((6.8, 6.9, 7.1)),
    speedup=Interval(median=145.24, low=139.9, high=151.6),
    params=57_912,
    macs=940_000_000,
    size_bytes=81_300,
    quality=quality(),
)


OPTIMIZED = OptimizedRow(
    model="zoo:starry-night/teacher",
    artifact="optimized",
    size=512,
    steps=500,
    seconds=142.6,
    quality=quality(metrics={"style_ratio": spread(0.62), "content_ratio": spread(0.97)}),
)


def shown(
    *rows: Row,
    place: dict[str, str] | None = None,
    optimized: tuple[OptimizedRow, ...] = (),
    width: int = 100,
    every: bool = False,
) -> str:
    result = BenchResult(
        machine={},
        protocol=BenchProtocol(
            rounds=15,
            size=512,
            photos=PhotoRecord(count=12, sets=("samples",), list_sha256="0" * 64),
            seed=0,
            vgg="0" * 64,
            reference="1" * 64,
        ),
        references=(
            Reference(
                model="zoo:starry-night/teacher",
                artifact="onnx",
                target="cpu:2",
                latency_ms=LatencySummary.of((586.4, 586.0, 590.0)),
                place=place or {},
            ),
        ),
        rows=rows,
        optimized=optimized,
    )
    sink = io.StringIO()
    table = result_table(result, narrow=width < 100, wide=width > 100, every=every)
    Console(file=sink, width=width, color_system=None).print(table)
    return sink.getvalue()


def judged_by_all(worst: float = 1.618, photo: str = "sky.jpg", **changes) -> Row:
    medians = {own.name: spread(0.5) for own in METRICS} | quality().metrics
    tails = {"style_ratio": Tail(p90=1.413, worst=worst, worst_photo=photo)}
    return dataclasses.replace(
        STUDENT, quality=quality(metrics={**medians, **changes}, tails=tails)
    )


def test_a_wide_table_has_six_metrics_and_a_narrower_one_three():
    row = judged_by_all(local_style_distance=spread(0.44), flicker_ratio=spread(0.77))
    unjudged = dataclasses.replace(STUDENT, model="zoo:udnie", quality=None)
    wide = shown(row, unjudged, width=120)
    assert line_with("zoo:starry-night int8.onnx cpu:2", wide)[9:] == [
        *("1.27", "1.14", "0.44", "0.81", "0.50", "0.77"),
    ]
    assert line_with("zoo:udnie", wide)[9:] == ["-"] * 6
    assert line_with("int8.onnx cpu:2", shown(row))[9:] == ["1.27", "1.14", "0.81"]


def test_a_table_of_all_metrics_has_the_worst_photographs_numbers_too():
    row = judged_by_all(psnr_db=spread(math.inf), edge_difference=spread(-0.07))
    text = shown(row, width=300, every=True)
    cells = line_with("int8.onnx cpu:2", text)[9:]
    assert len(cells) == len(METRICS) + 2
    assert cells[:4] == ["1.27", "1.41", "1.62", "1.14"]
    assert {"∞", "-0.07"} <= set(cells)
    assert all(word in text for word in ("p90", "drift", "histogram", "lightness", "difference"))
    assert "drift" not in shown(row, width=120)


def test_the_worst_photograph_is_named_once_for_all_rows_at_any_width():
    rows = (judged_by_all(1.3, "sea.jpg"), judged_by_all(1.618, "[b]sky[/b].jpg"))
    rows = (rows[0], dataclasses.replace(rows[1], artifact="onnx"))
    line = "worst photograph, style ratio: [b]sky[/b].jpg, 1.62 by zoo:starry-night onnx"
    for width in (80, 100, 120):
        text = " ".join(shown(*rows, width=width).split())
        assert line in text
        assert text.count("worst photograph") == 1
    assert "worst photograph" not in shown(STUDENT)
    endless = judged_by_all(math.inf, "sea.jpg")
    assert "sea.jpg, ∞ by" in shown(rows[1], endless)


def test_a_table_of_rows_that_were_not_judged_has_no_column_of_quality():
    assert "SSIM" not in shown(dataclasses.replace(STUDENT, quality=None))


def line_with(text: str, output: str) -> list[str]:
    [line] = [line for line in output.splitlines() if text in line]
    return line.split()


def test_a_row_has_every_number_with_its_unit_in_the_heading():
    output = shown(STUDENT)
    assert line_with("int8.onnx", output) == [
        "zoo:starry-night",
        "int8.onnx",
        "cpu:2",
        "6.90",
        "145",
        "(140-152)",
        "57.9k",
        "940M",
        "81.3",
        "1.27",
        "1.14",
        "0.81",
    ]
    for heading in ("model", "artifact", "target", "ms", "params", "MACs", "KB", "SSIM"):
        assert heading in output


def test_optimised_pictures_have_quality_alone_and_their_budget_below():
    output = shown(STUDENT, optimized=(OPTIMIZED,))
    [line] = [line.split() for line in output.splitlines() if " optimized " in f"{line} "[16:]][:1]
    assert line[-10:] == ["optimized", "-", "-", "-", "-", "-", "-", "0.62", "0.97", "-"]
    assert (
        "optimized: images in the style of zoo:starry-night/teacher, without a network, 500 steps "
        "and 143 s each" in " ".join(output.split())
    )
    assert "optimized" not in shown(STUDENT)


def test_they_fit_80_columns():
    output = shown(STUDENT, optimized=(OPTIMIZED,), width=80)
    assert all(len(line) <= 80 for line in output.splitlines())
    for text in ("optimized", "0.62", "0.97", "int8.onnx", "(140-152)"):
        assert text in output


def test_nothing_is_cut_off_at_100_columns():
    long = dataclasses.replace(
        STUDENT, model="zoo:starry-night/teacher", artifact="int8.512x512.onnx", macs=40_315_000_000
    )
    output = shown(STUDENT, long)
    assert all(len(line) <= 100 for line in output.splitlines())
    assert "…" not in output
    for text in ("int8.512x512.onnx", "40.3G", "(140-152)", "1.27", "0.81"):
        assert text in output


def test_the_caption_says_beside_what_and_how():
    caption = " ".join(shown(STUDENT).split())
    assert "cpu:2: times faster than zoo:starry-night/teacher onnx, 586 ms" in caption
    assert "512x512 px, 15 rounds, protocol " in caption
    assert "12 photographs (fewer than 20" in caption
    enough = dataclasses.replace(STUDENT, quality=quality(photos=20))
    assert "fewer than" not in shown(enough)


def test_a_style_without_a_painting_is_marked_and_explained():
    output = shown(dataclasses.replace(STUDENT, quality=quality(style_source="outputs")))
    assert "1.27†" in line_with("int8.onnx", output)
    assert "† no painting is known" in output
    assert "†" not in shown(STUDENT)


def test_what_is_not_known_is_a_dash():
    bare = dataclasses.replace(STUDENT, params=None, macs=None, quality=None)
    text = shown(bare, dataclasses.replace(STUDENT, artifact="onnx"))
    assert line_with("int8.onnx", text).count("-") == 5


def test_noisy_rows_are_marked_and_explained_once_with_what_would_settle_them():
    noisy = dataclasses.replace(STUDENT, speedup=Interval(median=145.0, low=130.0, high=152.0))
    noisier = dataclasses.replace(STUDENT, speedup=Interval(median=145.0, low=110.0, high=152.0))
    output = " ".join(shown(noisy, noisier).split())
    assert "145 (130-152)‡" in output
    # 3 * (ln(145 / 110) / ln(1.05))² is 96.0; of the other row, with 130, 15.02
    assert output.count("INCONCLUSIVE") == 1
    assert "more than 5%. Use an idle machine, or --rounds 97." in output
    assert "--rounds 16." in " ".join(shown(noisy).split())
    assert "INCONCLUSIVE" not in shown(STUDENT)


def test_a_noisy_row_that_no_rounds_would_settle():
    torn = dataclasses.replace(STUDENT, speedup=Interval(median=145.0, low=0.1, high=152.0))
    assert torn.more_rounds is None
    assert "idle machine; more rounds would not settle every row." in " ".join(shown(torn).split())


def test_paths_are_shortened_as_far_as_they_stay_apart():
    rows = [
        dataclasses.replace(STUDENT, model=f"/long/way/{folder}/student", artifact=artifact)
        for folder, artifact in (("a", "one"), ("b", "two"), ("b", "three"))
    ]
    output = shown(*rows)
    assert line_with(" one ", output)[0] == "a/student"
    assert line_with(" two ", output)[0] == line_with(" three ", output)[0] == "b/student"
    assert line_with(" one ", shown(rows[0]))[0] == "student"


def test_the_summary_of_a_row_is_one_line():
    assert summary(STUDENT) == (
        "int8.onnx 6.90 ms, 145 times faster, 81.3 KB, "
        "style_ratio 1.27, content_ratio 1.14, ssim 0.81"
    )
    assert summary(dataclasses.replace(STUDENT, quality=None)).endswith("81.3 KB")


def test_a_machines_address_is_folded_and_cuts_nothing_off():
    address = "ssh://measure@board-in-the-cellar:2222?threads=2&python=/opt/venv/bin/python"
    footprint = Footprint(peak_bytes=79_712_256, network_bytes=12_963_840, cold_start_ms=89.2)
    text = shown(dataclasses.replace(STUDENT, target=address, footprint=footprint))
    assert "…" not in text
    assert "145 (140-152)" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_what_a_target_counted_stands_below() -> None:
    row = dataclasses.replace(
        STUDENT,
        artifact="pte",
        target="executorch",
        counts={"delegates": 1, "operators_outside": 2},
    )
    output = shown(STUDENT, row)
    assert "zoo:starry-night pte on executorch: 1 delegates, 2 operators outside" in output
    assert "on cpu:2: " not in output


def test_the_device_is_named_where_the_target_names_one() -> None:
    assert "onnx, 586 ms, on this machine" in shown(STUDENT, place={"device": "this machine"})
    assert ", on " not in shown(STUDENT)


def test_a_metric_of_another_package_has_a_column_if_it_has_a_label(install_extension):
    judged = dataclasses.replace(
        STUDENT, quality=quality(metrics={**quality().metrics, "haze": spread(0.37)})
    )
    code = "from nstc.benchmarks.quality.metrics import Metric\nHAZE = Metric('haze', min%s)\n"
    assert "0.37" not in shown(judged), "nobody here knows it"
    install_extension("nstc-haze", {"nstc.metrics": {"haze": "HAZE"}}, code % ", label='haze'")
    text = shown(judged, STUDENT)
    assert "haze" in text
    assert "0.37" in text
