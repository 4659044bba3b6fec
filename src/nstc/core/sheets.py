"""Sheets: pictures side by side, with a label above each column."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from nstc.core.images import Pixels

_GAP: Final = 4
_LABEL_HEIGHT: Final = 28
_LABEL_SIZE: Final = 18


def contact_sheet(rows: Sequence[Sequence[Pixels]], labels: Sequence[str] = ()) -> Pixels:
    """Lay pictures out on white.

    Args:
        rows: Pictures (H, W, 3) uint8, all of one size.
        labels: One for each column, or none.

    Returns:
        The sheet, (H', W', 3) uint8.
    """
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    top = _LABEL_HEIGHT if labels else 0
    size = (columns * (width + _GAP) - _GAP, top + len(rows) * (height + _GAP) - _GAP)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=_LABEL_SIZE)
    for column, label in enumerate(labels):
        centre = column * (width + _GAP) + width // 2
        pen.text((centre, top // 2), label, fill="black", font=font, anchor="mm")
    for r, row in enumerate(rows):
        for c, pixels in enumerate(row):
            place = (c * (width + _GAP), top + r * (height + _GAP))
            sheet.paste(Image.fromarray(pixels), place)
    return np.asarray(sheet)
