"""Matplotlib's figures as SVG for an HTML page of several: colours, labels, ids."""

import io
import itertools
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SVG: Final = "http://www.w3.org/2000/svg"

_XLINK: Final = "{http://www.w3.org/1999/xlink}href"

_LONGEST: Final = 44  # characters of a label
_MARKER: Final = 6  # half the side of the square that a point covers, in pixels
# Where a label may be: offsets from its point in 1/72 inch, the best first.
_OFFSETS: Final = [
    (across * right, along * up)
    for right, up in ((7, 5), (0, 10), (9, 18))
    for across, along in itertools.product((1, -1), (1, -1))
]


SCHEMES: Final = ("light", "dark")
LAYOUTS: Final = {"wide": 9.0, "narrow": 4.3}
"""Width in inches for a wide and a narrow screen: what it is shown at scales the text."""


@contextmanager
def plotting(scheme: str) -> Iterator[None]:
    """Matplotlib's settings for a plot in light or dark; text stays text, and names are not TeX."""
    import matplotlib as mpl

    with warnings.catch_warnings(), mpl.rc_context():
        mpl.rcdefaults()  # no matplotlibrc of the user's: the same input gives the same page
        for name in ("plots", scheme):
            style = resources.files("nstc.benchmarks.report") / f"{name}.mplstyle"
            with resources.as_file(style) as path:
                mpl.rcParams.update(mpl.rc_params_from_file(path, use_default_template=False))
        # a name in a script that DejaVu lacks: the browser has the letters, only widths are off
        warnings.filterwarnings("ignore", message="Glyph ", category=UserWarning)
        yield


def page_svg(figure: "Figure", name: str) -> str:
    """A figure as an `<svg>` element, with its name as a prefix of every id: no two share one.

    It has no prologue, metadata, fixed size, or style sheet, which would be the whole page's.
    """
    sink = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(sink, format="svg", metadata=nothing)
    root = ElementTree.fromstring(sink.getvalue())  # noqa: S314  (what matplotlib wrote just now)
    for element in root.iter():
        for sheet in element.findall(f"{{{SVG}}}style"):
            element.remove(sheet)
        if (target := element.attrib.pop(_XLINK, None)) is not None:
            element.set("href", target.replace("#", f"#{name}-"))
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{name}-{value}")
            elif key != "href":
                element.set(key, value.replace("url(#", f"url(#{name}-"))
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.attrib |= {"stroke-linejoin": "round", "aria-hidden": "true"}
    ElementTree.register_namespace("", SVG)
    return ElementTree.tostring(root, encoding="unicode")


Bar = tuple[tuple[float, float], tuple[float, float]]
"""Both ends of a line that is upright or level, in the plot's data."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """A point's name."""

    x: float  # of the point, in the plot's data
    y: float  # of the point
    text: str  # the name
    short: str  # what to write where the name finds no room
    color: str | None = None  # of the text; None for the scheme's


def place_labels(
    figure: "Figure", axes: "Axes", labels: Sequence[Label], bars: Sequence[Bar]
) -> None:
    """Write each point's name where it covers no point, name or bar, or else its short form.

    The plot must be complete: its layout is computed here and then fixed.
    """
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    room = axes.get_window_extent()
    to_pixels = axes.transData.transform
    taken = []
    for label in labels:
        x, y = to_pixels((label.x, label.y))
        taken.append(Bbox.from_extents(x - _MARKER, y - _MARKER, x + _MARKER, y + _MARKER))
    taken += [Bbox(to_pixels(ends)) for ends in bars]
    for own, label in enumerate(labels):
        others = [box for position, box in enumerate(taken) if position != own]
        note = axes.annotate(
            "",
            (label.x, label.y),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=9,
            color=label.color,
        )
        whole = label.text if len(label.text) <= _LONGEST else f"{label.text[:_LONGEST]}…"
        tried = [*itertools.product((whole, label.short), _OFFSETS), (label.short, _OFFSETS[0])]
        for text, (right, up) in tried:
            across = "left" if right > 0 else "right" if right < 0 else "center"
            along = "bottom" if up > 0 else "top"
            note.set(text=text, position=(right, up), ha=across, va=along)
            box = note.get_window_extent()
            inside = room.contains(*box.min) and room.contains(*box.max)
            if inside and not any(box.overlaps(other) for other in others):
                break  # where nothing has room, it stays at what was tried last
        taken.append(box)
