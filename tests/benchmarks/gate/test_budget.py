import dataclasses
import math

import pytest

from nstc.benchmarks.gate.limits import Budget, Limit, numbers_of, parse_budget
from nstc.benchmarks.result import LatencySummary, Quality, Row
from nstc.benchmarks.timing.statistics import Interval, Tail
from nstc.core.errors import BudgetError, OptionError

BUDGET = "style_ratio<=1.1, speedup >= 50,bytes<=100KB, macs<=0.7G"


def interval(value: float) -> Interval:
    return Interval(median=value, low=value, high=value)


@pytest.fixture
def row() -> Row:
    """Keeps to the budget in everything, in nothing by much."""
    return Row(
        model="out/student",
        artifact="int8.onnx",
        target="cpu:1",
        size=512,
        latency_ms=LatencySummary.of((8.0,) * 3),
        speedup=interval(50.0),
        params=40_000,
        macs=700_000_000,
        size_bytes=100_000,
        quality=Quality(
            metrics={"style_ratio": interval(1.1), "content_ratio": interval(1.3)},
            photos=3,
            teacher="teacher",
            style_source="painting",
        ),
    )


def test_limits_as_a_user_writes_them():
    assert parse_budget(BUDGET) == Budget(
        (
            Limit("style_ratio", True, 1.1),
            Limit("speedup", False, 50),
            Limit("bytes", True, 100_000),
            Limit("macs", True, 0.7e9),
        )
    )
    assert [str(limit) for limit in parse_budget("ssim>=.5".replace(".", "0.")).limits] == [
        "ssim>=0.5"
    ]


def test_an_older_name_of_a_metric_is_taken_for_its_name():
    assert parse_budget("edge_preservation>=0") == Budget((Limit("edge_difference", False, 0),))


def test_a_metric_of_another_package_has_limits_too(install_extension):
    install_extension("nstc-haze", {"nstc.metrics": {"haze": "HAZE"}}, "")
    assert parse_budget("haze<=0.2") == Budget((Limit("haze", True, 0.2),))


def test_a_tail_of_another_packages_metric_has_limits_too(install_extension):
    code = (
        "from nstc.benchmarks.quality.metrics import Metric, Tolerance\n"
        "HAZE = Metric('haze', lambda own, other: 1.0, tail=Tolerance(0.1))\n"
        "FOG = Metric('fog', lambda own, other: 1.0)\n"
    )
    install_extension("nstc-haze", {"nstc.metrics": {"haze": "HAZE", "fog": "FOG"}}, code)
    limits = (Limit("haze_worst", True, 0.2), Limit("haze_p90", True, 0.1))
    assert parse_budget("haze_worst<=0.2, haze_p90<=0.1") == Budget(limits)
    with pytest.raises(OptionError, match=r"there is no fog_worst.*haze_worst"):
        parse_budget("fog_worst<=0.2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("style_ratio", "not a limit"),
        ("", "not a limit"),
        ("speedup=50", "not a limit"),
        ("bytes<=100XB", "not a limit"),
        ("speedup<=-1", "not a limit"),
        ("style_ration<=1.1", "Did you mean style_ratio"),
        ("speedup>=60, speedup<=50", "can't both be kept"),
        ("style_ratio<=100KB", "not a limit: expected a number such as 1.1"),
        ("macs<=8KB", "not a limit: expected a number such as 400M"),
        ("bytes<=8ms@cpu:1", "not a limit: expected a size such as 100KB"),
        ("latency<=8", "not a limit: expected a time on a target, such as 8ms@cpu:1"),
        ("latency<=8s@cpu:1", "not a limit: expected a time on a target"),
        ("latency<=0ms@cpu:1", "not a limit: expected a time on a target"),
        ("latency<=8ms@abacus", "no target 'abacus'"),
        ("latency<=8ms@cpu:1, latency>=9ms@cpu:1", "can't both be kept"),
    ],
)
def test_what_is_no_budget(text, said):
    with pytest.raises(OptionError, match=said):
        parse_budget(text)


