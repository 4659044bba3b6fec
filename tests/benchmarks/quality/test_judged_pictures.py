"""The hash of what is judged, and the version of how."""

import numpy as np
import pytest

from nstc.benchmarks.quality import judged_pictures, metrics
from nstc.benchmarks.quality.judged_pictures import (
    JUDGING,
    drawn_pictures,
    evidence,
    with_flicker,
)
from nstc.benchmarks.quality.judging import (
    Candidate,
    JudgingTeacher,
    StyleTarget,
    judge,
    style_of_outputs,
)
from nstc.models.style import statistics_of_painting

SIZE = 48
STORED_SIZES = (32, 64)  # as many pixels off, and the second is nearer in ratio

# What two certain pictures get. A change of any of these numbers, or of their names, is another way
# of judging: give `JUDGING` the next number with it, or files would keep what the old way gave.
GIVEN = {
    "style_ratio": 1.3137,
    "content_ratio": 4.0839,
    "local_style_distance": 3.3666,
    "ssim": -0.0020129,
    "psnr_db": 11.518,
    "feature_distance": 5.094,
    "color_drift": 34.952,
    "histogram_distance": 13.158,
    "lightness_shift": 12.23,
    "checkerboard_ratio": 1.649,
    "edge_difference": -0.55886,
    "flicker_ratio": 1.5518,
    "style_ratio_p90": 1.3423,
    "style_ratio_worst": 1.3495,
    "content_ratio_p90": 4.1782,
    "content_ratio_worst": 4.2018,
    "local_style_distance_p90": 3.3723,
    "local_style_distance_worst": 3.3737,
}
# Of the same where the style is that of the teacher's own pictures.
GIVEN_BY_OUTPUTS = {
    "style_ratio": 204.09,
    "style_ratio_p90": 210.41,
    "style_ratio_worst": 211.99,
}


@pytest.fixture(autouse=True)
def _own_metrics_alone(monkeypatch):
    monkeypatch.setattr(metrics, "LEARNED", ())


@pytest.fixture(scope="module")
def style(vgg):
    """Of stripes in two sizes, between which the photographs' size is: a rule says which counts."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[::4, :, 2] = 255
    return statistics_of_painting(stripes, vgg, STORED_SIZES)


@pytest.fixture
def judged(vgg, style, function_session):
    session = function_session(lambda rgb: (rgb // 2 + 40).astype(np.uint8))
    teacher = JudgingTeacher(name="teacher", session=session)
    painted = StyleTarget(statistics=style, source="painting")

    def run(draw, photos, *, unpainted=False, **options):
        of_outputs = style_of_outputs(teacher, photos, size=SIZE, vgg=vgg) if unpainted else None
        candidate = Candidate(
            session=function_session(draw), teacher=teacher, style=of_outputs or painted, **options
        )
        [quality] = judge([candidate], photos, size=SIZE, vgg=vgg, seed=0)
        return quality

    return run


def rolled(rgb):
    return np.roll(rgb, 5, axis=1)[..., ::-1].copy()


def test_numbers_that_change_are_another_way_of_judging(judged, photo_set):
    quality = judged(rolled, photo_set(2))
    assert JUDGING == "nstc.judging/1"
    assert quality.numbers == pytest.approx(GIVEN, rel=2e-3, abs=2e-4)
    by_outputs = judged(rolled, photo_set(2), unpainted=True).numbers
    assert by_outputs == pytest.approx(GIVEN | GIVEN_BY_OUTPUTS, rel=2e-3, abs=2e-4)


def test_what_is_drawn_anew_has_the_hash_of_what_was_judged(judged, photo_set, function_session):
    photos = photo_set(3)
    quality = judged(rolled, photos, compared_by="someone")
    again = drawn_pictures(function_session(rolled), photos, SIZE)
    assert quality.evidence == evidence("someone", again)
    assert quality.evidence != evidence("another", again)
    assert judged(rolled, photos).evidence is None


def test_one_byte_of_one_picture_counts(photo_set, function_session):
    photos = photo_set(3)
    squares = [photo.tobytes() for photo in photos.squares(SIZE)]

    def drawn(differs):
        def draw(rgb):
            picture = rolled(rgb)
            picture[0, 0, 0] ^= differs(rgb)
            return picture

        return drawn_pictures(function_session(draw), photos, SIZE)

    known = drawn(lambda _: 0)
    assert known == drawn(lambda _: 0)
    assert known != drawn(lambda rgb: rgb.tobytes() == squares[2])
    assert known != drawn(lambda rgb: rgb.tobytes() not in squares)  # a copy that flicker takes
    assert known != drawn_pictures(function_session(rolled), photos.take(2), SIZE)


def test_photographs_that_are_decoded_otherwise_count(photo_set, function_session, monkeypatch):
    photos, blank = photo_set(2), function_session(np.zeros_like)
    known = drawn_pictures(blank, photos, SIZE)
    squares = [photo ^ 1 for photo in photos.squares(SIZE)]
    monkeypatch.setattr(type(photos), "squares", lambda *_: iter(squares))
    assert known != drawn_pictures(blank, photos, SIZE)


def test_flicker_is_of_some_photographs_the_first_and_the_last_among_them(monkeypatch):
    monkeypatch.setattr(judged_pictures, "FLICKER_PHOTOS", 3)
    assert with_flicker(9) == {0, 4, 8}
    assert with_flicker(2) == {0, 1}
    assert with_flicker(1) == {0}
