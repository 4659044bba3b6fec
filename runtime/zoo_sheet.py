"""All shipped students on one photograph, side by side."""

from pathlib import Path
from typing import Final

from nstc.core.errors import OptionError
from nstc.core.images import Picture, read_picture, resize_longer_side, write_picture
from nstc.core.images.picture import contact_sheet
from nstc.core.zoo import PREFIX, zoo_students
from nstc.runtime.stylizer import Stylizer

LONG_SIDE: Final = 512
"""Pixels of the longer side of each picture."""


def write_zoo_sheet(photo: Path, output: Path) -> tuple[str, ...]:
    """Write a photograph, scaled to 512 pixels, and what each student of the zoo makes of it.

    Returns:
        The zoo names of the students, in the order of the sheet.

    Raises:
        ImageError: the photograph can't be read.
        OptionError: the two are one file, or the ending is no picture's.
        OutputError: the place can't be written.
        BundleError: a student is damaged.
    """
    if photo.resolve() == output.resolve():
        raise OptionError(f"{output} is the photograph itself: name another output.")
    picture = resize_longer_side(read_picture(photo).rgb, LONG_SIDE)
    names = zoo_students()
    shown = [picture, *(Stylizer(name)(picture) for name in names)]
    labels = ("photograph", *(name.removeprefix(PREFIX) for name in names))
    write_picture(output, Picture(rgb=contact_sheet([shown], labels)))
    return names
