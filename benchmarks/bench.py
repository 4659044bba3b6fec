"""The benchmark: every model's every artifact beside one reference, on the same photographs."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nstc.benchmarks.complexity import Complexity, complexity
from nstc.benchmarks.machine import machine_facts, usable_cores
from nstc.benchmarks.provenance import taken_now
from nstc.benchmarks.quality import (
    Candidate,
    StyleTarget,
    Teacher,
    judge,
    style_of_outputs,
)
from nstc.benchmarks.result import (
    BenchProtocol,
    BenchResult,
    LatencySummary,
    Quality,
    Reference,
    Row,
)
from nstc.benchmarks.roofline import Roofline, roofline
from nstc.benchmarks.statistics import median
from nstc.benchmarks.subjects import (
    FLOAT,
    Probe,
    Subject,
    find_subject,
    reference_of,
    remembering,
    teacher_of,
)
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.targets.base import Reading, Target
from nstc.core.bundle import artifact_name
from nstc.core.errors import OptionError, PhotosError
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress, Silent
from nstc.core.recipe import BenchRecipe
from nstc.models.architectures import style_of
from nstc.models.vgg import VggFeatures, load_vgg, vgg_identity
from nstc.runtime.check_vectors import refuse_without_picture
from nstc.runtime.foreign import probe_contract
from nstc.runtime.model_files import model_bytes
from nstc.runtime.session import MAX_THREADS, Session


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A row to be: a model, one of its artifacts opened, and whom it is judged by."""

    subject: Subject
    artifact: str
    session: Session
    teacher: Teacher | None
    teacher_subject: Subject | None

    @property
    def file(self) -> tuple[Path, str]:
        return self.subject.path.resolve(), self.artifact


def bench(
    models: Sequence[str | Path],
    *,
    against: str | Path | None = None,
    artifacts: Sequence[str] = (),
    photos: PhotoSet,
    recipe: BenchRecipe,
    teacher: str | Path | None = None,
    quality: bool = True,
    vgg: str = "shipped",
    probe: Probe = probe_contract,
    trust: bool = False,
    progress: Progress | None = None,
    finished: Callable[[BenchResult], None] | None = None,
) -> BenchResult:
    """Time models beside a reference, and judge their pictures by their teachers'.

    Nothing is exported: a file that is missing is an error that says how to make it.

    Args:
        models: Bundles, zoo names or ONNX files.
        against: The reference, timed on each target as its float file for it; by default the
            teacher that the manifests of all models name.
        artifacts: Which files of each model; by default all that the target runs.
        photos: At most `recipe.quality_photos` of them are used; the first is what is timed.
        recipe: Settings.
        teacher: Judge all models by this bundle or ONNX file; by default each by its own teacher.
        quality: Whether to judge pictures at all.
        vgg: See `nstc.models.vgg.load_vgg`.
        probe: Finds out what foreign ONNX files take; see `nstc.runtime.foreign.probe_contract`.
        trust: Whether programs of others, TorchScript and ExecuTorch, may be loaded.
        progress: Told of rounds and photographs.
        finished: Told after each target what is found so far, and before its pictures are judged
            its times, so that a run that is stopped has not been for nothing.

    Raises:
        OptionError: no models, ones with different teachers and nothing to go `against`, or a
            target that can't run here.
        PhotosError: no photographs.
        ArtifactError: a model does not hold the file to be run.
        TeacherError: a teacher can't be found.
        UnusableModelError: a file makes no picture.
        BundleError: and its kinds, for bundles that can't be opened.
    """
    if not models:
        raise OptionError("nothing to bench: give a bundle or a zoo name.")
    if not len(photos):
        raise PhotosError("no photographs to bench on: --photos takes a folder of photographs.")
    progress = progress or Silent()
    photos = photos.take(recipe.quality_photos)
    targets = [parse_target(name) for name in recipe.targets]
    eye = load_vgg(vgg) if quality else None
    subjects = [find_subject(model, trust=trust) for model in models]
    opponent = remembering(reference_of(subjects, against, trust=trust), subjects)
    teachers = _Teachers(probe)
    judges = [teacher_of(subject, teacher) if quality else None for subject in subjects]
    lanes = [
        _Lane(
            target=target,
            reference=target.open(opponent, target.reference_artifact, probe),
            entries=tuple(
                _Entry(
                    subject=subject,
                    artifact=artifact_name(artifact),
                    session=target.open(subject, artifact, probe),
                    teacher=None if judge_by is None else teachers.open(judge_by),
                    teacher_subject=judge_by,
                )
                for subject, judge_by in zip(subjects, judges, strict=True)
                for artifact in artifacts or target.artifacts(subject, recipe.size)
            ),
        )
        for target in targets
    ]
    _refuse_without_picture(lanes)
    quality_of = _QualityOf(photos, eye, recipe, progress)
    result = BenchResult(
        machine=machine_facts(),
        protocol=_protocol(photos, recipe, vgg if quality else None, opponent),
        references=(),
        rows=(),
        unfinished=tuple(target.name for target in targets),
        taken=taken_now(),
    )
    picture = next(photos.squares(recipe.size))
    for lane in lanes:
        reading = lane.measure(picture, recipe, progress)
        timed = dataclasses.replace(
            result, references=(*result.references, lane.reference_row(opponent, reading))
        )
        if finished is not None and quality:  # judging takes long, and the times are there
            unjudged = lane.rows(reading, [None] * len(lane.entries), recipe)
            finished(dataclasses.replace(timed, rows=(*result.rows, *unjudged)))
        judged = quality_of.all(lane.entries)
        result = dataclasses.replace(
            timed,
            rows=(*result.rows, *lane.rows(reading, judged, recipe)),
            unfinished=result.unfinished[1:],
        )
        if finished is not None:
            finished(result)
    return result


