"""The side-by-side picture: photograph, teacher, student, int8."""

from pathlib import Path
from typing import Final

from nstc.compress.distillation.teachers import Teacher
from nstc.core.bundle import Bundle
from nstc.core.images import Picture, write_picture
from nstc.core.images.picture import contact_sheet
from nstc.core.photos import PhotoSet
from nstc.runtime.session import open_session

SHEET_SIZE: Final = 384
_LABELS: Final = ("photograph", "teacher", "student, float", "student, int8")


def write_comparison(path: Path, teacher: Teacher, student: Bundle, photos: PhotoSet) -> None:
    """Write a labelled sheet with a row for each photograph.

    Raises:
        OutputError: the place can't be written.
    """
    floating = open_session(student, artifact="onnx")
    deployed = open_session(student, artifact="int8")
    rows = [
        [square, teacher.stylize(square), floating.run(square), deployed.run(square)]
        for square in photos.squares(SHEET_SIZE)
    ]
    write_picture(path, Picture(rgb=contact_sheet(rows, _LABELS)))
