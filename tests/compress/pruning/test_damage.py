"""How far pictures moved."""

import copy

import pytest
import torch

from nstc.compress.learning.style_sources import StyleSource
from nstc.compress.pruning.survey import DamageMeter
from nstc.core.manifest import Style
from nstc.core.photos import PhotoSet
from nstc.models.functional import gram_distance, gram_matrix
from nstc.models.perceptual import STYLE_LAYERS
from nstc.models.student import Student
from nstc.models.style import StyleStatistics
from nstc.models.vgg import VggFeatures

SIZE = 64


@pytest.fixture
def meter(
    student: Student, photos: PhotoSet, style_statistics: StyleStatistics, vgg: VggFeatures
) -> DamageMeter:
    source = StyleSource(Style(name="noise", source="painting"), style_statistics)
    return DamageMeter(student, photos, source, vgg, SIZE)


def test_nothing_is_lost_by_the_network_itself(meter: DamageMeter, student: Student) -> None:
    found = meter(copy.deepcopy(student))
    assert (found.style, found.content, found.distance) == pytest.approx((0, 0, 0), abs=1e-6)


def test_it_is_the_growth_of_the_losses_that_ratios_are_made_of(
    meter: DamageMeter, student: Student, style_statistics: StyleStatistics, vgg: VggFeatures
) -> None:
    other = copy.deepcopy(student)
    other.head.weight.data *= 1.5
    found = meter(other)

    def style_loss(network: Student, photo: torch.Tensor) -> float:
        seen = vgg(network(photo).clamp(0, 1), STYLE_LAYERS)
        grams = style_statistics.at(SIZE)
        return sum(float(gram_distance(gram_matrix(seen[n]), grams[n][None])) for n in STYLE_LAYERS)

    with torch.inference_mode():
        growths = [
            style_loss(other, photo) / style_loss(student, photo) - 1 for photo in meter.photographs
        ]
    assert found.style == pytest.approx(sum(growths) / len(growths), rel=1e-4)
    assert found.distance > 0


def test_more_change_is_more_damage(meter: DamageMeter, student: Student) -> None:
    distances = []
    for factor in (1.1, 1.5, 3.0):
        other = copy.deepcopy(student)
        other.head.weight.data *= factor
        distances.append(meter(other).distance)
    assert distances == sorted(distances)
    assert distances[0] < distances[-1]
