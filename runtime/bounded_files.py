"""Files stylised within a limit of memory: with Pillow where that fits, else in strips."""

from dataclasses import replace
from pathlib import Path

from nstc.core.errors import ImageError, MemoryLimitError
from nstc.core.images import Picture
from nstc.core.images.picture import Metadata, with_colors
from nstc.core.images.reading import ImageFile
from nstc.runtime import streaming
from nstc.runtime.bands import OnTile
from nstc.runtime.bounded import BoundedPainter, Plan
from nstc.runtime.control import PLAIN, Control
from nstc.runtime.picture_costs import cost_of


def paint_within(
    file: ImageFile,
    painter: BoundedPainter,
    control: Control = PLAIN,
    *,
    output_format: str | None = None,
    piped: bool = False,
    on_tile: OnTile | None = None,
) -> Picture:
    """Decode and stylise a file in the least memory.

    Args:
        file: The photograph; it can't be read again.
        painter: What paints it; it knows the limit.
        control: What is asked for.
        output_format: Pillow's name of the format that the result will be written in, if any.
        piped: Whether it is encoded in memory.
        on_tile: Called after each tile of a picture that is cut.

    Raises:
        MemoryLimitError: it does not fit, and nothing was decoded; the message says what would.
        ImageError: the photograph can't be read.
    """
    height, width = file.upright_size()
    cost = cost_of(file.image, output_format, piped=piped)
    cost = replace(cost, decoding=cost.decoding + file.content_bytes)
    plan = painter.plan(height, width, cost, control)
    photo = file.picture(in_bands=True)
    painted = painter.paint(photo.rgb, plan, control, on_tile)
    return with_colors(photo, painted)


def stream_within(
    photo: Path,
    target: Path,
    painter: BoundedPainter,
    control: Control,
    metadata: Metadata | None,
    too_large: MemoryLimitError,
) -> Plan:
    """Stylise a file in strips, after `paint_within` found that it does not fit.

    Args:
        photo: The photograph.
        target: The picture to write.
        painter: What paints it.
        control: What is asked for.
        metadata: What was to go with it: strips carry none.
        too_large: What `paint_within` raised.

    Returns:
        What was done.

    Raises:
        MemoryLimitError: strips don't do either; the message says why.
        OutputError: the place can't be written.
    """
    if not painter.cuts:
        raise too_large
    reason = _hindrance(target, control, metadata)
    if reason is not None:
        raise _with_more(too_large, reason) from too_large
    try:
        return streaming.stream(photo, target, painter, control)
    except ImageError as error:
        raise _with_more(too_large, str(error)) from error
    except MemoryLimitError as error:
        raise min(too_large, error, key=lambda either: either.needed_bytes) from error


def _hindrance(target: Path, control: Control, metadata: Metadata | None) -> str | None:
    """Why a picture can't pass through in strips, and what to do."""
    missing = streaming.availability()
    if missing is not None:
        return f"Or take less: {missing}"
    if not streaming.writes(target):
        return "A JPEG, PNG or TIFF file as --output takes less."
    if control.resizes:
        return "In strips, which take less, nothing is scaled: leave out --size and --style-scale."
    if metadata is not None:
        return "Strips, which take less, carry no EXIF: leave out --metadata keep."
    return None


def _with_more(error: MemoryLimitError, words: str) -> MemoryLimitError:
    return MemoryLimitError(f"{error} {words}", error.needed_bytes)
