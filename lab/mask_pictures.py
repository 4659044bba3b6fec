"""Make the picture of docs/guides/masks.md: sample photographs above their label maps.

python -m lab.mask_pictures [-o docs/images]
"""

import argparse
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

import nstc
from nstc.core.images import Pixels, centre_square, read_picture
from nstc.core.images.picture import contact_sheet
from nstc.core.photos import sample_photos

SHOWN: Final = 240
"""Side of each picture."""

COLUMNS: Final = (("rocket", 3), ("camera", 3), ("astronaut", 3), ("coffee", 5))
"""Photographs, each with its number of regions."""


def main() -> None:
    """Write masks.jpg."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images"))
    path: Path = parser.parse_args().output / "masks.jpg"
    named = {photo.stem: photo for photo in sample_photos()}
    photos = [centre_square(read_picture(named[name]).rgb, SHOWN) for name, _ in COLUMNS]
    maps = [_shown(rgb, regions) for rgb, (_, regions) in zip(photos, COLUMNS, strict=True)]
    labels = [f"--regions {regions}" for _, regions in COLUMNS]
    sheet = contact_sheet([photos, maps], labels)
    Image.fromarray(sheet).save(path, quality=82, optimize=True)
    print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


def _shown(rgb: Pixels, regions: int) -> Pixels:
    found = nstc.mask(rgb, regions=regions)
    return np.array(found.colors, np.uint8)[found.labels]


if __name__ == "__main__":
    main()
