"""The feature network loaded once, and a painting's statistics measured once, for all runs."""

import functools
from collections.abc import Callable, Iterable, Iterator

import pytest

from nstc.compress.training import train_model
from nstc.core.images import Pixels
from nstc.models.style import STYLE_SIZES, StyleStatistics
from nstc.models.vgg import VggFeatures


@pytest.fixture(autouse=True, scope="module")
def measured_once() -> Iterator[None]:
    """They take two fifths of a run of some steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_model, "load_vgg", functools.cache(train_model.load_vgg))
        own = remembering(train_model.statistics_of_painting)
        patch.setattr(train_model, "statistics_of_painting", own)
        yield


def remembering(measure: Callable[..., StyleStatistics]) -> Callable[..., StyleStatistics]:
    known: dict[tuple[object, ...], StyleStatistics] = {}

    def measured(
        painting: Pixels, vgg: VggFeatures, sizes: Iterable[int] = STYLE_SIZES
    ) -> StyleStatistics:
        key = (painting.tobytes(), painting.shape, vgg, *sizes)
        if key not in known:
            known[key] = measure(painting, vgg, sizes)
        return known[key]

    return measured
