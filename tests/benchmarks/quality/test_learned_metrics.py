"""LPIPS and DISTS with packages and weights that only look like the real ones."""

import sys
import types
import warnings
from importlib.machinery import ModuleSpec

import numpy as np
import pytest
import torch

from nstc.benchmarks.quality.metrics import (
    dists_missing,
    load_dists,
    load_lpips,
    lpips_missing,
)


class FakeLpips:
    """Takes the real one's arguments; its distance is the mean absolute difference in [-1, 1]."""

    def __init__(self, *, net, version, verbose):
        assert (net, version, verbose) == ("alex", "0.1", False)
        warnings.warn_explicit(
            "'pretrained' is deprecated", UserWarning, "models.py", 1, "torchvision.models._utils"
        )

    def __call__(self, in0, in1, *, normalize):
        assert normalize
        assert in0.shape == in1.shape == (1, 3, 16, 16)
        assert 0 <= float(in0.min()) <= float(in0.max()) <= 1
        return (2 * in0 - 2 * in1).abs().mean().reshape(1, 1, 1, 1)


@pytest.fixture
def package(monkeypatch):
    fake = types.ModuleType("lpips")
    fake.__spec__ = ModuleSpec("lpips", None)
    fake.LPIPS = FakeLpips
    monkeypatch.setitem(sys.modules, "lpips", fake)


@pytest.fixture
def weights(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    path = tmp_path / "checkpoints" / "alexnet-owt-7be5be79.pth"
    path.parent.mkdir()
    path.write_bytes(b"")
    return path


def test_without_the_package(monkeypatch, weights):
    monkeypatch.setitem(sys.modules, "lpips", None)
    assert "pip install lpips" in lpips_missing()


def test_without_weights_nothing_is_downloaded(package, weights):
    weights.unlink()
    assert str(weights) in lpips_missing()


def test_with_both(package, weights):
    assert lpips_missing() is None
    distance = load_lpips()
    dark, bright = np.full((16, 16, 3), 51, np.uint8), np.full((16, 16, 3), 102, np.uint8)
    assert distance(bright, dark) == pytest.approx(0.4)
    assert distance(dark, dark) == 0.0


class FakeDists:
    """Takes the real one's arguments; its distance is the mean absolute difference in [0, 1]."""

    def __init__(self):
        warnings.warn_explicit(
            "'pretrained' is deprecated", UserWarning, "models.py", 1, "torchvision.models._utils"
        )

    def eval(self):
        return self

    def __call__(self, x, y):
        assert x.shape == y.shape == (1, 3, 16, 16)
        assert 0 <= float(x.min()) <= float(x.max()) <= 1
        return (x - y).abs().mean()


@pytest.fixture
def dists(monkeypatch, tmp_path):
    """The files that DISTS needs, beside its package."""
    fake = types.ModuleType("DISTS_pytorch")
    fake.__spec__ = ModuleSpec("DISTS_pytorch", None)
    fake.DISTS = FakeDists
    monkeypatch.setitem(sys.modules, "DISTS_pytorch", fake)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    files = tmp_path / "checkpoints" / "vgg16-397923af.pth", tmp_path / "weights.pt"
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"")
    return files


def test_dists_without_its_package(monkeypatch, dists):
    monkeypatch.setitem(sys.modules, "DISTS_pytorch", None)
    assert "pip install dists-pytorch" in dists_missing()


@pytest.mark.parametrize("which", [0, 1])
def test_dists_without_one_of_its_files(dists, which):
    dists[which].unlink()
    assert str(dists[which]) in dists_missing()


def test_dists_with_all_it_needs(dists):
    assert dists_missing() is None
    distance = load_dists()
    dark, bright = np.full((16, 16, 3), 51, np.uint8), np.full((16, 16, 3), 102, np.uint8)
    assert distance(bright, dark) == pytest.approx(0.2)
    assert distance(dark, dark) == 0.0
