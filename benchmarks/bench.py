"""The benchmark: every model's every artifact, compared with one reference."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nstc.benchmarks import provenance
from nstc.benchmarks import result as results
from nstc.benchmarks.quality import judging
from nstc.benchmarks.quality.judged_pictures import judge_of
from nstc.benchmarks.quality.optimized_pictures import (
    OPTIMIZED,
    PictureOptimizer,
    StoredPictures,
    optimizer_asked_for,
)
from nstc.benchmarks.result import BenchResult, LatencySummary, OptimizedRow, Quality, Row
from nstc.benchmarks.subjects import (
    FLOAT,
    Find,
    Model,
    Probe,
    Subject,
    finder,
    reference_of,
    style_bundle,
    teacher_of,
)
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.targets.base import Measurement, Target, refuse_other_sizes
from nstc.benchmarks.timing.machine import machine_facts, roofline, usable_cores
from nstc.benchmarks.timing.statistics import median
from nstc.core import Progress, Silent
from nstc.core.bundle import artifact_name
from nstc.core.errors import OptionError, PhotosError
from nstc.core.graph_form import GraphForm
from nstc.core.photos import PhotoSet
from nstc.core.recipe import BenchRecipe
from nstc.models.architectures import complexity
from nstc.models.style import style_brought_by
from nstc.models.vgg import VggFeatures, load_vgg, vgg_identity
from nstc.runtime import arrays, model_files
from nstc.runtime.foreign.probing import probe_contract
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
    optimize: PictureOptimizer | None = None,
    progress: Progress | None = None,
    finished: Callable[[BenchResult], None] | None = None,
) -> BenchResult:
    """Time models and a reference in turns, and compare their pictures with their teachers'.

    Args:
        models: Bundles, zoo names or ONNX files.
        against: The reference, timed on each target as its float file for it; by default the
            teacher that all manifests name. Or `OPTIMIZED`, see `optimizer_asked_for`.
        artifacts: Which files of each model; by default all that the target runs.
        photos: At most `recipe.quality_photos` of them are used; the first is what is timed.
        recipe: Settings.
        teacher: Judge all models by this bundle or ONNX file; by default each by its own teacher.
        quality: Whether to judge pictures at all.
        vgg: See `nstc.models.vgg.load_vgg`.
        probe: Finds out what ONNX files of others take; see `nstc.runtime.foreign.probing`.
        trust: Whether programs of others, TorchScript and ExecuTorch, may be loaded.
        store: Where bundles' files come from.
        optimize: Makes the pictures of `OPTIMIZED`.
        progress: Receives progress updates of rounds and photographs.
        finished: Receives what is found so far after each target, and before its pictures are
            judged: a run that is stopped has not been for nothing.

    Raises:
        OptionError: no models, several teachers and no `against`, or what a target can't run here.
        PhotosError: no photographs.
        ArtifactError: a model does not hold the file to be run, and the store does not make it.
        TeacherError: a teacher can't be found.
        UnusableModelError: a file makes no picture: one colour, or what is not finite.
        BundleError: and its kinds, for bundles that can't be opened.
    """
    if not models:
        raise OptionError("nothing to bench: give a bundle or a zoo name.")
    refuse_other_sizes(artifacts, recipe.size)
    optimizer = optimizer_asked_for(against, optimize, quality=quality)
    chosen = _chosen(photos, recipe, few=optimizer is not None)
    run = _Run(chosen, recipe, vgg if quality else None, probe, progress or Silent(), optimizer)
    find = finder(trust=trust, store=store)
    found = [find(model) for model in models]
    if against is not None and optimizer is None:
        find(against)  # what can't be a reference is refused before any file is made
    judged = run.with_judges(found, teacher, find)
    reference = (judged[0][1] if optimizer else None) or reference_of(found, against, find)
    targets = [parse_target(name) for name in recipe.targets]
    opened = [run.opened(target, reference, judged, artifacts) for target in targets]
    return run.carried_out(opened, reference, finished)


def _chosen(photos: PhotoSet, recipe: BenchRecipe, *, few: bool) -> PhotoSet:
    """The photographs that judge the quality; `PhotosError` if there are none."""
    if not len(photos):
        raise PhotosError("no photographs to bench on: --photos takes a folder of photographs.")
    most = min(recipe.quality_photos, recipe.optimized_photos) if few else recipe.quality_photos
    return photos.take(most)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A row to be: a model, one of its artifacts opened, and the model it is judged by."""

    subject: Subject
    artifact: str
    session: Session
    draws_on: str  # see `nstc.benchmarks.targets.base.Target`
    judge: Subject | None

    @property
    def drawn(self) -> tuple[Path, str, str]:
        """What tells its pictures from those of other entries."""
        return self.subject.path.resolve(), self.artifact, self.draws_on

    @property
    def style(self) -> judging.StyleTarget | None:
        """That its pictures should have, as its teacher's bundle or else its own says."""
        bundle = style_bundle(self.subject, self.judge)
        brought = None if bundle is None else style_brought_by(bundle)
        if brought is None:
            return None
        return judging.StyleTarget(statistics=brought.statistics, source=brought.record.source)


