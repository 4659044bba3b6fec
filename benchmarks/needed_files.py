"""Which files a benchmark will open, so that a caller who may export can make them first."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nstc.benchmarks.subjects import FLOAT, find_subject, reference_of, teacher_of
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.targets.cuda import TORCH
from nstc.core.bundle import artifact_name


class NeededFile(NamedTuple):
    """A file of a bundle.

    Attributes:
        model: The bundle's zoo name or path.
        artifact: Its full name.
    """

    model: str
    artifact: str


def needed_files(
    models: Sequence[str | Path],
    *,
    against: str | Path | None = None,
    artifacts: Sequence[str] = (),
    teacher: str | Path | None = None,
    quality: bool = True,
    size: int = 512,
    targets: Sequence[str],
) -> list[NeededFile]:
    """The files of bundles that `bench` opens when it is given the same arguments.

    Raises:
        OptionError: a target that can't run here, or models with different teachers.
        TeacherError: a teacher can't be found.
        BundleError: and its kinds, for bundles that can't be opened.
    """
    subjects = [find_subject(model) for model in models]
    opponent = reference_of(subjects, against)
    wanted = []
    for name in targets:
        target = parse_target(name)
        wanted.append((opponent, target.reference_artifact))
        wanted += [
            (subject, artifact_name(artifact))
            for subject in subjects
            for artifact in artifacts or target.artifacts(subject, size)
        ]
    if quality:
        wanted += [(teacher_of(subject, teacher), FLOAT) for subject in subjects]
    found = [
        NeededFile(own.name, artifact)
        for own, artifact in wanted
        if own.bundle is not None and artifact not in TORCH
    ]
    return list(dict.fromkeys(found))
