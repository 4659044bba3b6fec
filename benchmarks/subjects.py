"""Models that a benchmark measures: bundles, and ONNX files that others made."""

import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nstc.core import errors, manifest, zoo
from nstc.core.bundle import TILES_ARTIFACT, Bundle, artifact_name, open_bundle
from nstc.core.graph_form import GraphForm
from nstc.core.model_names import local_path, result_name, shown_name
from nstc.runtime.foreign import contracts, networks
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.model_files import model_sha256
from nstc.runtime.packs.style_pack import is_pack
from nstc.runtime.session import Artifacts, Session, find_artifact, open_session

FLOAT: Final = "onnx"  # the artifact that references and teachers are run as
_FIXED_SHAPE: Final = re.compile(r"(\d+)x(\d+)\.(?:onnx|tflite)$")

Probe = Callable[[Path, GraphForm | None], contracts.GraphContract]
"""Finds out what a foreign ONNX file takes, given what a student's manifest says of it."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A model that can be run."""

    path: Path  # a bundle's folder, or an ONNX file
    bundle: Bundle | None  # the opened bundle; None for a foreign ONNX file
    trust: bool = False  # whether programs of others, TorchScript and ExecuTorch, may be loaded
    form: GraphForm | None = None  # how a foreign file is fed, if a student's manifest says so
    store: Artifacts = find_artifact  # where a bundle's files come from

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """How results call it: its name in the zoo, on a hub or of a zip file, else its path."""
        return result_name(self.path)

    @functools.cached_property
    def identity(self) -> str:
        """A hash that is equal for models that compute the same; see `Origin.sha256`."""
        return model_sha256(self.path) if self.bundle is None else self.bundle.identity

    def artifacts(self, size: int) -> tuple[str, ...]:
        """All ONNX artifacts that take a picture of size x size; the float one if it holds none.

        What runs tiles is the int8 network once more, so it is left out.
        """
        found = []
        for name in () if self.bundle is None else self.bundle.artifacts:
            takes = size_in(name) in {None, (size, size)}
            if takes and name.endswith("onnx") and name != TILES_ARTIFACT:
                found.append(name)
        return tuple(found) or (FLOAT,)

    def open(self, artifact: str, threads: int | None, probe: Probe = probe_contract) -> Session:
        """A session on the CPU; of a foreign file, which `probe` is asked about, only of `FLOAT`.

        Raises:
            TeacherError: a foreign file is not an image-to-image network.
            ArtifactError: there is no such file; the message says how to make it.
            BundleError: and its kinds, if it is damaged.
        """
        if self.bundle is not None:
            return open_session(
                self.bundle, artifact=artifact, threads=threads, trust=self.trust, store=self.store
            )
        if artifact_name(artifact) != FLOAT:
            raise errors.ArtifactError(
                f"{self.path} is an ONNX file and has no artifact {artifact}: "
                f"distill it to a bundle, or give --artifact {FLOAT}."
            )
        contract = probe(self.path, self.form)
        return networks.ForeignSession(self.path, contract, threads=threads, trust=self.trust)


def size_in(artifact: str) -> tuple[int, int] | None:
    """Height and width of the only pictures that a file takes, by its full name; None for any."""
    fixed = _FIXED_SHAPE.search(artifact)
    return None if fixed is None else (int(fixed[1]), int(fixed[2]))


Model = str | Path | Bundle | Subject  # a name, a path, or what was opened already
Find = Callable[[Model], Subject]


def find_subject(model: Model, *, trust: bool = False, store: Artifacts = find_artifact) -> Subject:
    """A bundle or an ONNX file by path or name; a subject stays as it is.

    `BundleError` and its kinds if it can't be opened; `OptionError` for a pack of styles.
    """
    if isinstance(model, Subject):
        return model
    if not isinstance(model, Bundle):
        path = local_path(model)
        if path.suffix.lower() == ".onnx" and path.is_file():
            return Subject(path, None, trust)
        model = open_bundle(model)
    if is_pack(model):
        place = zoo.named(model.path)
        raise errors.OptionError(
            f"{place} is a pack of styles, and one style is measured at a time: write its file "
            f"with nstc pack extract {place} --style NAME -o FILE.onnx, and give that."
        )
    return Subject(model.path, model, trust, store=store)