@dataclass(frozen=True, kw_only=True)
class _TargetRun:
    """A target with everything opened that is measured there."""

    target: Target
    reference: Session
    entries: tuple[_Entry, ...]

    def rows(self, reading: Measurement, recipe: BenchRecipe) -> list[Row]:
        """One for each entry, not judged yet."""
        rows = []
        for position, (entry, facts) in enumerate(zip(self.entries, reading.rows, strict=True)):
            bundle = entry.subject.bundle
            counted = None if bundle is None else complexity(bundle, recipe.size)
            times = reading.timings.candidates_ms[position]
            size_bytes = model_files.model_bytes(entry.session.path)
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
            row = Row(
                model=entry.subject.name,
                artifact=entry.artifact,
                target=self.target.name,
                size=recipe.size,
                latency_ms=LatencySummary.of(times),
                speedup=reading.timings.speedup(position, seed=recipe.seed),
                params=counted.params if counted else None,
                macs=counted.macs if counted else None,
                size_bytes=size_bytes,
                quality=None,
                roofline=roof,
                **vars(facts),
            )
            rows.append(row)
        return rows


def _checked(session: Session) -> Session:
    arrays.refuse_without_picture(session.run, session.path, getattr(session, "fixed_size", None))
    return session


@dataclass(frozen=True)
class _Run:
    """What all targets share; pictures of targets that draw on the same are judged once."""

    photos: PhotoSet
    recipe: BenchRecipe
    vgg: str | None  # see `nstc.models.vgg.load_vgg`; None without quality
    probe: Probe
    progress: Progress
    optimize: PictureOptimizer | None  # where its pictures are asked for
    # By path and how a file of others is fed: it may hold several styles.
    teachers: dict[tuple[Path, GraphForm | None], judging.JudgingTeacher] = field(
        default_factory=dict
    )
    known: dict[tuple[Path, str, str], Quality] = field(default_factory=dict)
    # Of teachers without a painting.
    of_outputs: dict[judging.JudgingTeacher, judging.StyleTarget] = field(default_factory=dict)

    @functools.cached_property
    def features(self) -> VggFeatures | None:
        """What judges, or None."""
        return None if self.vgg is None else load_vgg(self.vgg)

    def with_judges(
        self, subjects: Sequence[Subject], teacher: Model | None, find: Find
    ) -> list[tuple[Subject, Subject | None]]:
        """Models and those that they are judged by, whose float graphs are opened too."""
        if self.features is None:
            return [(subject, None) for subject in subjects]
        judges = [teacher_of(subject, teacher, find) for subject in subjects]
        for judge in judges:
            self.teacher(judge)
        return list(zip(subjects, judges, strict=True))

    def opened(
        self,
        target: Target,
        reference: Subject,
        subjects: Sequence[tuple[Subject, Subject | None]],
        artifacts: Sequence[str],
    ) -> _TargetRun:
        """All sessions of a target; `subjects` are models and those that they are judged by."""
        timed = target.reference_artifact(self.recipe.size)
        return _TargetRun(
            target=target,
            entries=tuple(
                _Entry(
                    subject=subject,
                    artifact=artifact_name(artifact),
                    session=_checked(target.open(subject, artifact, self.probe)),
                    draws_on=target.draws_on,
                    judge=judge,
                )
                for subject, judge in subjects
                for artifact in artifacts or target.artifacts(subject, self.recipe.size)
            ),
            reference=_checked(target.open(reference, timed, self.probe)),  # last: slow to make
        )

    def teacher(self, judge: Subject) -> judging.JudgingTeacher:
        """The float graph that pictures are compared with, opened once, on all cores."""
        key = judge.path.resolve(), judge.form
        if key not in self.teachers:
            session = judge.open(FLOAT, min(len(usable_cores()), MAX_THREADS), self.probe)
            self.teachers[key] = judging.JudgingTeacher(name=judge.name, session=_checked(session))
        return self.teachers[key]

    def carried_out(
        self,
        runs: Sequence[_TargetRun],
        reference: Subject,
        finished: Callable[[BenchResult], None] | None,
    ) -> BenchResult:
        recipe = self.recipe
        result = BenchResult(
            machine=machine_facts(),
            protocol=results.BenchProtocol(
                rounds=recipe.rounds,
                size=recipe.size,
                photos=self.photos.record(),
                seed=recipe.seed,
                vgg=None if self.vgg is None else vgg_identity(self.vgg),
                reference=reference.identity,
            ),
            references=(),
            rows=(),
            unfinished=tuple(run.target.name for run in runs),
            taken=provenance.taken_now(),
        )
        picture = next(self.photos.squares(recipe.size))
        for run in runs:
            sessions = [run.reference, *(entry.session for entry in run.entries)]
            reading = run.target.measure(sessions, picture, recipe, self.progress)
            measured = results.Reference(
                model=reference.name,
                artifact=run.target.reference_artifact(recipe.size),
                target=run.target.name,
                latency_ms=LatencySummary.of(reading.timings.reference_ms),
                place=reading.place,
                watch=reading.timings.watch,
                peaks=reading.peaks,
            )
            earlier, rows = result.rows, run.rows(reading, recipe)
            result = dataclasses.replace(
                result, references=(*result.references, measured), rows=(*earlier, *rows)
            )
            if self.features is not None and result.protocol.vgg is not None:
                if finished is not None:  # judging takes long, times are there
                    finished(result)
                judged = self.judged(run.entries, self.features, result.protocol.vgg)
                pairs = zip(rows, judged, strict=True)
                rows = [dataclasses.replace(row, quality=quality) for row, quality in pairs]
            unfinished = result.unfinished[1:]
            result = dataclasses.replace(result, rows=(*earlier, *rows), unfinished=unfinished)
            if finished is not None:
                finished(result)
        if self.optimize is not None:
            entries = [entry for run in runs for entry in run.entries]
            result = dataclasses.replace(result, optimized=self.optimized(entries, self.optimize))
            if finished is not None:
                finished(result)
        return result

    def judged(self, entries: Sequence[_Entry], vgg: VggFeatures, vgg_sha256: str) -> list[Quality]:
        new: dict[tuple[Path, str, str], judging.Candidate] = {}
        size = self.recipe.size
        for entry in entries:
            if entry.judge is None or entry.drawn in {**self.known, **new}:
                continue
            teacher = self.teacher(entry.judge)
            new[entry.drawn] = judging.Candidate(
                session=entry.session,
                teacher=teacher,
                style=self.style(entry, teacher, vgg),
                compared_by=judge_of(entry.subject, entry.judge, vgg_sha256),
            )
        if new:
            candidates, seed = list(new.values()), self.recipe.seed
            found = judging.judge(
                candidates, self.photos, size=size, vgg=vgg, seed=seed, progress=self.progress
            )
            self.known.update(zip(new, found, strict=True))
        return [self.known[entry.drawn] for entry in entries]

    def style(
        self, entry: _Entry, teacher: judging.JudgingTeacher, vgg: VggFeatures
    ) -> judging.StyleTarget:
        """What an entry's is compared with: a painting's, or that of its teacher's outputs."""
        if (known := entry.style) is not None:
            return known
        if teacher not in self.of_outputs:
            size = self.recipe.size
            style = judging.style_of_outputs(teacher, self.photos, size=size, vgg=vgg)
            self.of_outputs[teacher] = style
        return self.of_outputs[teacher]

    def optimized(
        self, entries: Sequence[_Entry], optimize: PictureOptimizer
    ) -> tuple[OptimizedRow, ...]:
        """Of each teacher and style the pictures of all photographs, judged as the entries are."""
        if self.vgg is None or self.features is None:
            return ()
        styles: dict[tuple[str, str], tuple[judging.JudgingTeacher, judging.StyleTarget]] = {}
        for entry in entries:
            if entry.judge is not None:
                teacher = self.teacher(entry.judge)
                style = self.style(entry, teacher, self.features)
                styles.setdefault((teacher.name, style.statistics.identity), (teacher, style))
        size, steps, rows = self.recipe.size, self.recipe.optimize_steps, []
        squares = list(self.photos.squares(size))
        for teacher, style in styles.values():
            made = optimize(
                self.photos,
                style.statistics,
                size=size,
                steps=steps,
                vgg=self.vgg,
                progress=self.progress,
            )
            stored = StoredPictures.of(squares, [own.rgb for own in made])
            candidate = judging.Candidate(session=stored, teacher=teacher, style=style)
            [quality] = judging.judge(
                [candidate],
                self.photos,
                size=size,
                vgg=self.features,
                seed=self.recipe.seed,
                progress=self.progress,
            )
            row = OptimizedRow(
                model=teacher.name,
                artifact=OPTIMIZED,
                size=size,
                steps=steps,
                seconds=median([own.seconds for own in made]),
                quality=quality,
            )
            rows.append(row)
        return tuple(rows)
