"""The benchmark: every model's every artifact beside one reference, on the same photographs."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nstc.benchmarks.quality.judging import (
    Candidate,
    JudgingTeacher,
    StyleTarget,
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
    taken_now,
)
from nstc.benchmarks.subjects import (
    FLOAT,
    Model,
    Probe,
    Subject,
    finder,
    reference_of,
    remembering,
    teacher_of,
)
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.targets.base import Measurement, Target
from nstc.benchmarks.timing.machine import machine_facts, roofline, usable_cores
from nstc.benchmarks.timing.statistics import median
from nstc.core.bundle import artifact_name
from nstc.core.errors import OptionError, PhotosError
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress, Silent
from nstc.core.recipe import BenchRecipe
from nstc.models.complexity import complexity
from nstc.models.style import style_of
from nstc.models.vgg import VggFeatures, load_vgg, vgg_identity
from nstc.runtime.arrays import refuse_without_picture
from nstc.runtime.foreign.probing import probe_contract
from nstc.runtime.model_files import model_bytes
from nstc.runtime.session import MAX_THREADS, Artifacts, Session, find_artifact


def bench(
    models: Sequence[Model],
    *,
    against: Model | None = None,
    artifacts: Sequence[str] = (),
    photos: PhotoSet,
    recipe: BenchRecipe,
    teacher: Model | None = None,
    quality: bool = True,
    vgg: str = "shipped",
    probe: Probe = probe_contract,
    trust: bool = False,
    store: Artifacts = find_artifact,
    progress: Progress | None = None,
    finished: Callable[[BenchResult], None] | None = None,
) -> BenchResult:
    """Time models beside a reference, and judge their pictures by their teachers'.

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
        probe: Finds out what ONNX files of others take; see `nstc.runtime.foreign.probing`.
        trust: Whether programs of others, TorchScript and ExecuTorch, may be loaded.
        store: Where bundles' files come from.
        progress: Told of rounds and photographs.
        finished: Told after each target, and before its pictures are judged, what is found so far:
            a run that is stopped has not been for nothing.

    Raises:
        OptionError: no models, several teachers and no `against`, or a target can't run here.
        PhotosError: no photographs.
        ArtifactError: a model does not hold the file to be run, and the store does not make it.
        TeacherError: a teacher can't be found.
        UnusableModelError: a file makes no picture: one colour, or what is not finite.
        BundleError: and its kinds, for bundles that can't be opened.
    """
    if not models:
        raise OptionError("nothing to bench: give a bundle or a zoo name.")
    if not len(photos):
        raise PhotosError("no photographs to bench on: --photos takes a folder of photographs.")
    targets = [parse_target(name) for name in recipe.targets]
    eye = load_vgg(vgg) if quality else None
    run = _Run(photos.take(recipe.quality_photos), recipe, eye, progress or Silent())
    find = finder(trust=trust, store=store)
    subjects = [find(model) for model in models]
    opponent = remembering(reference_of(subjects, against, find), subjects)
    judges = [teacher_of(subject, teacher, find) if quality else None for subject in subjects]
    lanes = _opened(targets, opponent, subjects, judges, artifacts, recipe.size, probe)
    sessions = [session for lane in lanes for session in lane.sessions]
    sessions += [own.teacher.session for lane in lanes for own in lane.entries if own.teacher]
    for session in {id(session): session for session in sessions}.values():
        refuse_without_picture(session.run, session.path, getattr(session, "fixed_size", None))
    return run.carried_out(lanes, opponent, vgg_identity(vgg) if quality else None, finished)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A row to be: a model, one of its artifacts opened, and whom it is judged by."""

    subject: Subject
    artifact: str
    session: Session
    judge: Subject | None
    teacher: JudgingTeacher | None

    @property
    def file(self) -> tuple[Path, str]:
        return self.subject.path.resolve(), self.artifact

    @property
    def style(self) -> StyleTarget | None:
        """That its pictures should have, as its teacher's bundle or else its own says."""
        for subject in (self.judge, self.subject):
            bundle = None if subject is None else subject.bundle
            if bundle is not None and bundle.manifest.style is not None:
                statistics = style_of(bundle)
                if statistics is not None:
                    source = bundle.manifest.style.source
                    return StyleTarget(statistics=statistics, source=source)
        return None


