"""Balancing what a student is judged by while it learns."""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nstc.benchmarks.quality.judging import Candidate, JudgingTeacher, StyleTarget, judge
from nstc.compress.distillation.loss_terms import MEASURED_EVERY, JudgedRatios, RatioBalance
from nstc.compress.distillation.teacher_outputs import (
    Squares,
    TeacherLosses,
    TeacherOutputs,
)
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet
from nstc.models.losses import STYLE_LAYERS, gram_matrix
from nstc.models.style import StyleStatistics
from nstc.models.tensors import images_to_tensor, tensor_to_images
from nstc.models.vgg import VggFeatures

GOALS = {"style": 1.15, "content": 1.1, "flicker": 1.0}


def told(style: float, content: float, flicker: float) -> Mapping[str, float]:
    return {"style": style, "content": content, "flicker": flicker}


def always(style: float, content: float, flicker: float) -> Callable[[int], Mapping[str, float]]:
    return lambda _turn: told(style, content, flicker)


def after(turns: int, measured: Callable[[int], Mapping[str, float]]) -> RatioBalance:
    balance = RatioBalance(GOALS, measured)
    for turn in range(turns):
        balance.measure(turn * MEASURED_EVERY)
    return balance


def test_before_it_has_looked_it_changes_nothing() -> None:
    balance = RatioBalance(GOALS, always(2, 1, 1))
    assert balance.factors() == {"style": 1, "content": 1, "flicker": 1}
    figures = balance.figures()
    assert [figures[f"{name} x"] for name in GOALS] == [1, 1, 1]
    assert all(math.isnan(figures[f"{name} ratio"]) for name in GOALS)


def test_it_looks_at_one_turn_after_another_and_not_in_every_step() -> None:
    turns: list[int] = []

    def measured(turn: int) -> Mapping[str, float]:
        turns.append(turn)
        return told(1.0 + turn, 1.0, 1.0)

    balance = RatioBalance(GOALS, measured)
    for step in range(2 * MEASURED_EVERY + 1):
        balance.measure(step)
    assert turns == [0, 1, 2]
    assert balance.figures()["style ratio"] == 3.0


@pytest.mark.parametrize("start", [(1.4, 0.9, 0.9), (1.0, 1.0, 1.0), (0.9, 1.2, 0.8)])
def test_a_student_that_answers_comes_equally_near(start: tuple[float, float, float]) -> None:
    found = dict(zip(GOALS, start, strict=True))

    def answers(_turn: int) -> Mapping[str, float]:
        for (name, factor), ratio in zip(balance.factors().items(), start, strict=True):
            found[name] = ratio * factor**-0.5
        return found

    balance = RatioBalance(GOALS, answers)
    for turn in range(200):
        balance.measure(turn * MEASURED_EVERY)
    nearness = [found[name] / goal for name, goal in GOALS.items()]
    assert max(nearness) == pytest.approx(min(nearness), rel=0.02)
    assert math.prod(balance.factors().values()) == pytest.approx(1)


def test_one_turn_moves_each_by_its_share_of_how_much_farther_it_is() -> None:
    factors = after(1, always(1.15 * 1.2, 1.1, 1.0)).factors()
    expected = {"style": 1.2 ** (2 / 30), "content": 1.2 ** (-1 / 30), "flicker": 1.2 ** (-1 / 30)}
    assert factors == pytest.approx(expected)


def test_a_style_that_has_only_been_begun_moves_them_no_faster() -> None:
    far, farther = (after(1, always(ratio, 1.1, 1.0)).factors() for ratio in (4.0, 40.0))
    assert far == pytest.approx(farther)
    assert far["style"] == pytest.approx(math.exp(0.1 * 0.3))
    assert far["content"] == far["flicker"] == pytest.approx(math.exp(-0.05 * 0.3))


@pytest.mark.parametrize("found", [(3.8, 1.1, 1.0), (1.0, 3.0, 0.2), (1.3, 1.2, 0.9)])
def test_the_factors_product_stays_one(found: tuple[float, float, float]) -> None:
    factors = after(40, always(*found)).factors().values()
    assert max(factors) > 1.2
    assert math.prod(factors) == pytest.approx(1)


def test_equally_far_from_all_goals_is_balanced() -> None:
    factors = after(1, always(3 * 1.15, 3 * 1.1, 3.0)).factors()
    assert list(factors.values()) == pytest.approx([1, 1, 1])


def test_it_never_goes_beyond_a_factor_of_four() -> None:
    factors = after(100, always(1e3, 0.0, 1.0)).factors()
    assert factors["style"] == pytest.approx(4)
    assert factors["content"] == pytest.approx(0.25)


@pytest.mark.parametrize("broken", [told(math.inf, 1.0, 1.0), told(1.0, math.nan, 1.0)])
def test_infinite_ratios_are_not_taken_in(broken: Mapping[str, float]) -> None:
    before, same = (
        after(turns, lambda turn: told(2.0, 1.0, 1.0) if turn == 0 else broken) for turns in (1, 2)
    )
    assert same.factors() == before.factors()


def test_one_that_was_restored_goes_on_alike() -> None:
    balance = after(1, lambda turn: told(2.0, 1.0, 1.0) if turn == 0 else told(1.0, 3.0, 0.5))
    other = RatioBalance(GOALS, always(1.0, 3.0, 0.5))
    other.load_state_dict(balance.state_dict())
    assert other.figures() == balance.figures()
    for one in (balance, other):
        one.measure(MEASURED_EVERY)
    assert other.figures() == balance.figures()
    assert other.figures()["content ratio"] == 3.0


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
