import dataclasses
from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch

from nstc.benchmarks.bench import bench
from nstc.benchmarks.subjects import find_subject
from nstc.benchmarks.targets import TARGETS, cuda, parse_target
from nstc.benchmarks.targets.cuda import CudaTarget
from nstc.benchmarks.timing.latency import RunClock
from nstc.core import Silent
from nstc.core.errors import OptionError
from nstc.core.recipe import BenchRecipe
from nstc.runtime.foreign.probing import probe_contract

RECIPE = BenchRecipe(size=32, rounds=3, targets=("cuda",))
NO_GPU = "no NVIDIA GPU: not run"


@pytest.fixture
def gpu_that_is_a_cpu(monkeypatch):
    """The target with torch on the processor and a clock that does not wait."""
    monkeypatch.setattr(cuda, "TorchSession", partial(cuda.TorchSession, device="cpu"))
    monkeypatch.setattr(cuda, "_FRAMES", 2)
    return CudaTarget(onnx=False, clock=RunClock(sleep=lambda _: None))


@pytest.fixture
def driver(monkeypatch):
    """A library that is everywhere in the place of NVIDIA's."""
    monkeypatch.setattr(cuda, "_DRIVER", None)


def test_without_a_driver_torch_is_not_asked(monkeypatch):
    monkeypatch.setattr(cuda, "_DRIVER", "libno-such-driver.so.1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("torch was asked"))
    with pytest.raises(OptionError, match="no NVIDIA driver on this machine"):
        parse_target("cuda")


def test_without_a_gpu_the_reason_is_told(driver, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(OptionError, match="no NVIDIA GPU, and this torch is built without CUDA"):
        parse_target("cuda")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert TARGETS["cuda"].availability() == "torch sees no NVIDIA GPU"
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda _: None)
    assert "pip install" in (TARGETS["cuda"].availability() or "")


def test_with_one_it_is_a_target_and_takes_no_number(driver, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert parse_target("cuda").reference_artifact(64) == "torch-fp32"
    with pytest.raises(OptionError, match="first GPU"):
        parse_target("cuda:1")


def test_onnx_files_are_run_only_where_onnx_runtime_has_the_provider(
    make_bundle, driver, monkeypatch
):
    subject = find_subject(make_bundle("student", {"onnx": 0.5, "int8.onnx": 0.8}).path)
    without, with_it = CudaTarget(onnx=False), CudaTarget(onnx=True)
    assert without.artifacts(subject, 32) == ("torch-fp32", "torch-fp16")
    assert with_it.artifacts(subject, 32) == ("torch-fp32", "torch-fp16", "int8.onnx", "onnx")
    with pytest.raises(OptionError, match="pip install onnxruntime-gpu"):
        without.open(subject, "int8", probe_contract)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert parse_target("cuda") == with_it


def test_weights_are_no_file_that_could_be_exported(make_bundle, gpu_that_is_a_cpu):
    bundle = make_bundle("student", {"onnx": 0.5})

    def nothing_is_asked_for(*_, **__):
        raise AssertionError

    subject = find_subject(bundle, store=nothing_is_asked_for)
    for name in gpu_that_is_a_cpu.artifacts(subject, 32):
        gpu_that_is_a_cpu.open(subject, name, probe_contract)


def test_rows_name_what_ran_and_how_many_frames_a_second(make_bundle, gpu_that_is_a_cpu):
    subject = find_subject(make_bundle("student", {"onnx": 0.5}).path)
    target = gpu_that_is_a_cpu
    sessions = [target.open(subject, name, probe_contract) for name in ("torch-fp32", "torch-fp16")]
    picture = np.zeros((32, 32, 3), np.uint8)
    reading = target.measure([sessions[0], *sessions], picture, RECIPE, Silent())
    assert reading.place["provider"] == "CUDA"
    assert [len(samples) for samples in reading.timings.candidates_ms] == [3, 3]
    for row in reading.rows:
        assert row.provider == "torch CUDA"
        assert row.throughput is not None
        assert row.throughput.frames_per_second > 0
        assert row.throughput.graph_batch == "any"
        assert row.throughput.batched_frames_per_second > 0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason=NO_GPU)
def test_a_real_gpu_runs_both_precisions(make_bundle, photo_set):
    bundle = make_bundle("student", {"onnx": 0.5})
    result = bench(
        [bundle.path],
        against=bundle.path,
        artifacts=["torch-fp32", "torch-fp16"],
        photos=photo_set(1),
        recipe=dataclasses.replace(RECIPE, rounds=5),
    )
    assert [row.provider for row in result.rows] == ["torch CUDA"] * 2
    assert result.references[0].place["device"]
    for row in result.rows:
        assert row.quality is not None
        assert row.quality.metrics["psnr_db"].median > 5


@pytest.mark.cuda
@pytest.mark.skipif(
    not torch.cuda.is_available()
    or "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
    reason=f"{NO_GPU}, or no onnxruntime-gpu",
)
def test_onnx_runtimes_cuda_provider_gives_the_processors_picture(make_bundle):
    subject = find_subject(make_bundle("student", {"onnx": 0.5}).path)
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    session = CudaTarget(onnx=True).open(subject, "onnx", probe_contract)
    expected = subject.open("onnx", 1).run(picture).astype(int)
    assert np.abs(session.run(picture).astype(int) - expected).max() <= 1
    reading = CudaTarget(onnx=True).measure([session, session], picture, RECIPE, Silent())
    assert reading.rows[0].provider == "CUDAExecutionProvider"
