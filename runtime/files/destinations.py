"""Where each picture goes, decided before any work: no two on one name, none over a photograph."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from nstc.core.errors import OptionError, OutputError
from nstc.core.images import FORMATS, format_of
from nstc.runtime.files.sources import STANDARD_STREAM, Source

_NUMBERED: Final = re.compile(r"\.v?\d[\d_-]*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class PictureJob:
    """One picture to be made of a source; without a target it goes to standard output."""

    source: Source
    target: Path | None


def plan(
    sources: Sequence[Source], output: str | Path, *, many: bool, ending: str | None = None
) -> list[PictureJob]:
    """Give each source its target.

    Args:
        sources: The pictures, at least one.
        output: `-` for standard output; for one picture a file; for several, or where it is a
            folder, has no ending or has a slash at its end, a folder in which they keep their names
            and the folders they lay in. A number, as in v1.2 or out.v2, is no ending.
        many: Whether the user named several pictures or a folder, even if it holds only one.
        ending: Of all files, such as .png; None for that of each source.

    Raises:
        OptionError: two pictures would land on one name, one would be overwritten, or the output
            is no place for them.
        OutputError: a folder is needed where there is a file.
    """
    if str(output) == STANDARD_STREAM:
        if many:
            raise OptionError("-o - takes one picture: give the name of a folder for several.")
        return [PictureJob(source=sources[0], target=None)]
    place = Path(output)
    has_ending = place.suffix and not _NUMBERED.fullmatch(place.suffix)
    if has_ending and not (many or is_folder(output)):
        try:
            name = format_of(place)
        except OptionError as error:
            raise OptionError(f"{error} To make a folder of that name, write {place}/ .") from None
        if ending is not None and FORMATS[ending] != name:
            raise OptionError(
                f"output is {place}, but format is {ending[1:]}: give one of the two."
            )
        jobs = [PictureJob(source=sources[0], target=place)]
    else:
        _refuse_as_folder(output, len(sources), many=many)
        jobs = []
        for source in sources:
            own = source.place.suffix if source.place.suffix.lower() in FORMATS else ".png"
            named = (source.place.stem or "picture") + (ending or own)
            jobs.append(PictureJob(source=source, target=place / source.place.parent / named))
    _refuse_collisions([job for job in jobs if job.source.failure is None])
    return jobs


def is_folder(output: str | Path) -> bool:
    """Whether it is a folder, or is written as one, with a slash at its end.

    One that may not be looked at is found out when it is written.
    """
    slash = str(output).endswith(("/", os.sep))
    return slash or os.path.isdir(output)  # noqa: PTH112  (pathlib raises there)


def _refuse_as_folder(output: str | Path, count: int, *, many: bool) -> None:
    if is_folder(output):
        return
    if os.path.exists(output):  # noqa: PTH110
        raise OutputError(f"cannot write into {output}: it is a file. Give the name of a folder.")
    suffix = Path(output).suffix.lower()  # of some picture, even of one that is not written
    if many and (suffix in FORMATS or suffix in Image.registered_extensions()):
        raise OptionError(
            f"output is {output}, one picture, for {count} photographs: give the name of a folder."
        )


def _refuse_collisions(jobs: Sequence[PictureJob]) -> None:
    photos = {os.path.realpath(job.source.path) for job in jobs if job.source.path is not None}
    taken: dict[str, Source] = {}
    for job in jobs:
        if job.target is None:
            continue
        if os.path.realpath(job.target) in photos:
            raise OptionError(f"{job.target} is one of the photographs: choose another --output.")
        other = taken.setdefault(os.path.normcase(job.target), job.source)
        if other is not job.source:
            raise OptionError(
                f"{other.name} and {job.source.name} would both be written to {job.target}: "
                "rename one of them, or stylise them into two folders."
            )
