import math

import numpy as np
import pytest
import torch

from nstc.benchmarks.metrics import METRICS, Look

BY_NAME = {metric.name: metric for metric in METRICS}


def look(pixels=None, *, style_loss=1.0, content_loss=1.0, feature=1.0) -> Look:
    if pixels is None:
        pixels = np.full((16, 16, 3), 100, np.uint8)
    features = {name: torch.full((1, 2, 4, 4), feature) for name in ("relu2_2", "relu3_3")}
    return Look(pixels=pixels, features=features, style_loss=style_loss, content_loss=content_loss)


def compute(name: str, candidate: Look, reference: Look) -> float:
    return BY_NAME[name].compute(candidate, reference)


def test_metrics_are_those_of_the_results_schema_with_their_direction():
    assert [(m.name, m.unit, m.higher_is_better) for m in METRICS] == [
        ("style_ratio", "", False),
        ("content_ratio", "", False),
        ("ssim", "", True),
        ("psnr_db", "dB", True),
        ("feature_distance", "", False),
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
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert compute("ssim", look(pixels), look(pixels.copy())) == 1.0
    assert compute("psnr_db", look(pixels), look(pixels.copy())) == math.inf
    assert compute("feature_distance", look(pixels), look(pixels.copy())) == 0.0


def test_ssim_of_two_flat_pictures_by_hand():
    # without variance only the luminance term is left: (2ab + C1) / (a² + b² + C1), C1 = 2.55²
    c1 = 2.55**2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    other = look(np.full((16, 16, 3), 150, np.uint8))
    assert compute("ssim", other, look()) == pytest.approx(expected, abs=1e-6)


def test_feature_distance_by_hand():
    # features 1.5 beside 1: 0.25 of the reference's squared norm, on each of two layers
    assert compute("feature_distance", look(feature=1.5), look()) == pytest.approx(0.5)
