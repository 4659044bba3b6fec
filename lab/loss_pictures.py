"""Make the picture of docs/reference/losses.md: one photograph optimised with each loss.

python -m lab.loss_pictures --painting painting.jpg [-o docs/images/losses.jpg]

Each loss of `nstc.models.losses.LOSSES` has a picture, of the same size and after the same steps.
The first row changes the loss of the painting; the second compares regions, and adds to `gram` one
more loss of the photograph or of the pixels.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

import nstc
from nstc.core.images import Pixels, centre_square, read_picture
from nstc.core.images.picture import contact_sheet
from nstc.core.photos import sample_photos
from nstc.core.recipe import OptimizeRecipe

PHOTO: Final = "astronaut"
SHOWN: Final = 200
"""Side of each picture on the sheet."""

PHOTOGRAPH, PAINTING, SEMANTIC = "photograph", "painting", "semantic"

Settings = Mapping[str, Any]
ROWS: Final[Sequence[Mapping[str, Settings | None]]] = (
    {
        PHOTOGRAPH: None,
        "gram": {},
        "moments": {"style_losses": "moments=1"},
        "histogram": {"style_losses": "histogram=1"},
        "sliced-wasserstein": {"style_losses": "sliced-wasserstein=1"},
        "patches": {"style_losses": "patches=1"},
    },
    {
        PAINTING: None,
        SEMANTIC: {"style_losses": "semantic=1"},
        "without content": {"content_weight": 0.0},
        "with perceptual": {"content_losses": "content=1,perceptual=1"},
        "with laplacian": {"content_losses": "content=1,laplacian=1"},
        "with tv": {"tv_weight": 2.0},
    },
)
"""Settings of each picture by its label, which differ from the usual ones; None: as it is."""


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--painting", type=Path, required=True)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images/losses.jpg"))
    given = parser.parse_args()
    photo = next(path for path in sample_photos() if path.stem == PHOTO)
    sheet = loss_sheet(photo, given.painting, size=given.size, steps=given.steps)
    Image.fromarray(sheet).save(given.output, quality=82, optimize=True)
    print(f"{given.output}  {given.output.stat().st_size / 1000:.0f} kB")


def loss_sheet(photo: Path, painting: Path, *, size: int, steps: int) -> Pixels:
    """A sheet (H, W, 3) of `ROWS`; pictures are squares of `size` px, shown smaller."""
    strips = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for own, source in ((PHOTOGRAPH, photo), (PAINTING, painting)):
            square = centre_square(read_picture(source).rgb, size)
            Image.fromarray(square).save(folder / f"{own}.png")
        for row in ROWS:
            pictures = [
                centre_square(_picture(folder, label, settings, size, steps), SHOWN)
                for label, settings in row.items()
            ]
            strips.append(contact_sheet([pictures], list(row)))
    return np.concatenate(strips)


def _picture(folder: Path, label: str, settings: Settings | None, size: int, steps: int) -> Pixels:
    """One of the two that are given, or a picture optimised with the settings of its label."""
    photo, painting = folder / f"{PHOTOGRAPH}.png", folder / f"{PAINTING}.png"
    if settings is None:
        return read_picture(folder / f"{label}.png").rgb
    photo_mask, style_mask = None, None
    if label == SEMANTIC:
        photo_mask, style_mask = folder / "photo-map.png", folder / "style-map.png"
        nstc.mask(photo, photo_mask)
        nstc.mask(painting, style_mask, like=(photo_mask, photo))
    made = nstc.optimize(
        photo,
        painting,
        folder / f"{label}.png",
        recipe=OptimizeRecipe(size=size, steps=steps, **settings),
        photo_mask=photo_mask,
        style_mask=style_mask,
    )
    print(f"{label:20} style {made.style:.3f}  content {made.content:.3f}", flush=True)
    return made.rgb


if __name__ == "__main__":
    main()
