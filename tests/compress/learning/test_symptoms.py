"""What is noticed to be wrong with pictures, and when it is told."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nstc import Stylizer
from nstc.compress.learning.symptoms import SYMPTOMS, Examination, symptoms_of
from nstc.core.images import Pixels
from nstc.core.photos import sample_photos

ADVICE = {name: f"mend {name}." for name in SYMPTOMS}


@pytest.fixture(scope="module")
def squares() -> Sequence[Pixels]:
    return list(sample_photos().take(3).squares(192))


def noisy(picture: Pixels) -> Pixels:
    noise = np.random.default_rng(1).normal(0, 30, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def tinted(picture: Pixels) -> Pixels:
    return (picture * (1.0, 0.7, 0.4) + (0, 20, 60)).clip(0, 255).astype(np.uint8)


class TestSymptomsOf:
    @pytest.mark.parametrize(
        ("spoil", "symptom"),
        [
            (lambda picture: picture // 60, "one colour"),
            (lambda picture: 255 - picture // 60, "one colour"),
            (noisy, "grain"),
            (tinted, "colours alone"),
            (lambda picture: 255 - picture, "colours alone"),
        ],
    )
    def test_planted_faults(
        self, squares: Sequence[Pixels], spoil: Callable[[Pixels], Pixels], symptom: str
    ) -> None:
        assert symptom in symptoms_of([spoil(square) for square in squares], squares)

    @pytest.mark.parametrize("style", ["starry-night", "the-scream", "great-wave", "udnie"])
    def test_included_students_show_none(self, squares: Sequence[Pixels], style: str) -> None:
        stylizer = Stylizer(f"zoo:{style}/fast")
        assert symptoms_of([stylizer(square) for square in squares], squares) == set()

    def test_grain_over_a_stylised_picture(self, squares: Sequence[Pixels]) -> None:
        stylizer = Stylizer("zoo:the-scream/fast")
        assert symptoms_of([noisy(stylizer(square)) for square in squares], squares) == {"grain"}


class Same(nn.Module):
    """Gives the photographs as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        return images * self.factor


class TestExamination:
    def test_it_is_told_once_halfway(self, recorder: type) -> None:
        progress = recorder()
        examination = Examination(ADVICE, progress)
        for finished in range(1, 11):
            examination.after(Same(), 10, finished)
        (note,) = progress.notes
        assert note.startswith("step 5 of 10: the pictures are the photographs in other colours")
        assert note.endswith(". mend colours alone.")

    def test_it_is_told_at_the_end_if_it_was_well_before(self, recorder: type) -> None:
        progress, network = recorder(), Same()
        examination = Examination(ADVICE, progress, usual={"colours alone"})
        examination.after(network, 10, 5)
        assert progress.notes == []
        with torch.no_grad():
            network.factor.fill_(0.01)
        examination.after(network, 10, 10)
        (note,) = progress.notes
        assert note.startswith("step 10 of 10: the pictures are black, white or of one colour. ")

    def test_what_the_teachers_pictures_have_too_is_not_told(self, recorder: type) -> None:
        progress = recorder()
        Examination(ADVICE, progress, teacher=lambda photo: photo).after(Same(), 10, 10)
        assert progress.notes == []
        Examination(ADVICE, progress, teacher=np.zeros_like).after(Same(), 10, 10)
        assert len(progress.notes) == 1
