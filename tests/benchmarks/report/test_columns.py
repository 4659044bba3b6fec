from nstc.benchmarks.report.page import render_page, table_columns
from nstc.benchmarks.report.stored_results import row_names


def by_heading(*runs, every=False):
    return {column.heading: column for column in table_columns(runs, every=every)}


def test_every_number_has_its_column_with_its_interval(read):
    columns = by_heading(read(), every=True)
    shown = {
        name: (column.cells[0].text, column.cells[0].interval) for name, column in columns.items()
    }
    assert shown == {
        "model": ("zoo:dusk", ""),
        "artifact": ("int8.onnx", ""),
        "target": ("cpu:2", ""),
        "size": ("64", ""),
        "latency": ("5.00", "IQR 1.00"),
        "times faster": ("40.0", "36.0 to 44.0"),
        "parameters": ("33.0k", ""),
        "MACs": ("540M", ""),
        "file": ("56.0 KB", ""),
        "style_ratio": ("1.25", "1.12 to 1.50"),
        "ssim": ("0.72", "0.70 to 0.74"),
        "psnr_db": ("∞", "30.0 to ∞"),
    }


def test_memory_has_columns_where_a_row_has_it(read, make_row):
    memory = {"peak_bytes": 81_000_000, "cold_start_ms": 42.5, "allocator": "arena"}
    columns = by_heading(read(make_row(memory=memory), make_row()))
    assert [cell.text for cell in columns["peak bytes"].cells] == ["81.0 MB", "–"]
    assert columns["cold start ms"].cells[0].text == "42.5 ms"
    assert "allocator" not in columns


def test_columns_that_nobody_fills_are_left_out(read, make_row):
    columns = by_heading(read(make_row(params=None, macs=None, quality=None, speedup=None)))
    assert not {"parameters", "MACs", "style_ratio", "times faster", "run"} & set(columns)


def test_rows_are_named_by_what_tells_them_apart(read, make_row):
    one = read(make_row(model="/x/a/student"), make_row(model="/x/b/student", target="cpu:1"))
    assert row_names([one]) == ["a/student int8.onnx cpu:2", "b/student int8.onnx cpu:1"]
    two = [read(name="mon"), read(name="tue")]
    assert row_names(two) == ["zoo:dusk int8.onnx (mon)", "zoo:dusk int8.onnx (tue)"]
    assert [cell.text for cell in by_heading(*two)["run"].cells] == ["mon", "tue"]


def test_arrows_point_where_the_metrics_say(read, make_row, make_quality):
    metrics = {"ssim": 0.7, "style_ratio": 1.2, "lightness_shift": 0.4, "of_tomorrow": 1.0}
    intervals = {name: {"low": value, "high": value} for name, value in metrics.items()}
    quality = {**make_quality(1.2), **metrics, "intervals": intervals}
    run = read(make_row(quality=quality))
    columns = by_heading(run, every=True)
    assert [columns[name].hint for name in metrics] == ["↑ 95 %", "↓ 95 %", "95 %", "95 %"]
    assert metrics.keys() & by_heading(run) == {"ssim", "style_ratio"}


def test_the_page_has_all_metrics_if_they_are_asked_for(read, page_of):
    run = read()
    assert "psnr_db" in page_of(render_page([run], all_metrics=True)).sections["rows"]
    assert "psnr_db" not in page_of(render_page([run])).sections["rows"]


def test_optimised_pictures_stand_last_with_their_budget(read, make_row, make_quality):
    floor = {
        "model": "zoo:dusk/teacher",
        "artifact": "optimized",
        "size": 64,
        "steps": 500,
        "seconds": 142.6,
        "quality": make_quality(0.6),
    }
    run = read(make_row(), optimized=[floor])
    columns = by_heading(run)
    found = {heading: [cell.text for cell in own.cells] for heading, own in columns.items()}
    assert found["model"] == ["zoo:dusk", "zoo:dusk/teacher"]
    assert found["artifact"] == ["int8.onnx", "optimized"]
    assert found["latency"][1] == found["times faster"][1] == found["file"][1] == "–"
    assert found["style_ratio"] == ["1.25", "0.60"]
    assert found["optimizer steps"] == ["–", "500"]
    assert found["optimized in"] == ["–", "143"]
    assert all(len(own.cells) == 2 for own in columns.values())
    assert "optimizer steps" not in by_heading(read(make_row()))


def test_the_page_has_their_row_and_says_what_it_is(read, make_row, make_quality, page_of):
    floor = {
        "model": "zoo:dusk/teacher",
        "artifact": "optimized",
        "size": 64,
        "steps": 500,
        "seconds": 142.6,
        "quality": make_quality(0.6),
    }
    words = page_of(render_page([read(make_row(), optimized=[floor])])).sections["rows"]
    assert "zoo:dusk/teacher" in words
    assert "have no network" in words
    without = page_of(render_page([read(make_row())])).sections["rows"]
    assert "optimized" not in without


def test_the_worst_photograph_is_named_in_the_metrics_cell(read, make_row, make_quality):
    tails = {"style_ratio": {"p90": 1.4, "worst": None, "worst_photo": "sky.jpg"}}
    columns = by_heading(read(make_row(quality=make_quality(1.2, tails=tails)), make_row()))
    assert [own.interval for own in columns["style_ratio"].cells] == [
        "1.08 to 1.44, worst ∞: sky.jpg",
        "1.12 to 1.50",
    ]
    assert not any("worst" in heading for heading in columns)


def test_the_worst_photograph_has_columns_among_all_metrics(read, make_row, make_quality):
    tails = {"style_ratio": {"p90": 1.4, "worst": None, "worst_photo": "sky.jpg"}}
    run = read(make_row(quality=make_quality(1.2, tails=tails)), make_row())
    columns = by_heading(run, every=True)
    cells = columns["style_ratio p90"].cells
    assert [(own.text, own.interval) for own in cells] == [("1.40", ""), ("–", "")]
    assert (columns["style_ratio worst"].cells[0].text) == "∞"
    assert columns["style_ratio worst"].cells[0].interval == "sky.jpg"
    assert "ssim p90" not in columns
    assert "style_ratio p90" not in by_heading(read(), every=True)
    assert not any(path.startswith("quality.tails") for row in run.rows for path in row.extra)