@dataclass(frozen=True, kw_only=True)
class _Lane:
    """A target with everything opened that is measured there."""

    target: Target
    reference: Session
    entries: tuple[_Entry, ...]

    @property
    def sessions(self) -> list[Session]:
        return [self.reference, *(entry.session for entry in self.entries)]

    def rows(
        self, reading: Measurement, judged: Sequence[Quality | None], recipe: BenchRecipe
    ) -> list[Row]:
        rows = []
        for position, (entry, quality) in enumerate(zip(self.entries, judged, strict=True)):
            bundle = entry.subject.bundle
            counted = None if bundle is None else complexity(bundle, recipe.size)
            facts, times = reading.rows[position], reading.timings.candidates_ms[position]
            size_bytes = model_bytes(entry.session.path)
            roof = None
            if counted is not None and reading.peaks is not None:
                roof = roofline(
                    entry.artifact,
                    macs=counted.macs,
                    moved_values=counted.moved_values,
                    file_bytes=size_bytes,
                    latency_ms=median(times),
                    peaks=reading.peaks,
                )
            rows.append(
                Row(
                    model=entry.subject.name,
                    artifact=entry.artifact,
                    target=self.target.name,
                    size=recipe.size,
                    latency_ms=LatencySummary.of(times),
                    speedup=reading.timings.speedup(position, seed=recipe.seed),
                    params=counted.params if counted else None,
                    macs=counted.macs if counted else None,
                    size_bytes=size_bytes,
                    quality=quality,
                    counts=facts.counts,
                    footprint=facts.footprint,
                    throughput=facts.throughput,
                    provider=facts.provider,
                    roofline=roof,
                )
            )
        return rows


def _opened(
    targets: Sequence[Target],
    opponent: Subject,
    subjects: Sequence[Subject],
    judges: Sequence[Subject | None],
    artifacts: Sequence[str],
    size: int,
    probe: Probe,
) -> list[_Lane]:
    """All sessions; the float graphs that pictures are judged by once each, on all cores."""
    teachers: dict[Path, JudgingTeacher] = {}

    def teacher(judge: Subject) -> JudgingTeacher:
        place = judge.path.resolve()
        if place not in teachers:
            session = judge.open(FLOAT, min(len(usable_cores()), MAX_THREADS), probe)
            teachers[place] = JudgingTeacher(name=judge.name, session=session)
        return teachers[place]

    return [
        _Lane(
            target=target,
            reference=target.open(opponent, target.reference_artifact, probe),
            entries=tuple(
                _Entry(
                    subject=subject,
                    artifact=artifact_name(artifact),
                    session=target.open(subject, artifact, probe),
                    judge=judge,
                    teacher=None if judge is None else teacher(judge),
                )
                for subject, judge in zip(subjects, judges, strict=True)
                for artifact in artifacts or target.artifacts(subject, size)
            ),
        )
        for target in targets
    ]


@dataclass(frozen=True)
class _Run:
    """What all targets share; each file is judged once, whatever the number of them."""

    photos: PhotoSet
    recipe: BenchRecipe
    eye: VggFeatures | None
    progress: Progress
    known: dict[tuple[Path, str], Quality] = field(default_factory=dict)

    def carried_out(
        self,
        lanes: Sequence[_Lane],
        opponent: Subject,
        vgg: str | None,
        finished: Callable[[BenchResult], None] | None,
    ) -> BenchResult:
        recipe = self.recipe
        result = BenchResult(
            machine=machine_facts(),
            protocol=BenchProtocol(
                rounds=recipe.rounds,
                size=recipe.size,
                photos=self.photos.record(),
                seed=recipe.seed,
                vgg=vgg,
                reference=opponent.identity,
            ),
            references=(),
            rows=(),
            unfinished=tuple(lane.target.name for lane in lanes),
            taken=taken_now(),
        )
        picture = next(self.photos.squares(recipe.size))
        for lane in lanes:
            reading = lane.target.measure(lane.sessions, picture, recipe, self.progress)
            reference = Reference(
                model=opponent.name,
                artifact=lane.target.reference_artifact,
                target=lane.target.name,
                latency_ms=LatencySummary.of(reading.timings.reference_ms),
                place=reading.place,
                watch=reading.timings.watch,
                peaks=reading.peaks,
            )
            timed = dataclasses.replace(result, references=(*result.references, reference))
            if finished is not None and vgg is not None:  # judging takes long, times are there
                unjudged = lane.rows(reading, [None] * len(lane.entries), recipe)
                finished(dataclasses.replace(timed, rows=(*result.rows, *unjudged)))
            judged = self.judged(lane.entries)
            result = dataclasses.replace(
                timed,
                rows=(*result.rows, *lane.rows(reading, judged, recipe)),
                unfinished=result.unfinished[1:],
            )
            if finished is not None:
                finished(result)
        return result

    def judged(self, entries: Sequence[_Entry]) -> list[Quality | None]:
        if self.eye is None:
            return [None] * len(entries)
        new = {entry.file: entry for entry in entries if entry.file not in self.known}
        of_outputs: dict[str, StyleTarget] = {}
        candidates = []
        for entry in new.values():
            teacher, style = entry.teacher, entry.style
            if teacher is None:
                raise ValueError(f"{entry.subject.name} has no teacher to be judged by")
            if style is None:
                style = of_outputs.get(teacher.name) or style_of_outputs(
                    teacher, self.photos, size=self.recipe.size, vgg=self.eye
                )
                of_outputs[teacher.name] = style
            candidates.append(Candidate(session=entry.session, teacher=teacher, style=style))
        if candidates:
            found = judge(
                candidates,
                self.photos,
                size=self.recipe.size,
                vgg=self.eye,
                seed=self.recipe.seed,
                progress=self.progress,
            )
            self.known.update(zip(new, found, strict=True))
        return [self.known[entry.file] for entry in entries]
