"""A tiny student of any painting, trained for some steps."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packed_students import trunk_of
from small_networks import bundle_of, photos

from nstc.compress.export.checking import sample_picture
from nstc.compress.learning import balance
from nstc.compress.predicting import train_any as training
from nstc.compress.predicting import write_any
from nstc.core.bundle import Bundle
from nstc.core.images import Picture, write_picture
from nstc.core.photos import PhotoSet, photos_in
from nstc.core.recipe import AnyRecipe, QuantizeRecipe, override
from nstc.models.student import TwoScaleStudent

__all__ = ["for_any", "paintings", "photos", "train_tiny"]  # fixtures

TINY = AnyRecipe(steps=3, size=64, batch=2, learning_rate=0.02)
Train = Callable[..., Bundle]


def two_scale_student() -> TwoScaleStudent:
    """Of random weights, which paint something."""
    trunk = trunk_of(TwoScaleStudent(16, [16], 8))
    assert isinstance(trunk, TwoScaleStudent)
    return trunk


@pytest.fixture(scope="session")
def paintings(tmp_path_factory: pytest.TempPathFactory) -> PhotoSet:
    """Stripes, checks and a picture. Not to be changed."""
    folder = tmp_path_factory.mktemp("gallery") / "paintings"
    y, x = np.mgrid[:90, :120]
    stripes = np.where((x // 6 % 2)[..., None], np.uint8([220, 40, 30]), np.uint8([20, 30, 120]))
    checks = np.where(
        ((x // 15 + y // 15) % 2)[..., None], np.uint8([250, 240, 90]), np.uint8([10, 90, 60])
    )
    for name, pixels in (("a-stripes", stripes), ("b-checks", checks)):
        write_picture(folder / f"{name}.png", Picture(rgb=pixels.astype(np.uint8)))
    write_picture(folder / "c-picture.png", Picture(rgb=sample_picture(120, 100)))
    return photos_in([folder])


@pytest.fixture(scope="session")
def train_tiny(
    paintings: PhotoSet, photos: PhotoSet, tmp_path_factory: pytest.TempPathFactory
) -> Train:
    """Trains for some steps; settings and arguments can be given."""
    start = bundle_of(two_scale_student(), tmp_path_factory.mktemp("start") / "start")

    def trained(output: Path, **given: Any) -> Bundle:
        fields = AnyRecipe.__dataclass_fields__
        settings = {name: given.pop(name) for name in tuple(given) if name in fields}
        arguments = {"paintings": paintings, "photos": photos, "init": start.path, **given}
        with pytest.MonkeyPatch.context() as patch:
            few = QuantizeRecipe(percentile=99.9, calibration_photos=1, calibration_size=96)
            patch.setattr(write_any, "_CALIBRATION", few)
            patch.setattr(balance, "_TYPICAL_SIZE", 64)
            return training.train_any(output, recipe=override(TINY, **settings), **arguments)

    return trained


@pytest.fixture(scope="session")
def for_any(train_tiny: Train, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of an uninterrupted run with previews. Not to be changed."""
    return train_tiny(tmp_path_factory.mktemp("any") / "tiny", preview_every=2)
