"""A style to aim at: its statistics, and what a manifest says of them."""

from dataclasses import dataclass
from pathlib import Path

from nstc.core.bundle import Bundle
from nstc.core.images import read_picture
from nstc.core.manifest import Style
from nstc.models.architectures import style_of
from nstc.models.style import StyleStatistics, statistics_of_painting
from nstc.models.vgg import load_vgg


@dataclass(frozen=True)
class StyleSource:
    """Statistics and what the manifest says of them."""

    record: Style
    statistics: StyleStatistics


def style_brought_by(bundle: Bundle) -> StyleSource | None:
    """The style that a model was made for, which its teacher may have come without."""
    statistics, record = style_of(bundle), bundle.manifest.style
    if statistics is None or record is None:
        return None
    return StyleSource(record, statistics)


def painting_style(painting: Path, *, credit: str | None, vgg: str) -> StyleSource:
    """The style of a painting.

    Raises:
        ImageError: it can't be read.
    """
    statistics = statistics_of_painting(read_picture(painting).rgb, load_vgg(vgg))
    record = Style(name=painting.stem, source="painting", credit=credit)
    return StyleSource(record, statistics)
