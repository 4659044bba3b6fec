"""The style that a teacher's students aim at, whether it came with a painting or not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nstc.compress.style_sources import StyleSource, painting_style
from nstc.compress.teachers import Teacher
from nstc.core.cache import cached
from nstc.core.files import atomic_file
from nstc.core.images import Pixels
from nstc.core.locks import locked
from nstc.core.manifest import Style
from nstc.core.photos import sample_photos
from nstc.core.progress import Progress
from nstc.models.style import STYLE_SIZES, StyleStatistics, load_style, statistics_of_outputs
from nstc.models.tensors import save_tensors
from nstc.models.vgg import load_vgg, vgg_identity

_PHOTOS: Final = 6
"""Sample photographs whose pictures stand for the style of a network without a painting."""


def style_of_teacher(
    teacher: Teacher, painting: Path | None, *, credit: str | None, vgg: str, progress: Progress
) -> StyleSource:
    """The style to aim at: a painting if one is given, else the teacher's own.

    A teacher that came without a painting has the mean Gram of its own pictures of a few sample
    photographs, which is worked out once and kept in the cache.

    Raises:
        ImageError: the painting can't be read.
        OutputError: the cache can't be written.
    """
    if painting is not None:
        return painting_style(painting, credit=credit, vgg=vgg)
    if teacher.statistics is not None and teacher.style is not None:
        return StyleSource(teacher.style, teacher.statistics)
    record = Style(name=teacher.origin.name, source="outputs")
    file = cached("teacher-styles", f"{teacher.key[:24]}-{vgg_identity(vgg)[:12]}.safetensors")
    with locked(file):
        if not file.is_file():
            statistics = _style_of_outputs(teacher, vgg, progress)
            with atomic_file(file) as draft:
                save_tensors(statistics.packed(), draft)
    return StyleSource(record, load_style(file))


def _style_of_outputs(teacher: Teacher, vgg: str, progress: Progress) -> StyleStatistics:
    photos = sample_photos().take(_PHOTOS)
    progress.begin("style of the teacher's pictures", _PHOTOS * len(STYLE_SIZES), 0)

    def pictures(size: int, done: int) -> Iterator[Pixels]:
        for number, square in enumerate(photos.squares(size), start=1):
            yield teacher.stylize(square)
            progress.advance(done + number, {})

    return statistics_of_outputs(
        {size: pictures(size, i * _PHOTOS) for i, size in enumerate(STYLE_SIZES)}, load_vgg(vgg)
    )
