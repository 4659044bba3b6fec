"""Archives: pictures by the thousand, from folders, lists and object stores, to one place.

As `nstc.runtime.files.batch` does for what is named one by one, and by the same steps. Results keep
the path of their picture, none leads out of the place, and what is there already is skipped.
"""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from nstc.core import files
from nstc.core.errors import ImageError, NstcError, OptionError, OutputError
from nstc.core.images import FORMATS
from nstc.core.remote.fetching import is_address
from nstc.core.terminal import printable
from nstc.runtime.files import object_stores
from nstc.runtime.files.batch import BatchOptions, MadeBefore, PictureOutcome, outcome_of
from nstc.runtime.files.object_stores import StoredSource, is_stored, looks_remote
from nstc.runtime.files.picture_jobs import (
    ALL,
    STANDARD_STREAM,
    PictureJob,
    Source,
    find_sources,
    matches,
    plan,
    plan_into,
)
from nstc.runtime.files.picture_lists import ListedPicture, is_list, rows_of
from nstc.runtime.stylizer import Stylizer


@dataclass(frozen=True, kw_only=True)
class ArchiveJob(PictureJob):
    """One picture of an archive, with the path of its result.

    In a store that is the address of an object, and `output` has only its name.
    """

    output: Path
    address: str | None = None

    @property
    def place(self) -> str:
        """Where the result is, for people."""
        return self.address or str(self.output)


def find_archived(inputs: Sequence[str], output: str, *, pattern: str = ALL) -> list[Source]:
    """The pictures of folders, lists, files and addresses, in that order.

    A list's relative paths begin at its folder. Its pictures keep these; absolute ones and
    addresses are kept whole, without the root or the scheme.

    Raises:
        OptionError: nothing was named, standard input was, or a list has no column of paths.
        ImageError: a folder or list holds no picture, or can't be read.
        FetchError: an object store does not give what was named.
        AccessError: nor may this machine ask for it.
    """
    if STANDARD_STREAM in inputs:
        raise OptionError("- is one picture: give folders, lists or files of an archive.")
    if not inputs:
        return find_sources(inputs)
    found: list[Source] = []
    for given in inputs:
        if is_list(given):
            found += (_listed(row, given) for row in rows_of(given))
        elif is_stored(given):
            found += _stored(given, pattern, output)
        else:
            leave_out = None if is_stored(output) else output
            found += find_sources([given], pattern=pattern, output=leave_out)
    return found


def _stored(given: str, pattern: str, output: str) -> list[Source]:
    """An object that is a picture by its ending, else all pictures below a prefix.

    Those below `output` are results, of this run or of earlier ones.
    """
    if PurePosixPath(given).suffix.lower() in FORMATS and not given.endswith("/"):
        return [_source_of(given, PurePosixPath(given).name)]
    results = output.rstrip("/") + "/"
    if results == given.rstrip("/") + "/":
        raise OptionError(f"{given} holds the photographs: choose another --output.")
    found = [
        _source_of(address, str(below))
        for address, below in object_stores.objects_below(given)
        if not any(part.startswith(".") and part != ".." for part in below.parts)
        and not address.startswith(results)
        and matches(Path(below), pattern)
    ]
    if not found:
        raise ImageError(f"no pictures below {given}: no object there is like {pattern}.")
    return found


def _listed(row: ListedPicture, listing: str) -> Source:
    path = row.path
    if is_address(path):
        kept = path.partition("://")[2]
        if not is_stored(path):  # whose keys may have both
            kept = re.split("[?#]", kept)[0]
        return _source_of(path, row.output or kept)
    if is_stored(listing):
        if path.startswith("/"):
            raise OptionError(
                f"{listing} names {path}, a path of this machine: expected addresses, or paths "
                "below the list's own folder."
            )
        address = f"{listing.rpartition('/')[0]}/{path}"
        return _source_of(address, row.output or path)
    folder = Path(listing).parent.absolute()
    whole = Path(os.path.normpath(folder / path))
    below = whole.relative_to(folder) if whole.is_relative_to(folder) else whole
    name = row.output or below.as_posix().removeprefix(below.anchor.replace("\\", "/"))
    return _source_of(str(Path(listing).parent / path), name, folder / path)


