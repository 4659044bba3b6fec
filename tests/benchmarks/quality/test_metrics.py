import dataclasses
import math

import numpy as np
import pytest
import torch

from nstc.benchmarks.quality import metrics
from nstc.benchmarks.quality.local_style import window_moments
from nstc.benchmarks.quality.metrics import (
    METRICS,
    Better,
    Metric,
    StylisedPhoto,
    Tolerance,
    available_metrics,
    known_metric,
    metric_of,
    metric_of_number,
    unavailable_metrics,
)
from nstc.core.errors import ExtensionError
from nstc.models.losses import STYLE_LAYERS

BY_NAME = {metric.name: metric for metric in METRICS}


def look(
    pixels=None, *, photo=None, style_loss=1.0, content_loss=1.0, feature=1.0, flicker=None
) -> StylisedPhoto:
    if pixels is None:
        pixels = np.full((16, 16, 3), 100, np.uint8)
    if photo is None:
        photo = np.full_like(pixels, 30)
    features = {name: torch.full((1, 2, 4, 4), feature) for name in ("relu2_2", "relu3_3")}
    return StylisedPhoto(
        photo=photo,
        pixels=pixels,
        features=features,
        style_loss=style_loss,
        content_loss=content_loss,
        window_moments=window_moments(dict.fromkeys(STYLE_LAYERS, features["relu2_2"]), (64, 64)),
        flicker=flicker,
    )


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def compute(name: str, candidate: StylisedPhoto, reference: StylisedPhoto) -> float | None:
    return BY_NAME[name].compute(candidate, reference)


def test_metrics_are_those_of_the_results_schema_with_their_direction():
    assert [(m.name, m.unit, m.better) for m in METRICS] == [
        ("style_ratio", "", "↓"),
        ("content_ratio", "", "↓"),
        ("local_style_distance", "", "↓"),
        ("ssim", "", "↑"),
        ("psnr_db", "dB", "↑"),
        ("feature_distance", "", "↓"),
        ("color_drift", "ΔE", "↓"),
        ("histogram_distance", "CIELAB", "↓"),
        ("lightness_shift", "L*", ""),
        ("checkerboard_ratio", "", "↓"),
        ("edge_difference", "", "↑"),
        ("flicker_ratio", "", "↓"),
    ]


def test_ratios_are_the_candidates_loss_over_the_references():
    candidate, reference = look(style_loss=0.6, content_loss=0.3), look(style_loss=0.5)
    assert compute("style_ratio", candidate, reference) == pytest.approx(1.2)
    assert compute("content_ratio", candidate, reference) == pytest.approx(0.3)


def test_a_reference_without_loss_is_equalled_or_infinitely_far():
    perfect = look(style_loss=0.0)
    assert compute("style_ratio", look(style_loss=0.0), perfect) == 1.0
    assert compute("style_ratio", look(style_loss=0.1), perfect) == math.inf


def test_psnr_by_hand():
    # all bytes 40 apart: 10 log10(65025 / 1600) = 16.0896; a difference must not wrap around at 0
    dark = look(np.full((16, 16, 3), 2, np.uint8))
    bright = look(np.full((16, 16, 3), 42, np.uint8))
    assert compute("psnr_db", dark, bright) == pytest.approx(16.0896, abs=1e-4)
    assert compute("psnr_db", bright, dark) == pytest.approx(16.0896, abs=1e-4)


def test_equal_pictures():
    pixels = noise(0)
    assert compute("ssim", look(pixels), look(pixels.copy())) == 1.0
    assert compute("psnr_db", look(pixels), look(pixels.copy())) == math.inf
    assert compute("feature_distance", look(pixels), look(pixels.copy())) == 0.0
    assert compute("color_drift", look(pixels), look(pixels.copy())) == 0.0
    assert compute("histogram_distance", look(pixels), look(pixels.copy())) == 0.0
    assert compute("checkerboard_ratio", look(pixels), look(pixels.copy())) == 1.0
    photo = noise(1)
    candidate, reference = look(pixels, photo=photo), look(pixels.copy(), photo=photo)
    assert compute("edge_difference", candidate, reference) == 0.0


def test_ssim_of_two_flat_pictures_by_hand():
    # without variance only the luminance term is left: (2ab + C1) / (a² + b² + C1), C1 = 2.55²
    c1 = 2.55**2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    other = look(np.full((16, 16, 3), 150, np.uint8))
    assert compute("ssim", other, look()) == pytest.approx(expected, abs=1e-6)


def test_feature_distance_by_hand():
    # features 1.5 beside 1: 0.25 of the reference's squared norm, on each of two layers
    assert compute("feature_distance", look(feature=1.5), look()) == pytest.approx(0.5)


def test_local_style_by_hand():
    # 0.25 of the squared norm of the only window, on each of four layers
    found = compute("local_style_distance", look(feature=1.5), look())
    assert found == pytest.approx(1.0, rel=1e-4)
    assert compute("local_style_distance", look(), look()) == 0.0


def test_colours_by_hand():
    # black to white: ΔE 100; L* moves by 100, a* and b* not at all
    black, white = (look(np.full((16, 16, 3), level, np.uint8)) for level in (0, 255))
    assert compute("color_drift", white, black) == pytest.approx(100, abs=0.01)
    assert compute("histogram_distance", white, black) == pytest.approx(100 / 3, abs=0.01)


