"""Faults that leave every exact fact as it is: what goes into a session, or comes out, is changed.

Each run of a fault is a little different, as faults are, so that no two runs compute the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from nstc.core.images import Pixels
from nstc.runtime.session import Session

Change = Callable[[Pixels], Pixels]


def as_it_is(rgb: Pixels) -> Pixels:
    """No change."""
    return rgb


class Changed:
    """A session whose pictures are changed on the way in and out; all else is its own."""

    def __init__(self, session: Session, before: Change = as_it_is, after: Change = as_it_is):
        self._session = session
        self._before = before
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def prepare(self, rgb: Pixels) -> Any:
        return self._session.prepare(self._before(rgb))

    def finish(self, raw: Any) -> Pixels:
        return self._after(self._session.finish(raw))

    def run(self, rgb: Pixels) -> Pixels:
        return self.finish(self._session.infer(self.prepare(rgb)))


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong with a picture.

    Attributes:
        name: In words.
        rows: The metrics of which one at least must say so.
        wrap: From a session and the number of the run to a faulty session.
    """

    name: str
    rows: frozenset[str]
    wrap: Callable[[Session, int], Session]


def swapped(rgb: Pixels) -> Pixels:
    """Red and blue in each other's place."""
    return np.ascontiguousarray(rgb[..., ::-1])


def scaled(rgb: Pixels, factor: float) -> Pixels:
    """Every value times a factor, clipped and rounded."""
    return np.clip(np.rint(rgb * factor), 0, 255).astype(np.uint8)


def without_channel(rgb: Pixels, channel: int) -> Pixels:
    """One colour at 0."""
    left = rgb.copy()
    left[..., channel] = 0
    return left


def with_checkerboard(rgb: Pixels, levels: int, cell: int) -> Pixels:
    """Squares of `cell` pixels that are lighter and darker by turns."""
    rows, columns = (np.arange(side) // cell for side in rgb.shape[:2])
    sign = np.where((rows[:, None] + columns[None, :]) % 2, 1, -1)
    return np.clip(rgb.astype(np.int16) + levels * sign[..., None], 0, 255).astype(np.uint8)


def _swapped_channels(session: Session, run: int) -> Session:
    return Changed(session, before=swapped) if run % 2 else Changed(session, after=swapped)


def _range_mistaken(session: Session, run: int) -> Session:
    """Bytes taken for values up to 1, and values up to 1 taken for bytes."""
    factor = 1 / 255 if run % 2 else 255
    return Changed(session, before=lambda rgb: scaled(rgb, factor))


def _brightness(session: Session, run: int) -> Session:
    factor = 0.98 if run % 2 else 1.02
    return Changed(session, after=lambda rgb: scaled(rgb, factor))


def _zeroed_channel(session: Session, run: int) -> Session:
    return Changed(session, after=lambda rgb: without_channel(rgb, run % 3))


def _checkerboard(session: Session, run: int) -> Session:
    levels, cell = 3 + run % 3, 1 + run % 2
    return Changed(session, after=lambda rgb: with_checkerboard(rgb, levels, cell))


PICTURE_FAULTS: Final = (
    Fault(
        name="swapped channels",
        rows=frozenset(("color_drift", "histogram_distance")),
        wrap=_swapped_channels,
    ),
    Fault(
        name="range mistaken",
        rows=frozenset(("content_ratio", "ssim")),
        wrap=_range_mistaken,
    ),
    Fault(name="2 % brightness", rows=frozenset(("lightness_shift",)), wrap=_brightness),
    Fault(
        name="zeroed channel",
        rows=frozenset(("color_drift", "histogram_distance")),
        wrap=_zeroed_channel,
    ),
    Fault(name="checkerboard", rows=frozenset(("checkerboard_ratio",)), wrap=_checkerboard),
)
