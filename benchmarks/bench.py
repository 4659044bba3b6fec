"""The benchmark: every model's every artifact, compared with one reference."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nstc.benchmarks import result as results
from nstc.benchmarks.quality import judging
from nstc.benchmarks.result import BenchResult, LatencySummary, Quality, Row
from nstc.benchmarks.subjects import FLOAT, Model, Probe, Subject, finder, reference_of, teacher_of
from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.targets.base import Measurement, Target
from nstc.benchmarks.timing.machine import machine_facts, roofline, usable_cores
from nstc.benchmarks.timing.statistics import median
from nstc.core import Progress, Silent
from nstc.core.bundle import artifact_name
from nstc.core.errors import OptionError, PhotosError
from nstc.core.photos import PhotoSet
from nstc.core.recipe import BenchRecipe
from nstc.models.architectures import complexity
from nstc.models.style import style_of
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
    progress: Progress | None = None,
    finished: Callable[[BenchResult], None] | None = None,
) -> BenchResult:
    """Time models and a reference in turns, and compare their pictures with their teachers'.

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
        progress: Receives progress updates of rounds and photographs.
        finished: Receives what is found so far after each target, and before its pictures are
            judged: a run that is stopped has not been for nothing.

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
    features = load_vgg(vgg) if quality else None
    photos = photos.take(recipe.quality_photos)
    run = _Run(photos, recipe, features, probe, progress or Silent())
    find = finder(trust=trust, store=store)
    subjects = [find(model) for model in models]
    reference = reference_of(subjects, against, find)
    judges = [teacher_of(subject, teacher, find) if quality else None for subject in subjects]
    for judge in filter(None, judges):
        run.teacher(judge)
    judged = list(zip(subjects, judges, strict=True))
    opened = [run.opened(target, reference, judged, artifacts) for target in targets]
    return run.carried_out(opened, reference, vgg_identity(vgg) if quality else None, finished)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A row to be: a model, one of its artifacts opened, and the model it is judged by."""

    subject: Subject
    artifact: str
    session: Session
    judge: Subject | None

    @property
    def file(self) -> tuple[Path, str]:
        return self.subject.path.resolve(), self.artifact

    @property
    def style(self) -> judging.StyleTarget | None:
        """That its pictures should have, as its teacher's bundle or else its own says."""
        for subject in (self.judge, self.subject):
            bundle = None if subject is None else subject.bundle
            statistics = None if bundle is None else style_of(bundle)
            if bundle is not None and bundle.manifest.style is not None and statistics is not None:
                return judging.StyleTarget(
                    statistics=statistics, source=bundle.manifest.style.source
                )
        return None


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
    """What all targets share; each file is judged once, whatever the number of them."""

    photos: PhotoSet
    recipe: BenchRecipe
    features: VggFeatures | None
    probe: Probe
    progress: Progress
    teachers: dict[Path, judging.JudgingTeacher] = field(default_factory=dict)
    known: dict[tuple[Path, str], Quality] = field(default_factory=dict)

    def opened(
        self,
        target: Target,
        reference: Subject,
        subjects: Sequence[tuple[Subject, Subject | None]],
        artifacts: Sequence[str],
    ) -> _TargetRun:
        """All sessions of a target; `subjects` are models and those that they are judged by."""
        return _TargetRun(
            target=target,
            reference=_checked(target.open(reference, target.reference_artifact, self.probe)),
            entries=tuple(
                _Entry(
                    subject=subject,
                    artifact=artifact_name(artifact),
                    session=_checked(target.open(subject, artifact, self.probe)),
                    judge=judge,
                )
                for subject, judge in subjects
                for artifact in artifacts or target.artifacts(subject, self.recipe.size)
            ),
        )

    def teacher(self, judge: Subject) -> judging.JudgingTeacher:
        """The float graph that pictures are compared with, opened once, on all cores."""
        path = judge.path.resolve()
        if path not in self.teachers:
            session = judge.open(FLOAT, min(len(usable_cores()), MAX_THREADS), self.probe)
            self.teachers[path] = judging.JudgingTeacher(name=judge.name, session=_checked(session))
        return self.teachers[path]

    def carried_out(
        self,
        runs: Sequence[_TargetRun],
        reference: Subject,
        vgg: str | None,
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
                vgg=vgg,
                reference=reference.identity,
            ),
            references=(),
            rows=(),
            unfinished=tuple(run.target.name for run in runs),
            taken=results.taken_now(),
        )
        picture = next(self.photos.squares(recipe.size))
        for run in runs:
            sessions = [run.reference, *(entry.session for entry in run.entries)]
            reading = run.target.measure(sessions, picture, recipe, self.progress)
            measured = results.Reference(
                model=reference.name,
                artifact=run.target.reference_artifact,
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
            if self.features is not None:
                if finished is not None:  # judging takes long, times are there
                    finished(result)
                judged = zip(rows, self.judged(run.entries, self.features), strict=True)
                rows = [dataclasses.replace(row, quality=quality) for row, quality in judged]
            unfinished = result.unfinished[1:]
            result = dataclasses.replace(result, rows=(*earlier, *rows), unfinished=unfinished)
            if finished is not None:
                finished(result)
        return result

    def judged(self, entries: Sequence[_Entry], vgg: VggFeatures) -> list[Quality]:
        new: dict[tuple[Path, str], judging.Candidate] = {}
        of_outputs: dict[str, judging.StyleTarget] = {}
        size = self.recipe.size
        for entry in entries:
            if entry.judge is None or entry.file in {**self.known, **new}:
                continue
            teacher, style = self.teacher(entry.judge), entry.style
            if style is None:
                style = of_outputs.get(teacher.name) or judging.style_of_outputs(
                    teacher, self.photos, size=size, vgg=vgg
                )
                of_outputs[teacher.name] = style
            new[entry.file] = judging.Candidate(session=entry.session, teacher=teacher, style=style)
        if new:
            candidates, seed = list(new.values()), self.recipe.seed
            found = judging.judge(
                candidates, self.photos, size=size, vgg=vgg, seed=seed, progress=self.progress
            )
            self.known.update(zip(new, found, strict=True))
        return [self.known[entry.file] for entry in entries]