def test_a_grid_that_the_reference_has_not_is_finite_and_its_own_is_no_fault():
    # shares of 1 and 0 with a floor of 1e-4
    grid = np.full((16, 16, 3), 100, np.uint8)
    grid[:, ::2] = 140
    assert compute("checkerboard_ratio", look(grid), look()) == pytest.approx(10_001, rel=1e-6)
    assert compute("checkerboard_ratio", look(), look(grid)) == pytest.approx(1 / 10_001, rel=1e-6)
    assert compute("checkerboard_ratio", look(grid), look(grid.copy())) == 1.0


def test_edges_beside_those_that_the_reference_keeps():
    photo = noise(1)
    all_of_them, none = look(photo.copy(), photo=photo), look(photo=photo)
    assert compute("edge_difference", all_of_them, none) == pytest.approx(1.0)
    assert compute("edge_difference", none, all_of_them) == pytest.approx(-1.0)


def test_flicker_beside_the_references_where_it_was_measured():
    assert compute("flicker_ratio", look(flicker=0.03), look(flicker=0.02)) == pytest.approx(1.5)
    assert compute("flicker_ratio", look(flicker=0.0), look(flicker=0.0)) == 1.0
    assert compute("flicker_ratio", look(flicker=0.1), look(flicker=0.0)) == math.inf
    assert compute("flicker_ratio", look(), look(flicker=0.02)) is None


def test_six_metrics_at_most_are_shown_unless_all_are_asked_for():
    shown = [own.name for own in METRICS if own.label]
    assert shown == [
        "style_ratio",
        "content_ratio",
        "local_style_distance",
        "ssim",
        "checkerboard_ratio",
        "flicker_ratio",
    ]


def test_a_tail_has_the_tolerance_of_the_tail():
    for name in ("style_ratio_p90", "style_ratio_worst"):
        own = metric_of_number(name)
        assert (own.name, own.better) == (name, Better.LOWER)
        assert own.tolerance == BY_NAME["style_ratio"].tail
    assert metric_of_number("style_ratio") is BY_NAME["style_ratio"]
    assert metric_of_number("of_tomorrow_worst").name == "of_tomorrow_worst"


def test_less_is_better_wherever_the_worst_photograph_counts():
    assert {own.better for own in METRICS if own.tail is not None} == {Better.LOWER}


def test_what_is_missing_is_left_out_and_named(monkeypatch):
    lpips, dists = (
        dataclasses.replace(metric, missing=lambda why=why: why)
        for metric, why in zip(metrics.LEARNED, ("not installed", "nor this"), strict=True)
    )
    monkeypatch.setattr(metrics, "LEARNED", (lpips, dists))
    assert available_metrics() == METRICS
    assert unavailable_metrics() == {"lpips": "not installed", "dists": "nor this"}


def test_what_is_there_comes_last(monkeypatch):
    there = tuple(dataclasses.replace(own, missing=lambda: None) for own in metrics.LEARNED)
    monkeypatch.setattr(metrics, "LEARNED", there)
    monkeypatch.setattr(
        metrics, "load_lpips", lambda: lambda own, other: float(own.mean() - other.mean())
    )
    monkeypatch.setattr(
        metrics, "load_dists", lambda: lambda own, other: float(own.max()) - float(other.min())
    )
    *first, lpips, dists = available_metrics()
    assert tuple(first) == METRICS
    assert (lpips.name, lpips.unit, lpips.better) == ("lpips", "", "↓")
    candidate, reference = (look(np.full((16, 16, 3), level, np.uint8)) for level in (70, 30))
    assert lpips.compute(candidate, reference) == 40
    assert (dists.name, dists.compute(reference, candidate)) == ("dists", -40)
    assert unavailable_metrics() == {}


@pytest.mark.parametrize("better", [Better.HIGHER, Better.NEITHER])
def test_only_where_less_is_better_the_largest_may_be_the_worst(better) -> None:
    with pytest.raises(ValueError, match=r"haze has a tail: expected Better\.LOWER"):
        Metric("haze", lambda _own, _other: 1.0, better, tail=Tolerance(0.1))


class TestOfOtherPackages:
    CODE = (
        "from nstc.benchmarks.quality.metrics import Better, Metric\n"
        "HAZE = Metric('haze', lambda own, other: 1.0, Better.HIGHER)\n"
        "GONE = Metric('gone', lambda own, other: 1.0, missing=lambda: 'no weights')\n"
    )

    @pytest.fixture(autouse=True)
    def _installed(self, install_extension) -> None:
        parts = {"nstc.metrics": {"haze": "HAZE", "gone": "GONE"}}
        install_extension("nstc-haze", parts, self.CODE)

    def test_come_last_and_only_where_they_can_be_computed(self) -> None:
        names = [metric.name for metric in available_metrics()]
        assert names[: len(METRICS)] == list(BY_NAME)
        assert names[-1] == "haze"
        assert "gone" not in names

    def test_may_not_have_a_name_of_a_tail(self, install_extension) -> None:
        install_extension("nstc-fog", {"nstc.metrics": {"ssim_worst": "GONE"}}, self.CODE)
        with pytest.raises(ExtensionError, match=r"ssim_worst = .*ends in one of _p90, _worst"):
            available_metrics()

    def test_may_not_have_a_name_that_older_files_have_for_another(self, install_extension) -> None:
        code = "GONE = Metric('edge_preservation', min)\n"
        parts = {"nstc.metrics": {"edge_preservation": "GONE"}}
        install_extension("nstc-fog", parts, self.CODE + code)
        with pytest.raises(ExtensionError, match=r"has the name of one that nstc has"):
            available_metrics()

    def test_are_known_by_name_as_those_of_nowhere_are_not(self) -> None:
        assert metric_of("haze").better is Better.HIGHER
        assert known_metric("fog") is None
        assert metric_of("fog").better is Better.LOWER
