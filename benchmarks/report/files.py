"""The files that a result speaks of, where this machine has them."""

from pathlib import Path
from typing import Final

from nstc.benchmarks.report.reading import Run
from nstc.benchmarks.result import Row
from nstc.benchmarks.subjects import FLOAT, find_subject
from nstc.core.bundle import artifact_name
from nstc.core.errors import ArtifactError, TeacherError
from nstc.runtime.model_files import model_bytes
from nstc.runtime.session import Session

THREADS: Final = 1
"""To draw with: the same file then gives the same picture whatever the number of cores."""


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
