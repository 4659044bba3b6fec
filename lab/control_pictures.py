"""Make the pictures of docs/guides/stylise.md: what each control does to a sample photograph.

python -m lab.control_pictures [-o docs/images]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

from nstc.core.images import Pixels, read_picture, resize, resize_longer_side
from nstc.core.images.picture import contact_sheet
from nstc.core.photos import sample_photos
from nstc.runtime.stylizer import Stylizer

PHOTO: Final = "coffee.jpg"
SHOWN: Final = 240
"""Long side of each picture on a sheet."""

PAINTED: Final = 480
"""Long side that it is painted at, unless the control is about that."""

SHEETS: Final[dict[str, Sequence[tuple[str, dict[str, Any]]]]] = {
    "strength": [(f"{value:g}", {"strength": value}) for value in (0, 0.35, 0.7, 1)],
    "preserve-color": [
        ("photograph", {"strength": 0}),
        ("style", {}),
        ("--preserve-color", {"preserve_color": True}),
    ],
    "style-scale": [(f"{value:g}", {"style_scale": value}) for value in (0.5, 1, 2, 3)],
    "size": [
        (f"--size {size}", {"size": size, "upscale_to_original": True}) for size in (120, 240, 480)
    ],
}


def main() -> None:
    """Write one JPEG for each control."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images"))
    folder: Path = parser.parse_args().output
    photo = next(path for path in sample_photos() if path.name == PHOTO)
    rgb = resize_longer_side(read_picture(photo).rgb, PAINTED)
    stylizer = Stylizer("zoo:starry-night")
    for name, columns in SHEETS.items():
        row = [_shown(stylizer(rgb, **options)) for _, options in columns]
        sheet = contact_sheet([row], [label for label, _ in columns])
        path = folder / f"control-{name}.jpg"
        Image.fromarray(sheet).save(path, quality=82, optimize=True)
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


def _shown(rgb: Pixels) -> Pixels:
    height, width = rgb.shape[:2]
    scale = SHOWN / max(height, width)
    return resize(rgb, round(height * scale), round(width * scale))


if __name__ == "__main__":
    main()
