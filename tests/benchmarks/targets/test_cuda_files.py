"""Sessions of the cuda target, as far as they can be checked without a GPU."""

import numpy as np
import pytest

from nstc.benchmarks.subjects import find_subject
from nstc.benchmarks.targets.cuda import (
    CUDA_PROVIDER,
    OrtCudaSession,
    TorchSession,
    operators_on_cpu,
    refuse_fall_back,
)
from nstc.core.bundle import WEIGHTS_FILE, artifact_file
from nstc.core.errors import OptionError, TargetError
from nstc.models.architectures import load
from nstc.runtime.arrays import to_unit_nchw

PICTURE = np.random.default_rng(0).integers(0, 256, (22, 30, 3), dtype=np.uint8)


def node(name: str, provider: str) -> dict[str, object]:
    return {"cat": "Node", "name": f"{name}_kernel_time", "args": {"provider": provider}}


@pytest.fixture
def bundle(make_bundle):
    return make_bundle("student", {"onnx": 0.5})


def test_torch_runs_the_bundles_own_weights_and_crops_what_it_added(bundle):
    session = TorchSession(find_subject(bundle.path), "torch-fp32", device="cpu")
    stylised = session.run(PICTURE)
    assert stylised.shape == PICTURE.shape

    import torch

    enlarged = np.pad(PICTURE, ((0, 2), (0, 2), (0, 0)), mode="edge")
    with torch.inference_mode():
        direct = load(bundle)(torch.from_numpy(to_unit_nchw(enlarged)))[0].permute(1, 2, 0)
    expected = np.clip(direct.numpy()[:22, :30], 0, 1) * 255
    assert np.abs(stylised - expected).max() < 1.0
    assert session.path == bundle.path / WEIGHTS_FILE


def test_half_precision_is_near_to_full(bundle):
    subject = find_subject(bundle.path)
    full = TorchSession(subject, "torch-fp32", device="cpu").run(PICTURE).astype(int)
    half = TorchSession(subject, "torch-fp16", device="cpu").run(PICTURE).astype(int)
    assert 0 < np.abs(full - half).max() <= 4 or (full == half).all()
    feed = TorchSession(subject, "torch-fp16", device="cpu").prepare(PICTURE)
    assert str(feed.tensor.dtype) == "torch.float16"


def test_a_batch_is_the_picture_several_times(bundle):
    session = TorchSession(find_subject(bundle.path), "torch-fp32", device="cpu")
    raw = session.infer(session.prepare_batch(PICTURE, 3))
    assert raw.tensor.shape == (3, 3, 24, 32)
    assert (session.finish(raw) == session.run(PICTURE)).all()
    assert session.batch is None


def test_a_file_that_others_made_has_no_weights_for_torch(foreign_file):
    with pytest.raises(OptionError, match="runs bundles only"):
        TorchSession(find_subject(foreign_file), "torch-fp32", device="cpu")


@pytest.mark.skipif(
    CUDA_PROVIDER in __import__("onnxruntime").get_available_providers(),
    reason="ONNX Runtime has its CUDA provider here",
)
def test_this_onnx_runtime_falls_back_silently_and_that_is_an_error(bundle):
    with pytest.raises(TargetError, match="would have run on CPUExecutionProvider"):
        OrtCudaSession(bundle.path / artifact_file("onnx"), "onnx")


def test_only_the_provider_that_was_asked_for_will_do(tmp_path):
    refuse_fall_back(CUDA_PROVIDER, tmp_path / "model.onnx")
    with pytest.raises(TargetError, match=r"model\.onnx .* TensorrtExecutionProvider"):
        refuse_fall_back("TensorrtExecutionProvider", tmp_path / "model.onnx")


def test_operators_that_stayed_on_the_processor_are_counted(tmp_path):
    events = [
        {"cat": "Session", "name": "model_run", "args": {}},
        node("conv_1", CUDA_PROVIDER),
        node("conv_1", CUDA_PROVIDER),
        node("conv_2", CUDA_PROVIDER),
        node("shape", "CPUExecutionProvider"),
        {"cat": "Node", "name": "shape_fence_before", "args": {"op_name": "Shape"}},
    ]
    assert operators_on_cpu(events, tmp_path / "model.onnx") == 1
    with pytest.raises(TargetError, match="no operator of model"):
        operators_on_cpu([node("a", "CPUExecutionProvider")], tmp_path / "model.onnx")
    with pytest.raises(TargetError, match="no operator of model"):
        operators_on_cpu([], tmp_path / "model.onnx")