def _refuse_without_picture(lanes: Sequence["_Lane"]) -> None:
    """Refuse files that make no picture before anything is timed.

    Raises:
        UnusableModelError: what one gives is one colour, or not finite.
    """
    opened = [lane.reference for lane in lanes]
    for entry in (entry for lane in lanes for entry in lane.entries):
        opened.append(entry.session)
        if entry.teacher is not None:
            opened.append(entry.teacher.session)
    for session in {id(session): session for session in opened}.values():
        refuse_without_picture(session.run, session.path, getattr(session, "fixed_size", None))


@dataclass(frozen=True, kw_only=True)
class _Lane:
    """A target with everything opened that is measured there."""

    target: Target
    reference: Session
    entries: tuple[_Entry, ...]

    def measure(self, picture: Pixels, recipe: BenchRecipe, progress: Progress) -> Reading:
        sessions = [entry.session for entry in self.entries]
        return self.target.measure(self.reference, sessions, picture, recipe, progress)

    def reference_row(self, opponent: Subject, reading: Reading) -> Reference:
        return Reference(
            model=opponent.name,
            artifact=self.target.reference_artifact,
            target=self.target.name,
            latency_ms=LatencySummary.of(reading.timings.reference_ms),
            place=reading.place,
            watch=reading.timings.watch,
            peaks=reading.peaks,
        )

    def rows(
        self, reading: Reading, judged: Sequence[Quality | None], recipe: BenchRecipe
    ) -> list[Row]:
        rows = []
        for position, (entry, quality) in enumerate(zip(self.entries, judged, strict=True)):
            bundle = entry.subject.bundle
            counted = None if bundle is None else complexity(bundle, recipe.size)
            facts = reading.rows[position]
            rows.append(
                Row(
                    model=entry.subject.name,
                    artifact=entry.artifact,
                    target=self.target.name,
                    size=recipe.size,
                    latency_ms=LatencySummary.of(reading.timings.candidates_ms[position]),
                    speedup=reading.timings.speedup(position, seed=recipe.seed),
                    params=counted.params if counted else None,
                    macs=counted.macs if counted else None,
                    size_bytes=model_bytes(entry.session.path),
                    quality=quality,
                    counts=facts.counts,
                    footprint=facts.footprint,
                    throughput=facts.throughput,
                    provider=facts.provider,
                    roofline=_roofline(entry, counted, reading, position),
                )
            )
        return rows


def _roofline(
    entry: _Entry, counted: Complexity | None, reading: Reading, position: int
) -> Roofline | None:
    if counted is None or reading.peaks is None:
        return None
    return roofline(
        entry.artifact,
        macs=counted.macs,
        moved_values=counted.moved_values,
        file_bytes=model_bytes(entry.session.path),
        latency_ms=median(reading.timings.candidates_ms[position]),
        peaks=reading.peaks,
    )


class _Teachers:
    """The float graphs that pictures are judged by, opened once each on all cores."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._opened: dict[Path, Teacher] = {}

    def open(self, subject: Subject) -> Teacher:
        place = subject.path.resolve()
        if place not in self._opened:
            session = subject.open(FLOAT, min(len(usable_cores()), MAX_THREADS), self._probe)
            self._opened[place] = Teacher(name=subject.name, session=session)
        return self._opened[place]


class _QualityOf:
    """The quality of files, each judged once whatever the number of targets it is timed on."""

    def __init__(
        self,
        photos: PhotoSet,
        vgg: VggFeatures | None,
        recipe: BenchRecipe,
        progress: Progress,
    ) -> None:
        self._photos = photos
        self._vgg = vgg
        self._recipe = recipe
        self._progress = progress
        self._known: dict[tuple[Path, str], Quality] = {}

    def all(self, entries: Sequence[_Entry]) -> list[Quality | None]:
        if self._vgg is None:
            return [None] * len(entries)
        new = {entry.file: entry for entry in entries if entry.file not in self._known}
        if new:
            judged = _judge(
                list(new.values()), self._photos, self._vgg, self._recipe, self._progress
            )
            self._known |= zip(new, judged, strict=True)
        return [self._known[entry.file] for entry in entries]


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
