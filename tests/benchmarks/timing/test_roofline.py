import pytest
import torch
from torch import nn

from nstc.benchmarks.timing.roofline import (
    Peaks,
    float_product,
    int8_product,
    measure_peaks,
    roofline,
)
from nstc.models.complexity import count_moved_values

PEAKS = Peaks(threads=1, int8_gmac_s=200.0, float_gmac_s=50.0, bandwidth_gb_s=10.0)


def test_bytes_that_are_used_often_are_bound_by_arithmetic():
    # 1 GMAC over 20 MB is 50 for each byte: memory would allow 500 GMAC/s
    found = roofline(
        "int8.onnx",
        macs=10**9,
        moved_values=19_000_000,
        file_bytes=1_000_000,
        latency_ms=10.0,
        peaks=PEAKS,
    )
    assert found.intensity == 50.0
    assert (found.bound, found.attainable_gmac_s) == ("compute", 200.0)
    assert found.achieved_gmac_s == pytest.approx(100.0)
    assert found.share == pytest.approx(0.5)


def test_bytes_that_are_used_seldom_are_bound_by_memory():
    # floats are four bytes: 0.1 GMAC over 100 MB is 1 for each byte, so 10 GMAC/s
    found = roofline(
        "onnx",
        macs=10**8,
        moved_values=24_000_000,
        file_bytes=4_000_000,
        latency_ms=20.0,
        peaks=PEAKS,
    )
    assert (found.precision, found.bound) == ("float", "memory")
    assert found.attainable_gmac_s == pytest.approx(10.0)
    assert found.share == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("artifact", "precision", "bytes_a_value"),
    [
        ("int8.512x512.onnx", "int8", 1),
        ("dynamic.onnx", "int8", 4),
        ("fp16.onnx", "float", 2),
        ("weights-int8.onnx", "float", 4),
        ("onnx", "float", 4),
    ],
)
def test_the_precision_is_what_the_file_computes_in(artifact, precision, bytes_a_value):
    found = roofline(
        artifact, macs=8000, moved_values=1000, file_bytes=0, latency_ms=1.0, peaks=PEAKS
    )
    assert found.precision == precision
    assert found.intensity == 8 / bytes_a_value


def test_convolutions_move_their_inputs_and_outputs():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))
    # 3 * 16² + 8 * 8², then 8 * 8² + 3 * 8²
    assert count_moved_values(network, 16) == 768 + 512 + 512 + 192
    assert next(network.parameters()).device == torch.device("cpu")


def test_the_peaks_of_this_machine(monkeypatch):
    monkeypatch.setattr("nstc.benchmarks.timing.roofline.SIDE", 256)
    monkeypatch.setattr("nstc.benchmarks.timing.roofline.COPIED_BYTES", 4 * 1024 * 1024)
    monkeypatch.setattr("nstc.benchmarks.timing.roofline.TRIES", 2)
    peaks = measure_peaks((0,))
    assert peaks.threads == 1
    for value in (peaks.int8_gmac_s, peaks.float_gmac_s, peaks.bandwidth_gb_s):
        assert 0.1 < value < 10_000


def test_the_products_are_what_they_are_said_to_be(monkeypatch):
    monkeypatch.setattr("nstc.benchmarks.timing.roofline.SIDE", 64)
    (floats,) = float_product(1)()
    (bytes_,) = int8_product(1)()
    assert floats.shape == bytes_.shape == (64, 64)
    assert (floats.dtype, bytes_.dtype) == ("float32", "uint8")
    assert floats.std() > 1
    assert 0 < bytes_.std() < 100
