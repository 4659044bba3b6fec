import xml.etree.ElementTree as ElementTree

import pytest

from nstc.benchmarks.report.plots import SVG, dominant, frontier_plot, frontier_points, layer_plot


def parsed(svg):
    return ElementTree.fromstring(svg)  # noqa: S314  (what matplotlib wrote just now)


def words(svg):
    return [element.text for element in parsed(svg).iter(f"{{{SVG}}}text")]


@pytest.fixture
def runs(read, make_row):
    fast = make_row(160.0, 1.9, model="/m/narrow", artifact="onnx")
    beaten = make_row(30.0, 2.5, model="/m/poor")
    monday = read(make_row(), fast, beaten, make_row(quality=None))
    return [monday, read(make_row(32.0, 1.4), name="pi")]


def test_judged_rows_are_points_by_speedup(runs):
    points, by_speedup = frontier_points(runs)
    assert by_speedup
    assert [(p.number, p.run, p.x.median, p.y.median) for p in points] == [
        (1, 0, 40.0, 1.25),
        (2, 0, 160.0, 1.9),
        (3, 0, 30.0, 2.5),
        (5, 1, 32.0, 1.4),
    ]


def test_the_frontier_is_of_rows_that_no_other_beats(runs):
    points, _ = frontier_points(runs[:1])
    assert [p.number for p in dominant(points, by_speedup=True)] == [1, 2]
    assert [p.number for p in dominant(points, by_speedup=False)] == [1, 3]


def test_rows_slower_than_the_reference_are_points_too(read, make_row):
    points, by_speedup = frontier_points([read(make_row(0.5, 0.9), make_row(1.0, 0.8))])
    assert by_speedup
    assert [(p.x.median, p.y.median) for p in points] == [(0.5, 0.9), (1.0, 0.8)]


def test_latency_stands_in_where_a_speedup_is_missing(read, make_row):
    points, by_speedup = frontier_points([read(make_row(), make_row(speedup=None))])
    assert not by_speedup
    assert (points[0].x.median, points[0].x.low, points[0].x.high) == (5.0, 4.5, 5.5)


def test_nothing_to_plot(read, make_row, make_quality):
    assert frontier_plot([read(make_row(quality=None))]) is None
    infinite = make_quality(1.0)
    infinite["style_ratio"] = None
    assert frontier_plot([read(make_row(quality=infinite))]) is None


def test_the_plot_is_text_in_both_schemes_and_widths(runs):
    plot = frontier_plot(runs)
    assert [(scheme, layout) for scheme, layout, _ in plot] == [
        ("light", "wide"),
        ("light", "narrow"),
        ("dark", "wide"),
        ("dark", "narrow"),
    ]
    wide = words(plot[0][2])
    assert {"zoo:dusk int8.onnx", "narrow onnx", "times faster than the reference →"} <= set(wide)
    assert {"monday", "pi"} <= {word.strip() for word in wide}


def test_no_two_forms_share_an_id_and_none_styles_the_page(runs):
    ids = []
    for _, _, svg in frontier_plot(runs):
        root = parsed(svg)
        ids += [element.get("id") for element in root.iter() if element.get("id")]
        assert not list(root.iter(f"{{{SVG}}}style"))
        for element in root.iter():
            if element.get("href"):
                assert element.get("href").removeprefix("#") in ids
    assert len(ids) == len(set(ids))


def test_the_same_runs_give_the_same_plot(runs):
    assert frontier_plot(runs) == frontier_plot(runs)


@pytest.mark.parametrize("name", ["$\\frac{", "_under", "夜", "<b>&amp;"])
def test_names_are_only_words(read, make_row, name):
    run = read(make_row(model=name), make_row(20.0, 1.1))
    drawn = "".join(word for word in words(frontier_plot([run])[0][2]) if word)
    assert name in drawn


def test_a_name_without_room_is_the_number_of_its_row(read, make_row):
    run = read(make_row(model="x" * 300), make_row(20.0, 1.1))
    assert {"#1", "zoo:dusk int8.onnx"} <= set(words(frontier_plot([run])[0][2]))


def test_wide_ranges_and_infinite_ends(read, make_row, make_quality):
    far = make_quality(90.0)
    far["intervals"]["style_ratio"] = {"low": None, "high": None}
    assert frontier_plot([read(make_row(), make_row(quality=far))]) is not None


def test_layers_are_shares_by_type():
    plot = layer_plot(
        {"dusk": {"Conv": 3.0, "Mul": 1.0}, "dawn": {f"Op{i}": 1.0 for i in range(9)}}
    )
    drawn = words(plot[0][2])
    assert {"dusk: 4.00 ms", "dawn: 9.00 ms", "Conv", "other"} <= set(drawn)
    numbers = [word for word in drawn if word.lstrip("\N{MINUS SIGN}").replace(".", "").isdigit()]
    assert numbers == ["0", "20", "40", "60", "80", "100"]  # of the shares; rows have names