def test_a_latency_is_that_of_its_target(row):
    budget = parse_budget("latency<=8ms@cpu:1, latency<=1.5ms@cpu:2")
    assert [str(own) for own in budget.limits] == ["latency<=8ms@cpu:1", "latency<=1.5ms@cpu:2"]
    assert (budget.targets, budget.judges_quality) == (("cpu:1", "cpu:2"), False)
    other = dataclasses.replace(row, target="cpu:2", latency_ms=LatencySummary.of((1.6,)))
    budget.hold("pruned", [row], "out")
    with pytest.raises(BudgetError, match=r"'student': latency@cpu:2 1\.6 \(latency<=1\.5ms@cpu:2"):
        budget.hold("student", [row, other], "out")
    with pytest.raises(BudgetError, match="latency@cpu:2 not measured"):
        budget.hold("student", [row], "out")
    faster = dataclasses.replace(other, latency_ms=LatencySummary.of((1.5,)))
    budget.hold("student", [row, faster], "out")


@pytest.mark.parametrize(
    ("text", "excess"),
    [
        ("bytes<=100KB", 0),
        ("bytes<=80KB", 0.25),
        ("speedup>=50", 0),
        ("speedup>=75", 0.5),
        ("ssim>=0.5", math.inf),
        ("style_ratio<=0", math.inf),
    ],
)
def test_how_far_a_limit_is_from_being_kept(row, text, excess):
    (limit,) = parse_budget(text).limits
    assert limit.excess(numbers_of([row])) == pytest.approx(excess)


def test_limits_are_inclusive(row):
    for stage in ("distilled", "pruned", "student"):
        parse_budget(BUDGET).hold(stage, [row], "out/student")


@pytest.mark.parametrize(
    ("changes", "name", "first"),
    [
        ({"size_bytes": 100_001}, "bytes", "student"),
        ({"speedup": interval(49.9)}, "speedup", "student"),
        ({"macs": 700_000_001}, "macs", "pruned"),
        ({"macs": None}, "macs", "pruned"),
        ({"quality": None}, "style_ratio", "distilled"),
    ],
)
def test_each_number_breaks_the_budget_from_its_stage_on(row, changes, name, first):
    stages = ["distilled", "pruned", "student"]
    broken = dataclasses.replace(row, **changes)
    budget = parse_budget(BUDGET)
    for stage in stages[: stages.index(first)]:
        budget.hold(stage, [broken], "out")
    for stage in stages[stages.index(first) :]:
        with pytest.raises(BudgetError, match=f"broke at the stage '{stage}': {name}"):
            budget.hold(stage, [broken], "out")


def test_the_worst_photograph_has_a_limit(row):
    tails = {"style_ratio": Tail(p90=1.3, worst=1.7, worst_photo="a.jpg")}
    found = dataclasses.replace(row, quality=dataclasses.replace(row.quality, tails=tails))
    parse_budget("style_ratio_p90<=1.3, style_ratio_worst<=1.7").hold("distilled", [found], "out")
    with pytest.raises(BudgetError, match=r"style_ratio_worst 1\.7 \(style_ratio_worst<=1\.6\)"):
        parse_budget("style_ratio_worst<=1.6").hold("distilled", [found], "out")
    with pytest.raises(BudgetError, match="not measured"):
        parse_budget("content_ratio_worst<=1.6").hold("distilled", [found], "out")
    with pytest.raises(OptionError, match="there is no ssim_worst"):
        parse_budget("ssim_worst>=0.5")


def test_the_message_has_what_was_reached(row):
    with pytest.raises(BudgetError) as caught:
        parse_budget("content_ratio<=1.2, speedup>=40").hold("distilled", [row], "out/distilled")
    for words in ("content_ratio 1.3 (content_ratio<=1.2)", "speedup 50", "out/distilled"):
        assert words in str(caught.value)


def test_a_number_that_is_none_keeps_to_nothing(row):
    quality = dataclasses.replace(row.quality, metrics={"style_ratio": interval(float("nan"))})
    nan = dataclasses.replace(row, quality=quality)
    assert not Limit("style_ratio", True, 9.0).is_kept_by(numbers_of([nan]))
