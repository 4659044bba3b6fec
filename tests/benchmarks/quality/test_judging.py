import math

import numpy as np
import pytest
import torch

from nstc.benchmarks.quality import judged_pictures, metrics
from nstc.benchmarks.quality.judging import (
    Candidate,
    JudgingTeacher,
    StyleTarget,
    judge,
    style_of_outputs,
)
from nstc.models.losses import STYLE_LAYERS
from nstc.models.style import StyleStatistics, statistics_of_painting

SIZE = 32


@pytest.fixture(autouse=True)
def _no_learned_metrics(monkeypatch):
    monkeypatch.setattr(metrics, "LEARNED", ())


class Mirror:
    """Stands for VGG: every layer's features are the picture itself."""

    def __call__(self, images, layers):
        return dict.fromkeys(layers, images)


def flat_style(value: float) -> StyleTarget:
    grams = {name: torch.full((3, 3), value) for name in STYLE_LAYERS}
    return StyleTarget(statistics=StyleStatistics({256: grams}), source="painting")


@pytest.fixture
def painting_style(vgg):
    rng = np.random.default_rng(9)
    painting = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return StyleTarget(statistics=statistics_of_painting(painting, vgg, [256]), source="painting")


@pytest.fixture
def invert(function_session):
    return JudgingTeacher(name="invert", session=function_session(lambda rgb: 255 - rgb, "teacher"))


def test_losses_by_hand(function_session, photo_set, monkeypatch):
    # Photograph 0.4, teacher 0.8, candidate 1.0, flat. A flat picture v has a Gram matrix of v²/3
    # (C·H·W is 3·H·W); the style's is 1/6. Style losses: the candidate's (1/3 - 1/6)/(1/6) = 1
    # squared, the teacher's (0.64/3 - 1/6)/(1/6) = 0.28 squared, on all four layers alike.
    # Content losses: (0.6/0.4)² = 2.25 and (0.4/0.4)² = 1.
    photos = photo_set(1)
    photograph = np.full((SIZE, SIZE, 3), 102, np.uint8)
    monkeypatch.setattr(type(photos), "squares", lambda *_: iter([photograph]))
    teacher = JudgingTeacher(name="t", session=function_session(lambda rgb: np.full_like(rgb, 204)))
    session = function_session(lambda rgb: np.full_like(rgb, 255))
    candidate = Candidate(session=session, teacher=teacher, style=flat_style(1 / 6))
    [found] = judge([candidate], photos, size=SIZE, vgg=Mirror(), seed=0)
    assert found.metrics["style_ratio"].median == pytest.approx(1 / 0.28**2, rel=1e-3)
    assert found.metrics["content_ratio"].median == pytest.approx(2.25, rel=1e-4)
    assert found.metrics["feature_distance"].median == pytest.approx(2 * 0.25**2, rel=1e-4)
    assert found.metrics["psnr_db"].median == pytest.approx(20 * math.log10(5), rel=1e-4)


def test_the_worst_photographs_are_named(photo_set, invert, function_session, monkeypatch):
    # flat photographs of one grey; the candidate is right but for two of them
    photos = photo_set(12)
    grey = np.full((SIZE, SIZE, 3), 102, np.uint8)
    monkeypatch.setattr(type(photos), "squares", lambda *_: iter([grey] * 12))
    teacher = JudgingTeacher(name="t", session=function_session(lambda rgb: np.full_like(rgb, 204)))
    levels = iter([204] * 3 + [255] + [204] * 5 + [230] + [204] * 2)

    def candidate_of(rgb):
        return np.full_like(rgb, next(levels))

    monkeypatch.setattr(judged_pictures, "FLICKER_PHOTOS", 0)
    candidate = Candidate(
        session=function_session(candidate_of), teacher=teacher, style=flat_style(1 / 6)
    )
    [found] = judge([candidate], photos, size=SIZE, vgg=Mirror(), seed=0)
    tail = found.tails["content_ratio"]
    # content losses as above: (0.6/0.4)² over 1; at 230 it is (128/102)²; position 9.9 of 12
    second = (128 / 102) ** 2
    assert found.metrics["content_ratio"].median == 1.0
    assert (tail.worst, tail.worst_photo) == (pytest.approx(2.25, rel=1e-4), "03.png")
    assert tail.p90 == pytest.approx(1 + 0.9 * (second - 1), rel=1e-4)
    assert set(found.tails) == {"style_ratio", "content_ratio", "local_style_distance"}
    assert "ssim" not in found.tails


def test_the_teacher_beside_itself_is_perfect(
    vgg, photo_set, painting_style, invert, function_session
):
    itself = function_session(lambda rgb: 255 - rgb)
    candidate = Candidate(session=itself, teacher=invert, style=painting_style)
    [found] = judge([candidate], photo_set(3), size=SIZE, vgg=vgg, seed=0)
    medians = {name: interval.median for name, interval in found.metrics.items()}
    assert medians == {
        "style_ratio": 1.0,
        "content_ratio": 1.0,
        "local_style_distance": 0.0,
        "ssim": 1.0,
        "psnr_db": math.inf,
        "feature_distance": 0.0,
        "color_drift": 0.0,
        "histogram_distance": 0.0,
        "lightness_shift": 0.0,
        "checkerboard_ratio": 1.0,
        "edge_difference": 0.0,
        "flicker_ratio": 1.0,
    }


