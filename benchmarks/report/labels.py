"""Names beside the points of a plot, none over another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

_LONGEST: Final = 44
_MARKER: Final = 6
_PLACES: Final = (
    (7, 5, "left", "bottom"),
    (7, -5, "left", "top"),
    (-7, 5, "right", "bottom"),
    (-7, -5, "right", "top"),
    (0, 10, "center", "bottom"),
    (0, -10, "center", "top"),
    (9, 18, "left", "bottom"),
    (9, -18, "left", "top"),
    (-9, 18, "right", "bottom"),
    (-9, -18, "right", "top"),
)
"""Offsets from the point in 1/72 inch, and what of the text stands there; the best first."""


Cross = Sequence[tuple[float, float]]
"""The four ends of a bar across and a bar along: left, right, lower, upper, in the plot's data."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """A point's name."""

    x: float  # of the point, in the plot's data
    y: float  # of the point
    text: str  # the name
    short: str  # what to write where the name finds no room
    color: str  # of the text


def place_labels(
    figure: "Figure",
    axes: "Axes",
    labels: Sequence[Label],
    crosses: Sequence[Cross],
) -> None:
    """Write each name where it covers no point and no other name, or else its short form.

    The plot must be complete: its layout is worked out here and then held.

    Args:
        figure: Of the plot.
        axes: Of the plot.
        labels: One for each point.
        crosses: What else may not be covered: the points' bars, and lines.
    """
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    points = [axes.transData.transform((label.x, label.y)) for label in labels]
    taken = [
        Bbox.from_bounds(x - _MARKER, y - _MARKER, 2 * _MARKER, 2 * _MARKER) for x, y in points
    ]
    for cross in crosses:
        ends = [axes.transData.transform(end) for end in cross]
        taken += [Bbox([ends[0], ends[1]]), Bbox([ends[2], ends[3]])]
    for own, label in enumerate(labels):
        others = [box for position, box in enumerate(taken) if position != own]
        whole = label.text if len(label.text) <= _LONGEST else f"{label.text[:_LONGEST]}…"
        taken.append(_write(axes, label, [whole, label.short], others))


def _write(axes: "Axes", label: Label, texts: Sequence[str], taken: Sequence["Bbox"]) -> "Bbox":
    room = axes.get_window_extent()
    for text in texts:
        for place in range(len(_PLACES)):
            note = _annotate(axes, label, text, place)
            box = note.get_window_extent()
            inside = room.contains(*box.min) and room.contains(*box.max)
            if inside and not any(box.overlaps(other) for other in taken):
                return box
            note.remove()
    return _annotate(axes, label, texts[-1], 0).get_window_extent()


def _annotate(axes: "Axes", label: Label, text: str, place: int) -> "Annotation":
    right, up, across, along = _PLACES[place]
    return axes.annotate(
        text,
        (label.x, label.y),
        xytext=(right, up),
        textcoords="offset points",
        ha=across,
        va=along,
        fontsize=9,
        color=label.color,
    )
