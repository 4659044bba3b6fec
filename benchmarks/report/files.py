"""The files that a result speaks of, where this machine has them: opened, and profiled."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nstc.benchmarks.report.columns import all_rows, row_names
from nstc.benchmarks.report.stored_results import Run
from nstc.benchmarks.result import Row
from nstc.benchmarks.subjects import FLOAT, find_subject
from nstc.benchmarks.timing.layer_times import LayerTimes, layer_times
from nstc.benchmarks.timing.machine import usable_cores
from nstc.core.bundle import artifact_name
from nstc.core.errors import ArtifactError, NstcError, TeacherError
from nstc.core.progress import Progress
from nstc.runtime.model_files import model_bytes
from nstc.runtime.session import Session

THREADS: Final = 1
"""To draw with: the same file then gives the same picture whatever the number of cores."""

MOST: Final = 8
"""Files that are profiled: more bars than that tell nobody anything."""

LARGEST: Final = 1024
"""Side in pixels at which files are run for a page at most."""

_CPU: Final = re.compile(r"cpu:(\d{1,4})")


def open_student(row: Row, threads: int = THREADS) -> Session:
    """The very file that a row was measured on, by its name and its size in bytes.

    Raises:
        ArtifactError: there is no such file here, or it was made anew since.
        BundleError: and its kinds, if the model is not here or is damaged.
        TeacherError: it is a foreign file and no image-to-image network.
    """
    if not artifact_name(row.artifact).endswith("onnx"):
        raise ArtifactError(f"{row.artifact} is no ONNX file: only those are run for a report.")
    session = find_subject(row.model).open(row.artifact, threads)
    found = model_bytes(session.path)
    if found != row.size_bytes:
        raise ArtifactError(
            f"{session.path} has {found} bytes and was measured with {row.size_bytes}: "
            "it was made anew since."
        )
    return session


def teacher_name(run: Run, row: Row) -> str:
    """Whom a row's pictures are shown beside: its teacher, or else the reference."""
    return run.reference if row.quality is None else row.quality.teacher


def open_teacher(run: Run, name: str) -> Session:
    """The float graph of a teacher that a run names.

    Raises:
        ArtifactError: it has no such graph; the message says how to make it.
        BundleError: and its kinds, if the model is not here or is damaged.
        TeacherError: it is a foreign file and no image-to-image network, or the run's reference
            and another network than it was.
    """
    subject = find_subject(name)
    known = run.protocol.get("reference")
    if name == run.reference and known and subject.identity != known:
        raise TeacherError(f"{name} is not the network that was measured: it was changed since.")
    return subject.open(FLOAT, THREADS)


def same_file(row: Row) -> tuple[Path, str]:
    """What is equal for rows that were measured on one file, whatever their target."""
    return Path(row.model), artifact_name(row.artifact)


@dataclass(frozen=True, kw_only=True)
class Layers:
    """The whole section."""

    times: dict[str, LayerTimes]  # by name of the row
    left_out: tuple[tuple[str, str], ...]  # of what was not profiled, what it is and why


def profile_rows(runs: Sequence[Run], progress: Progress) -> Layers:
    """Profile every row's file at the row's size, with its threads where it is a CPU's row."""
    times: dict[str, LayerTimes] = {}
    left_out: list[tuple[str, str]] = []
    seen: set[object] = set()
    rows = list(zip(row_names(runs), all_rows(runs), strict=True))
    progress.begin("layer times", len(rows), 0)
    for position, (name, (_, row)) in enumerate(rows):
        progress.advance(position, {})
        found = _CPU.fullmatch(row.target)
        threads = max(1, min(int(found[1]), len(usable_cores()))) if found else 1
        key = (same_file(row), row.size_bytes, row.size, threads)
        if key in seen:
            continue
        seen.add(key)
        if len(times) == MOST:
            left_out.append((name, f"the first {MOST} files are profiled."))
            continue
        try:
            size = min(row.size, LARGEST)
            times[name] = layer_times(open_student(row).path, size=size, threads=threads)
        except NstcError as error:
            left_out.append((name, str(error)))
    progress.advance(len(rows), {})
    return Layers(times=times, left_out=tuple(left_out))
