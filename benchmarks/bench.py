"""The benchmark: every model's every artifact beside one reference, on the same photographs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nstc.benchmarks.complexity import complexity
from nstc.benchmarks.footprint import Footprint, measure_footprint
from nstc.benchmarks.latency import Timings, alternate
from nstc.benchmarks.machine import machine_facts
from nstc.benchmarks.quality import (
    Candidate,
    Quality,
    StyleTarget,
    Teacher,
    judge,
    style_of_outputs,
)
from nstc.benchmarks.result import BenchProtocol, BenchResult, Reference, Row
from nstc.benchmarks.subjects import FLOAT, Probe, Subject, find_subject, teacher_of
from nstc.benchmarks.targets import Target, parse_target
from nstc.core.bundle import artifact_name
from nstc.core.errors import OptionError, PhotosError
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress, Silent
from nstc.core.recipe import BenchRecipe
from nstc.models.architectures import style_of
from nstc.models.vgg import VggFeatures, load_vgg, vgg_identity
from nstc.runtime.foreign import ForeignSession, probe_contract
from nstc.runtime.session import Session


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A row to be: a model, one of its artifacts opened, and whom it is judged by."""

    subject: Subject
    artifact: str
    session: Session
    teacher: Teacher | None
    teacher_subject: Subject | None


def bench(
    models: Sequence[str | Path],
    *,
    against: str | Path,
    artifacts: Sequence[str] = (),
    photos: PhotoSet,
    recipe: BenchRecipe,
    teacher: str | Path | None = None,
    quality: bool = True,
    vgg: str = "shipped",
    probe: Probe = probe_contract,
    progress: Progress | None = None,
) -> BenchResult:
    """Time models beside a reference, and judge their pictures by their teachers'.

    Nothing is exported: a file that is missing is an error that says how to make it.

    Args:
        models: Bundles, zoo names or ONNX files.
        against: The reference, timed as its float ONNX graph.
        artifacts: Which files of each model; by default all its ONNX files.
        photos: At most `recipe.quality_photos` of them are used; the first is what is timed.
        recipe: Settings.
        teacher: Judge all models by this bundle or ONNX file; by default each by its own teacher.
        quality: Whether to judge pictures at all.
        vgg: See `nstc.models.vgg.load_vgg`.
        probe: Finds out what foreign ONNX files take; see `nstc.runtime.foreign.probe_contract`.
        progress: Told of rounds and photographs.

    Raises:
        OptionError: no models, or a target that can't run here.
        PhotosError: no photographs.
        ArtifactError: a model does not hold the file to be run.
        TeacherError: a teacher can't be found.
        BundleError: and its kinds, for bundles that can't be opened.
    """
    if not models:
        raise OptionError("nothing to bench: give a bundle or a zoo name.")
    if not len(photos):
        raise PhotosError("no photographs to bench on: --photos takes a folder of photographs.")
    progress = progress or Silent()
    photos = photos.take(recipe.quality_photos)
    target = parse_target(recipe.target)
    eye = load_vgg(vgg) if quality else None
    opponent = find_subject(against)
    subjects = [find_subject(model) for model in models]
    teachers = [teacher_of(subject, teacher) if quality else None for subject in subjects]
    with target.pinned():
        reference = opponent.open(FLOAT, target.threads, probe)
        floats = _FloatSessions(target.threads, probe, {opponent.path.resolve(): reference})
        entries = [
            _Entry(
                subject=subject,
                artifact=artifact_name(artifact),
                session=subject.open(artifact, target.threads, probe),
                teacher=None if own_teacher is None else floats.teacher(own_teacher),
                teacher_subject=own_teacher,
            )
            for subject, own_teacher in zip(subjects, teachers, strict=True)
            for artifact in artifacts or subject.artifacts(recipe.size)
        ]
        timings = _time(reference, entries, next(photos.squares(recipe.size)), recipe, progress)
    judged: Sequence[Quality | None] = [None] * len(entries)
    if eye is not None:
        judged = _judge(entries, photos, eye, recipe, progress)
    return BenchResult(
        machine=machine_facts(),
        protocol=_protocol(photos, recipe, vgg if quality else None, opponent),
        reference=Reference(
            model=opponent.name,
            artifact=FLOAT,
            target=target.name,
            samples_ms=timings.reference_ms,
        ),
        rows=_rows(entries, timings, judged, recipe, target),
    )