def test_the_more_brightness_is_off_the_worse(
    vgg, photo_set, painting_style, invert, function_session
):
    def off_by(levels):
        session = function_session(
            lambda rgb: np.clip(255 - rgb.astype(int) + levels, 0, 255).astype(np.uint8)
        )
        return Candidate(session=session, teacher=invert, style=painting_style)

    little, much = judge([off_by(8), off_by(40)], photo_set(3), size=SIZE, vgg=vgg, seed=0)
    for name in ("ssim", "psnr_db"):
        assert much.metrics[name].median < little.metrics[name].median
    assert little.metrics["ssim"].median < 1
    assert 0 < little.metrics["feature_distance"].median < much.metrics["feature_distance"].median


def test_one_photograph_after_the_other_and_the_teacher_once_for_all_candidates(
    photo_set, invert, function_session
):
    log = invert.session.log
    candidates = [
        Candidate(
            session=function_session(lambda rgb: rgb, name, log=log),
            teacher=invert,
            style=flat_style(0.1),
        )
        for name in ("first", "second")
    ]
    judge(candidates, photo_set(2), size=SIZE, vgg=Mirror(), seed=0)
    square = (SIZE, SIZE, 3)
    # each stylises the photograph and four changed copies of it
    of_one = [(name, square) for name in ("teacher", "first", "second") for _ in range(5)]
    assert log == of_one * 2


def test_flicker_is_measured_on_eight_photographs_evenly_spread(
    photo_set, invert, function_session
):
    photos = photo_set(15)
    numbers = {photo.tobytes(): number for number, photo in enumerate(photos.squares(16))}
    runs = []

    def remember(rgb):
        runs.append(numbers.get(rgb.tobytes(), "changed"))
        return rgb

    candidate = Candidate(session=function_session(remember), teacher=invert, style=flat_style(0.1))
    [found] = judge([candidate], photos, size=16, vgg=Mirror(), seed=0)
    expected = []
    for number in range(15):
        expected += [number] + ["changed"] * (4 if number % 2 == 0 else 0)
    assert runs == expected
    assert found.sampled_photos == {"flicker_ratio": 8}
    assert found.metrics["flicker_ratio"].median == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("count", [1, 8])
def test_few_photographs_are_all_used_for_flicker(photo_set, invert, count):
    candidate = Candidate(session=invert.session, teacher=invert, style=flat_style(0.1))
    [found] = judge([candidate], photo_set(count), size=16, vgg=Mirror(), seed=0)
    assert found.sampled_photos == {}
    assert found.metrics["flicker_ratio"].median == 1.0


def test_a_grid_and_a_restless_student_are_found(photo_set, invert, function_session):
    def grid(rgb):
        inverted = 255 - rgb
        inverted[::4] -= inverted[::4] // 4
        return inverted

    def restless(rgb):
        return 255 - rgb // 32 * 32

    candidates = [
        Candidate(session=function_session(f), teacher=invert, style=flat_style(0.1))
        for f in (grid, restless)
    ]
    gridded, shaky = judge(candidates, photo_set(3), size=SIZE, vgg=Mirror(), seed=0)
    assert gridded.metrics["checkerboard_ratio"].median > 3
    assert shaky.metrics["flicker_ratio"].median > 1.5


def test_candidates_with_teachers_of_their_own(photo_set, invert, function_session):
    other = JudgingTeacher(name="keep", session=function_session(lambda rgb: rgb))
    keeps = function_session(lambda rgb: rgb)
    found = judge(
        [
            Candidate(session=keeps, teacher=invert, style=flat_style(0.1)),
            Candidate(session=keeps, teacher=other, style=flat_style(0.1)),
        ],
        photo_set(2),
        size=SIZE,
        vgg=Mirror(),
        seed=0,
    )
    assert [quality.teacher for quality in found] == ["invert", "keep"]
    assert found[0].metrics["ssim"].median < found[1].metrics["ssim"].median == 1.0


@pytest.mark.parametrize(("count", "few"), [(3, True), (19, True), (20, False)])
def test_few_photographs_are_marked(photo_set, invert, count, few):
    candidate = Candidate(session=invert.session, teacher=invert, style=flat_style(0.1))
    [found] = judge([candidate], photo_set(count), size=16, vgg=Mirror(), seed=0)
    assert (found.photos, found.few_photos) == (count, few)


def test_a_style_of_outputs_is_the_mean_gram_of_the_teachers_pictures(function_session, photo_set):
    # flat pictures of 0.2 and 0.6: Gram matrices 0.04/3 and 0.36/3, their mean 0.2/3
    values = iter([51, 153])
    session = function_session(lambda rgb: np.full_like(rgb, next(values)))
    teacher = JudgingTeacher(name="t", session=session)
    found = style_of_outputs(teacher, photo_set(2), size=SIZE, vgg=Mirror())
    assert found.source == "outputs"
    for gram in found.statistics.at(SIZE).values():
        assert gram.numpy() == pytest.approx(np.full((3, 3), 0.2 / 3), rel=1e-4)
