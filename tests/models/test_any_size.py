import pytest
import torch
from torch import Tensor, nn

from nstc.core.manifest import Contract
from nstc.models.architectures import AnySize, any_size, pad, padded_length
from nstc.models.student import Student, channel_statistics

CONTRACT = Contract(size_multiple=4, minimum_size=16, receptive_field=1, locality="global")


@pytest.mark.parametrize(
    ("length", "expected"), [(1, 16), (16, 16), (17, 20), (20, 20), (5000, 5000), (5001, 5004)]
)
def test_lengths_are_rounded_up_to_the_multiple_and_the_minimum(length: int, expected: int) -> None:
    assert padded_length(length, 4, 16) == expected


def test_the_last_row_and_column_are_repeated() -> None:
    image = torch.tensor([[[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]])
    expected = [[1, 2, 2, 2], [3, 4, 4, 4], [5, 6, 6, 6], [5, 6, 6, 6]]
    assert pad(image, 4, 4)[0, 0].tolist() == expected


class _Doubled(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[2] % 4 == 0
        assert min(images.shape[2:]) >= 16
        return images * 2


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 5), (3, 40)])
def test_the_result_has_the_size_of_the_picture_and_is_clamped(size: tuple[int, int]) -> None:
    images = torch.rand(1, 3, *size)
    assert torch.equal(any_size(_Doubled(), CONTRACT)(images), (images * 2).clamp(0, 1))


def test_a_students_statistics_are_of_the_unpadded_picture() -> None:
    # two black columns and a white one: padding would make half the picture white
    images = torch.zeros(1, 3, 4, 3)
    images[..., 2] = 1
    torch.manual_seed(0)
    student = Student(8, [8]).eval()
    padded = torch.cat([images, images[..., 2:]], dim=3)
    with torch.no_grad():
        expected = student(padded, channel_statistics(images))[..., :3].clamp(0, 1)
        of_padded = student(padded)[..., :3].clamp(0, 1)
        contract = Contract(size_multiple=4, minimum_size=4, receptive_field=1, locality="exact")
        actual = any_size(student, contract)(images)
    assert torch.equal(actual, expected)
    assert not torch.allclose(actual, of_padded, atol=1e-4)


def test_the_core_sees_the_padded_and_the_unpadded_picture() -> None:
    class Core(nn.Module):
        def forward(self, padded: Tensor, images: Tensor) -> Tensor:
            assert padded.shape == (1, 3, 8, 8)
            assert images.shape == (1, 3, 5, 7)
            return padded

    images = torch.rand(1, 3, 5, 7)
    assert torch.equal(AnySize(Core(), 4, 4)(images), images)
