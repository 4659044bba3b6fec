"""Float networks that hold what bytes hold."""

from pathlib import Path

import pytest
import torch

from nstc.compress.export.checking import eager_reference
from nstc.core.bundle import QUANTIZATION_FILE, open_bundle, revised_bundle
from nstc.core.errors import CorruptBundleError
from nstc.core.photos import sample_photos
from nstc.models.architectures import learned_ranges, load, load_as_deployed, saturate
from nstc.models.student import Student
from nstc.models.tensors import save_tensors
from nstc.runtime.agreement import Difference
from nstc.runtime.onnx_session import OnnxSession

NARROW = (-0.05, 0.05)


def made_by(student: Student, name: str) -> torch.Tensor:
    """What one of its modules gives for noise."""
    seen: list[torch.Tensor] = []
    module = student.get_submodule(name)
    handle = module.register_forward_hook(lambda _module, _given, made: seen.append(made))
    with torch.no_grad():
        student(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    handle.remove()
    return seen[0]


@pytest.fixture
def student() -> Student:
    torch.manual_seed(0)
    return Student(width=8, inner=(8,), block="separable", head="separable").eval()


CONVOLUTIONS = ["stem", "blocks.0.expand.0", "blocks.0.expand.1", "blocks.0.project.0", "head.0"]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_holds_what_its_bytes_hold(student: Student, name: str) -> None:
    before = made_by(student, name)
    saturate(student, {name: NARROW})
    assert before.abs().max() > NARROW[1]
    assert torch.equal(made_by(student, name), before.clamp(*NARROW))


@pytest.mark.parametrize("name", ["blocks.0.project.1", "blocks.0"])
def test_sums_and_what_is_added_stay(student: Student, name: str) -> None:
    before = made_by(student, name)
    saturate(student, {name: NARROW})
    assert torch.equal(made_by(student, name), before)


def test_half_precision_holds_what_it_can(student: Student) -> None:
    saturate(student, {"stem": (-1e6, 1e6)})
    made = student.half().get_submodule("stem")(torch.ones(1, 3, 8, 8).half())
    assert torch.isfinite(made).all()


def test_ranges_of_another_network_are_refused(tmp_path: Path) -> None:
    bundle = open_bundle("zoo:udnie")
    with revised_bundle(bundle, tmp_path / "strange", bundle.manifest) as draft:
        save_tensors({"blocks.9": torch.tensor([0.0, 1.0])}, draft / QUANTIZATION_FILE)
    with pytest.raises(CorruptBundleError, match="another network's layers"):
        load_as_deployed(open_bundle(tmp_path / "strange"))


@pytest.mark.parametrize("ends", [torch.zeros(3), torch.zeros(2, 2), torch.tensor(0.0)])
def test_what_is_not_a_range_of_two_numbers_is_refused(tmp_path: Path, ends: torch.Tensor) -> None:
    bundle = open_bundle("zoo:udnie")
    with revised_bundle(bundle, tmp_path / "strange", bundle.manifest) as draft:
        save_tensors({"input": ends}, draft / QUANTIZATION_FILE)
    with pytest.raises(CorruptBundleError, match="something else than ranges"):
        learned_ranges(open_bundle(tmp_path / "strange"))


def test_a_shipped_student_saturated_is_nearer_to_its_integer_file() -> None:
    bundle = open_bundle("zoo:udnie")
    picture = next(sample_photos().take(1).squares(256))
    integer = OnnxSession(bundle.artifact("int8.onnx"), "int8.onnx").run(picture)
    plain, deployed = (
        Difference.between(
            eager_reference(network, bundle.manifest.contract)(picture), integer
        ).psnr_db
        for network in (load(bundle), load_as_deployed(bundle))
    )
    assert deployed > plain + 3


def test_what_has_learned_in_float_is_as_its_weights_are() -> None:
    bundle = open_bundle("zoo:udnie/teacher")
    assert learned_ranges(bundle) is None
    assert not any(m._forward_hooks for m in load_as_deployed(bundle).modules())
