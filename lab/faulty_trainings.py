"""Make the pictures of docs/guides/training-problems.md: trainings in which one thing is wrong.

python -m lab.faulty_trainings PAINTING --photos DIR [-o docs/images]

Each begins from a full-size network of the zoo, has 120 steps, about a minute on one core, and
becomes a picture: the losses, and two sample photographs as the network draws them at the end.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from nstc.cli.output import Bar
from nstc.compress.learning.logs import LOSSES_FILE, loss_curves, read_losses, stylised_squares
from nstc.compress.training.train_model import train
from nstc.core.images import Pixels, resize
from nstc.core.photos import photos_in, sample_photos
from nstc.core.recipe import TrainRecipe, override
from nstc.models.architectures import load

START: Final = "zoo:great-wave/teacher"
RECIPE: Final = TrainRecipe(steps=120, size=128, batch=2)
FAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "none": {},
    "one-colour": {"learning_rate": 0.5},
    "fine-texture": {"style_size": 128, "tv_weight": 0.0, "style_weight": 20.0},
    "colours-alone": {"style_weight": 0.02},
    "photograph-lost": {"content_weight": 0.01},
}
"""What is set wrong, by what comes of it."""

_SIDE: Final = 210  # of a stylised square
_CURVES: Final = (450, 210)


def faulty_training(painting: Path, photos: list[Path], changes: Mapping[str, Any]) -> Pixels:
    """A training's losses beside its pictures, (H, W, 3) uint8."""
    with tempfile.TemporaryDirectory() as scratch, Bar() as bar:
        output = Path(scratch) / "trained"
        trained = train(
            painting,
            photos_in(photos),
            output,
            recipe=override(RECIPE, **changes),
            init=START,
            progress=bar,
        )
        squares = list(sample_photos().take(2).squares(256))
        pictures = stylised_squares(load(trained), squares)
        curves = loss_curves(read_losses(output.with_name("trained.training") / LOSSES_FILE))
    small = [resize(picture, _SIDE, _SIDE) for picture in pictures]
    return np.concatenate([resize(curves, _CURVES[1], _CURVES[0]), *small], axis=1)


def main() -> None:
    """Write one JPEG for each fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("painting", type=Path)
    parser.add_argument("--photos", type=Path, action="append", required=True)
    parser.add_argument("--only", choices=FAULTS, action="append", help="repeatable; default: all")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images"))
    given = parser.parse_args()
    for name in given.only or FAULTS:
        sheet = faulty_training(given.painting, given.photos, FAULTS[name])
        path = given.output / f"training-{name}.jpg"
        Image.fromarray(sheet).save(path, quality=82, optimize=True)
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