def _source_of(name: str, relative: str, path: Path | None = None) -> Source:
    """A source; one whose result would lead out of the output folder has that as its failure."""
    kept = [part for part in relative.split("/") if part not in {"", "."}]
    failure: NstcError | None = None
    if not _is_a_name(name + relative):
        failure = ImageError(f"{printable(name)} can't be the name of a file.")
        kept, path = ["picture"], None
    elif relative.startswith("/") or not kept or any(map(_leads_elsewhere, kept)):
        failure = OptionError(
            f"{name} would be written to {relative}, which leads out of the output folder: "
            "expected a path below it."
        )
        kept = ["picture"]
    kind = StoredSource if path is None and is_stored(name) else Source
    return kind(name=name, relative=Path(*kept), path=path, failure=failure)


def _leads_elsewhere(part: str) -> bool:
    """Whether a part of a path is a way out of a folder, on this system or on another.

    Windows has backslashes, and goes to a drive that any part of a path begins with. A drive is a
    letter, though Python for Windows may see others.
    """
    has_drive = re.match(r"[A-Za-z]:", part) is not None or Path(part).drive != ""
    return part == ".." or "\\" in part or "\0" in part or has_drive


def _is_a_name(text: str) -> bool:
    """Whether the system can have it in the name of a file."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # such as half of a pair that stands for one character
        return False


def plan_archived(
    sources: Sequence[Source],
    output: str,
    ending: str | None = None,
    painting: Path | None = None,
) -> list[ArchiveJob]:
    """Give each source the place of its result, below a folder or a prefix of an object store.

    `OptionError` and `OutputError` as `nstc.runtime.files.picture_jobs.plan`.
    """
    if output == STANDARD_STREAM:
        raise OptionError("-o - takes one picture: give the name of a folder.")
    if not is_stored(output):
        if looks_remote(output):
            raise OptionError(f"output is {output}: expected a folder, s3://... or gs://...")
        jobs = plan(sources, output, many=True, ending=ending, painting=painting)
        return [
            ArchiveJob(source=job.source, output=job.output)
            for job in jobs
            if job.output is not None
        ]
    root, prefix = Path(output), output.rstrip("/")
    return [
        ArchiveJob(
            source=job.source,
            output=Path(job.output.name),
            address=f"{prefix}/{job.output.relative_to(root).as_posix()}",
        )
        for job in plan_into(root, sources, ending)
        if job.output is not None
    ]


def stylize_archived(
    job: ArchiveJob, stylizer: Stylizer, options: BatchOptions, before: MadeBefore
) -> PictureOutcome:
    """Stylise one picture, unless its result is there already.

    A file appears whole or not at all, and so does an object. What is there was made by the model
    and the settings of this run where records say so; of objects there are none.

    Raises:
        OutputError: the disk is full or read-only, or the store has no such bucket: so it would be
            with the others.
        AccessError: likewise, if this machine has no valid credentials, or may not write there.
        UnusableModelError: as `nstc.runtime.files.batch.stylize_files`.
    """
    if job.address is None:
        return outcome_of(job, stylizer, options, before)
    start = time.perf_counter()
    name = job.source.name
    outcome = PictureOutcome(source=name, output=job.address, status="failed")
    try:
        if object_stores.exists(job.address):
            return replace(outcome, status="skipped")
        with files.scratch_folder() as folder:
            draft = replace(job, output=folder / job.output.name, address=None)
            made = outcome_of(draft, stylizer, options, None)
            if made.status == "done":
                object_stores.write(job.address, draft.output.read_bytes())
    except OutputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise
        return replace(outcome, error=error, seconds=time.perf_counter() - start)
    return replace(made, output=job.address, seconds=time.perf_counter() - start)