class _FloatSessions:
    """Teachers' sessions, opened once each; the reference's own is used again."""

    def __init__(self, threads: int, probe: Probe, sessions: dict[Path, Session]) -> None:
        self._threads = threads
        self._probe = probe
        self._sessions = sessions
        self._teachers: dict[Path, Teacher] = {}

    def teacher(self, subject: Subject) -> Teacher:
        place = subject.path.resolve()
        if place not in self._sessions:
            self._sessions[place] = subject.open(FLOAT, self._threads, self._probe)
        if place not in self._teachers:
            self._teachers[place] = Teacher(name=subject.name, session=self._sessions[place])
        return self._teachers[place]


def _time(
    reference: Session,
    entries: Sequence[_Entry],
    picture: Pixels,
    recipe: BenchRecipe,
    progress: Progress,
) -> Timings:
    runs = [
        partial(session.infer, session.prepare(picture))
        for session in (reference, *(entry.session for entry in entries))
    ]
    return alternate(runs[0], runs[1:], rounds=recipe.rounds, seed=recipe.seed, progress=progress)


def _judge(
    entries: Sequence[_Entry],
    photos: PhotoSet,
    vgg: VggFeatures,
    recipe: BenchRecipe,
    progress: Progress,
) -> list[Quality]:
    of_outputs: dict[str, StyleTarget] = {}
    candidates = []
    for entry in entries:
        teacher = entry.teacher
        if teacher is None:
            raise ValueError(f"{entry.subject.name} has no teacher to be judged by")
        style = _known_style(entry.teacher_subject) or _known_style(entry.subject)
        if style is None and teacher.name not in of_outputs:
            of_outputs[teacher.name] = style_of_outputs(teacher, photos, size=recipe.size, vgg=vgg)
        candidates.append(
            Candidate(
                session=entry.session, teacher=teacher, style=style or of_outputs[teacher.name]
            )
        )
    return judge(candidates, photos, size=recipe.size, vgg=vgg, seed=recipe.seed, progress=progress)


def _known_style(subject: Subject | None) -> StyleTarget | None:
    if subject is None or subject.bundle is None or subject.bundle.manifest.style is None:
        return None
    statistics = style_of(subject.bundle)
    if statistics is None:
        return None
    return StyleTarget(statistics=statistics, source=subject.bundle.manifest.style.source)


def _protocol(
    photos: PhotoSet, recipe: BenchRecipe, vgg: str | None, opponent: Subject
) -> BenchProtocol:
    return BenchProtocol(
        rounds=recipe.rounds,
        size=recipe.size,
        photos=photos.record(),
        seed=recipe.seed,
        vgg=None if vgg is None else vgg_identity(vgg),
        reference=opponent.identity,
    )


def _rows(
    entries: Sequence[_Entry],
    timings: Timings,
    judged: Sequence[Quality | None],
    recipe: BenchRecipe,
    target: Target,
) -> tuple[Row, ...]:
    rows = []
    for position, (entry, quality) in enumerate(zip(entries, judged, strict=True)):
        bundle = entry.subject.bundle
        counted = None if bundle is None else complexity(bundle, recipe.size)
        rows.append(
            Row(
                model=entry.subject.name,
                artifact=entry.artifact,
                target=target.name,
                size=recipe.size,
                samples_ms=timings.candidates_ms[position],
                speedup=timings.speedup(position, seed=recipe.seed),
                params=counted.params if counted else None,
                macs=counted.macs if counted else None,
                size_bytes=entry.session.path.stat().st_size,
                quality=quality,
                footprint=_footprint(entry.session, recipe, target),
            )
        )
    return tuple(rows)


def _footprint(session: Session, recipe: BenchRecipe, target: Target) -> Footprint | None:
    """Of nstc's own graphs: a foreign file's contract is not known to a fresh process."""
    if not target.reports_memory or isinstance(session, ForeignSession):
        return None
    with target.pinned():
        return measure_footprint(session.path, size=recipe.size, threads=target.threads)
