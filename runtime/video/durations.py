"""How much of a file is missing, by the lengths that it states."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from av.container import InputContainer
from av.stream import Stream

_MICROSECOND: Final = Fraction(1, 1_000_000)
_TAG: Final = "DURATION"
_CLOCK: Final = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_KEEPS_LENGTHS: Final = "mp4"
"""In the name of formats whose index states the length of each stream. FLV and AVI write that of
the file there."""


def missing_seconds(container: InputContainer, ends_s: Mapping[int, Fraction]) -> float:
    """Seconds between where packets end and where the file says that they do.

    Args:
        container: Read to its end.
        ends_s: When the last packet of each stream that was read ends, by the stream's index.

    Returns:
        Of the stream that lacks most, or of the file as a whole where it states no lengths of
        streams; 0 or less if nothing is missing or stated.
    """
    stated = {stream.index: _stated_s(container, stream) for stream in container.streams}
    missing = [
        float(stated_s - ends_s.get(index, Fraction(0)))
        for index, stated_s in stated.items()
        if stated_s is not None and _is_read(container.streams[index])
    ]
    if missing:
        return max(missing)
    if container.duration is None or not ends_s:
        return 0.0
    end_s = ((container.start_time or 0) + container.duration) * _MICROSECOND
    return float(end_s - max(ends_s.values()))


def _is_read(stream: Stream) -> bool:
    return stream.type in {"video", "audio"}


def _stated_s(container: InputContainer, stream: Stream) -> Fraction | None:
    """When a stream ends by what the file states of it, or None."""
    clock = _CLOCK.fullmatch(stream.metadata.get(_TAG, ""))
    if clock is not None:
        hours, minutes, seconds = clock.groups()
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    if _KEEPS_LENGTHS in container.format.name and stream.duration and stream.time_base:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base
    return None