def finder(*, trust: bool = False, store: Artifacts = find_artifact) -> Find:
    """`find_subject` that opens each model once, whatever the number of times it is asked."""

    @functools.cache
    def opened(name: str) -> Subject:
        return find_subject(name, trust=trust, store=store)

    def find(model: Model) -> Subject:
        if isinstance(model, str | Path):
            return opened(str(model))
        return find_subject(model, trust=trust, store=store)

    return find


def with_known_form(subject: Subject, others: Sequence[Subject]) -> Subject:
    """A foreign file with the form that its students among some models have in their manifests."""
    if subject.bundle is not None or subject.form is not None:
        return subject
    for origin in (one.bundle.manifest.teacher for one in others if one.bundle is not None):
        if origin is not None and origin.form and origin.sha256 == subject.identity:
            return dataclasses.replace(subject, form=origin.form)
    return subject


def teacher_of(subject: Subject, given: Model | None, find: Find = find_subject) -> Subject:
    """The model that a model's pictures are compared with.

    That is the one `--teacher` names, if given, else the teacher in the manifest. A network that
    had no teacher is judged by its own float graph. `TeacherError` if it can't be found, or is
    another network than the manifest says.
    """
    if given is not None:
        return with_known_form(find_teacher(given, find), [subject])
    if subject.bundle is None:
        raise errors.TeacherError(
            f"{subject.path} does not say which its teacher is: give --teacher BUNDLE or an ONNX "
            "file, or --no-quality."
        )
    origin = subject.bundle.manifest.teacher
    return subject if origin is None else _recorded_teacher(subject, origin, find, "--teacher")


def style_bundle(subject: Subject, teacher: Subject | None) -> Bundle | None:
    """The bundle whose style a model's pictures should have: the teacher's, or else its own.

    None if neither has one.
    """
    bundles = (own.bundle for own in (teacher, subject) if own is not None)
    return next((own for own in bundles if own is not None and own.manifest.style), None)


def reference_of(
    subjects: Sequence[Subject], given: Model | None, find: Find = find_subject
) -> Subject:
    """What models are timed against: what `--against` names, or the teacher of all manifests.

    Raises:
        BundleError: there is nothing at the path that was given.
        TeacherError: a model names no teacher, or one that can't be found or was changed.
        OptionError: the models have different teachers.
    """
    if given is not None:
        return with_known_form(find(given), subjects)
    origins: dict[str, tuple[Subject, manifest.Origin]] = {}
    for subject in subjects:
        origin = None if subject.bundle is None else subject.bundle.manifest.teacher
        if origin is None:
            raise errors.TeacherError(
                f"{subject.name} names no teacher to be timed against: give --against a "
                "bundle or an ONNX file, or --against optimized for images optimised here."
            )
        origins.setdefault(origin.sha256, (subject, origin))
    (subject, origin), *others = origins.values()
    if others:
        names = ", ".join(own.zoo or own.name for _, own in origins.values())
        raise errors.OptionError(
            f"the models have different teachers, {names}: give the one that all are timed against "
            "with --against."
        )
    return with_known_form(_recorded_teacher(subject, origin, find, "--against"), subjects)


def _recorded_teacher(subject: Subject, origin: manifest.Origin, find: Find, flag: str) -> Subject:
    path = origin.zoo or origin.path
    if path is None:
        raise errors.TeacherError(
            f"the manifest of {subject.name} has no path of its teacher {origin.name}: "
            f"give {flag} BUNDLE or an ONNX file."
        )
    teacher = find_teacher(path, find, f"{origin.name}, the teacher of {subject.name}", flag)
    if teacher.identity != origin.sha256:
        raise errors.TeacherError(
            f"{path} is not the network that taught {subject.name}, it was changed since: "
            f"give {flag} to take it nonetheless, or another."
        )
    return with_known_form(teacher, [subject])


def find_teacher(
    model: Model, find: Find, what: str | None = None, flag: str = "--teacher"
) -> Subject:
    """A teacher, or a `TeacherError` that calls it `what` and names the flag to give another.

    Without `what` it is called by the flag and what was given with it.
    """
    try:
        return find(model)
    except errors.NstcError as error:
        what = what or f"{flag} {shown_name(str(model))}"
        raise errors.TeacherError(
            f"can't find {what}: {error} Give {flag} BUNDLE or an ONNX file; "
            "a checkpoint becomes a bundle with nstc import."
        ) from error
