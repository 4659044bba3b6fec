"""The ratios that a student is judged by, measured while it learns."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nstc.benchmarks.quality.judging import Candidate, JudgingTeacher, StyleTarget, judge
from nstc.compress.distillation.compared_losses import TeacherLosses
from nstc.compress.distillation.crops import Squares
from nstc.compress.distillation.loss_terms import JudgedRatios
from nstc.compress.distillation.teacher_outputs import TeacherOutputs
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet
from nstc.models.losses import STYLE_LAYERS, gram_matrix
from nstc.models.style import StyleStatistics
from nstc.models.tensors import images_to_tensor, tensor_to_images
from nstc.models.vgg import VggFeatures

SIZE = 64


class Painter(nn.Module):
    """Negatives in blocks of four pixels, beyond black and white: it flickers and overshoots."""

    def __init__(self, contrast: float) -> None:
        super().__init__()
        self.contrast = nn.Parameter(torch.tensor(contrast))

    def forward(self, images: Tensor) -> Tensor:
        blocks = nn.functional.interpolate(images[:, :, ::4, ::4], scale_factor=4)
        return 0.5 - self.contrast * (0.5 * (images + blocks) - 0.5)


class Photograph(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(()))  # which says where the network is

    def forward(self, images: Tensor) -> Tensor:
        return images


class Eager:
    """A network as a session."""

    artifact = "network"
    path = Path("network")

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def run(self, rgb: Pixels) -> Pixels:
        with torch.no_grad():
            return tensor_to_images(self.network(images_to_tensor([rgb])))[0]


TEACHER = Eager(Painter(1.5))


@pytest.fixture
def judged(photos: PhotoSet) -> TeacherOutputs:
    pairs = TeacherOutputs(TEACHER.run, "t" * 24, photos, cut=Squares(size=SIZE))
    for index in pairs.missing():
        pairs.make(index)
    for index in pairs.without_flicker():
        pairs.make_flicker(index)
    return pairs


@pytest.fixture
def own(vgg: VggFeatures, style_statistics: StyleStatistics) -> TeacherLosses:
    return TeacherLosses(vgg, style_statistics.at(SIZE))


def test_they_are_what_the_judge_finds(
    judged: TeacherOutputs,
    own: TeacherLosses,
    photos: PhotoSet,
    vgg: VggFeatures,
    style_statistics: StyleStatistics,
) -> None:
    student = Painter(2.0)
    told = [JudgedRatios(student, judged, own, 0)(turn) for turn in range(len(photos))]
    style = StyleTarget(statistics=style_statistics, source="painting")
    teacher = JudgingTeacher(name="teacher", session=TEACHER)
    (found,) = judge(
        [Candidate(session=Eager(student), teacher=teacher, style=style)],
        photos,
        size=SIZE,
        vgg=vgg,
        seed=0,
    )
    for name, tolerance in {"style": 0.03, "content": 0.03, "flicker": 1e-6}.items():
        mean = sum(ratios[name] for ratios in told) / len(told)  # of two, the median
        assert mean == pytest.approx(found.metrics[f"{name}_ratio"].median, rel=tolerance), name
        assert mean != pytest.approx(1, abs=0.05), name


def test_a_perfect_student_reaches_what_its_teacher_does(
    judged: TeacherOutputs, own: TeacherLosses
) -> None:
    found = JudgedRatios(TEACHER.network, judged, own, 0)(0)
    assert found == pytest.approx({"style": 1, "content": 1, "flicker": 1}, rel=1e-3)


def test_a_student_that_paints_nothing_is_told_so(judged: TeacherOutputs, vgg: VggFeatures) -> None:
    seen = vgg(images_to_tensor([judged[0][0]]), STYLE_LAYERS)
    photograph = {name: gram_matrix(features)[0] for name, features in seen.items()}
    ratios = JudgedRatios(Photograph(), judged, TeacherLosses(vgg, photograph), 0)
    found = min((ratios(turn) for turn in range(2)), key=lambda found: found["style"])
    assert found["content"] == pytest.approx(0, abs=0.01)
    assert found["style"] == pytest.approx(0, abs=0.01)  # of this photograph, not of its picture


def test_photographs_take_turns_in_an_order_of_the_seed(
    judged: TeacherOutputs, own: TeacherLosses
) -> None:
    def styles(seed: int) -> Iterator[float]:
        ratios = JudgedRatios(Painter(2.0), judged, own, seed)
        return (ratios(turn)["style"] for turn in range(2 * len(judged)))

    first, second, *again = styles(0)
    assert first != second
    assert again == [first, second]
    assert {tuple(styles(seed))[:2] for seed in range(4)} == {(first, second), (second, first)}


def test_nothing_is_learned_by_it(judged: TeacherOutputs, own: TeacherLosses) -> None:
    learning: list[bool] = []
    network = Painter(2.0)
    network.register_forward_hook(lambda *_: learning.append(torch.is_grad_enabled()))
    JudgedRatios(network, judged, own, 0)(0)
    assert learning == [False] * 5


def test_what_is_known_of_the_teacher_is_kept(
    judged: TeacherOutputs, photos: PhotoSet, crops_by: Callable[..., TeacherOutputs]
) -> None:
    asked: list[int] = []

    def again(rgb: Pixels) -> Pixels:
        asked.append(1)
        return TEACHER.run(rgb)

    pairs = TeacherOutputs(again, "t" * 24, photos, cut=Squares(size=SIZE))
    assert pairs.without_flicker() == []
    assert [pairs.flicker(index) for index in range(2)] == [judged.flicker(i) for i in range(2)]
    assert asked == []
    crops = crops_by(again, photos)
    assert crops.without_flicker() == [0, 1]
