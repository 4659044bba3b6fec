"""What XNNPACK takes of a network, and what is left to ExecuTorch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nstc.compress.export.checking import eager_reference
from nstc.compress.export.mobile_formats import executorch_program
from nstc.core.errors import ImageError, MissingExtraError
from nstc.core.manifest import Contract
from nstc.models.architectures import describe
from nstc.models.student import Student, TwoScaleStudent
from nstc.models.transformer import TransformerNet
from nstc.runtime.programs import ExecutorchSession, Partition, partition_of

CONTRACT = Contract(size_multiple=4, minimum_size=4, receptive_field=7, locality="global")


@pytest.fixture
def normalised() -> nn.Module:
    """Convolutions over zero borders, normalised inside."""
    torch.manual_seed(2)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.InstanceNorm2d(8, affine=True),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.InstanceNorm2d(8, affine=True),
        nn.ReLU(),
        nn.Conv2d(8, 3, 3, padding=1),
    )
    for norm in (network[1], network[4]):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
    return network.eval()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.executorch
def test_instance_normalisation_stays_in_one_delegate(normalised, tmp_path, pixels) -> None:
    path = written(tmp_path / "model.pte", executorch_program(normalised, CONTRACT))
    assert partition_of(path) == Partition(delegates=1, operators_outside=0)
    square = pixels[:36, :52]
    session = ExecutorchSession(path, "pte")
    feed, size = session.prepare(square)
    (expected,) = normalised(feed[0]).detach().numpy()
    (found,) = session.infer((feed, size))[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert expected.std() > 0.1


@pytest.mark.executorch
def test_a_student_is_one_delegate_and_one_operator(student: Student, tmp_path) -> None:
    program = executorch_program(student, describe(student)[1])
    assert partition_of(written(tmp_path / "model.pte", program)) == Partition(
        delegates=1, operators_outside=1
    )


@pytest.mark.executorch
@pytest.mark.parametrize("details", [[], [12]])
def test_a_student_of_two_scales_has_one_operator_more(tmp_path, pixels, details) -> None:
    torch.manual_seed(3)
    student = TwoScaleStudent(16, [16], 8, details=details).eval()
    nn.init.normal_(student.to_pixels.weight, std=0.1)
    contract = describe(student)[1]
    path = written(tmp_path / "model.pte", executorch_program(student, contract))
    assert partition_of(path) == Partition(delegates=2, operators_outside=2)
    square = pixels[:36, :52]
    found = ExecutorchSession(path, "pte").run(square).astype(int)
    expected = eager_reference(student, contract)(square)
    assert np.abs(found - expected).max() <= 1
    assert expected.std() > 10


@pytest.mark.executorch
def test_a_reflected_border_is_one_operator_and_nothing_more(
    teacher: TransformerNet, tmp_path
) -> None:
    program = executorch_program(teacher, describe(teacher)[1])
    found = partition_of(written(tmp_path / "model.pte", program))
    borders = sum(isinstance(m, nn.ReflectionPad2d) for m in teacher.modules())
    assert found.delegates == borders + 1
    assert borders + 2 <= found.operators_outside <= borders + 4  # two enlargements, two copies


@pytest.mark.executorch
def test_with_norms_inside_int8_is_for_convolutions_alone(normalised, tmp_path) -> None:
    def calibrate(observe):
        observe(torch.rand(1, 3, 40, 60))

    path = written(tmp_path / "model.int8.pte", executorch_program(normalised, CONTRACT, calibrate))
    assert partition_of(path) == Partition(delegates=1, operators_outside=0)
    picture = (np.random.default_rng(1).random((80, 40, 3)) * 255).astype(np.uint8)
    session = ExecutorchSession(path, "int8.pte")
    (feed, size) = session.prepare(picture)
    expected = normalised(feed[0]).detach().numpy()
    found = session.infer((feed, size))[0].numpy()
    error = np.sqrt(np.mean((found - expected) ** 2))
    assert 0 < error < 0.05 * expected.std()


@pytest.mark.executorch
def test_a_picture_above_the_planned_size_is_refused(student: Student, tmp_path) -> None:
    path = written(tmp_path / "model.pte", executorch_program(student, describe(student)[1]))
    session = ExecutorchSession(path, "pte")
    assert session.run(np.zeros((8, 2048, 3), np.uint8)).shape == (8, 2048, 3)
    with pytest.raises(ImageError, match=r"at most 2048 pixels a side, this one is 8x2049"):
        session.run(np.zeros((8, 2049, 3), np.uint8))


def test_without_executorch_it_says_what_to_install(student: Student, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'pip install "nstc\[executorch\]"'):
        executorch_program(student, describe(student)[1])
