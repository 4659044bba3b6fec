"""The gate over copies of the included student: of pictures, of times, of instructions."""

import contextlib
import functools
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from gate_proof.graph_faults import GRAPH_FAULTS, make_copy, make_spoilt
from gate_proof.plan import Plan, photos_of_run
from gate_proof.remembering import Remembering
from gate_proof.slowness import Slower
from nstc.benchmarks import subjects
from nstc.benchmarks.bench import bench
from nstc.benchmarks.gate.baseline import files_of, from_result, known_model, save_baseline
from nstc.benchmarks.gate.check_models import check
from nstc.benchmarks.gate.scope import COUNTED
from nstc.benchmarks.gate.verdicts import CheckReport
from nstc.benchmarks.result import BenchResult
from nstc.benchmarks.subjects import find_subject
from nstc.compress.export.export_model import made_artifact
from nstc.core import zoo
from nstc.core.photos import PhotoSet, sample_photos
from nstc.core.recipe import BenchRecipe
from nstc.runtime.session import Session

STUDENT: Final = "zoo:starry-night"
TEACHER: Final = "zoo:starry-night/teacher"
ARTIFACT: Final = "int8.onnx"
TARGET: Final = "cpu:1"
"""One core, so that the other one is left for a load."""

SLOW: Final = "slower"

Wrap = Callable[[Session], Session]


@dataclass(frozen=True)
class Gate:
    """The gate over the shipped student, whose copy may be harmed."""

    plan: Plan
    folder: Path
    candidate: Path

    def judged(self, run: int) -> CheckReport:
        """Facts and quality, on photographs of the run's own."""
        with opening_as(zoo.resolve_model_path(TEACHER), Remembering):
            return check(
                [self.candidate],
                _quality_baseline(self.folder, self.plan, run),
                photos=self._photos(run),
                facts_and_quality_only=True,
                store=made_artifact,
            )

    def counted(self, candidate: Path) -> CheckReport:
        """Facts alone."""
        return check(
            [candidate],
            _quality_baseline(self.folder, self.plan, 0),
            photos=self._photos(0),
            facts_and_quality_only=True,
            store=made_artifact,
        )

    def opening_as(self, wrap: Wrap) -> AbstractContextManager[None]:
        """See `opening_as`."""
        return opening_as(self.candidate, wrap)

    def _photos(self, run: int) -> PhotoSet:
        return photos_of_run(run, sample_photos(), self.plan.photos)


@contextlib.contextmanager
def opening_as(candidate: Path, wrap: Wrap) -> Iterator[None]:
    """Open a candidate, and nothing else, as another session inside the block."""
    real, place = subjects.open_session, candidate.resolve()

    def opened(model: Any, **options: Any) -> Session:
        session = real(model, **options)
        return wrap(session) if model.path.resolve() == place else session

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subjects, "open_session", opened)
        yield


def by_model(report: CheckReport, models: Sequence[Path]) -> dict[str, CheckReport]:
    """What a check says of each of the models that it was of."""
    found = {model.name: [] for model in models}
    for finding in report.findings:
        found[finding.row.model].append(finding)
    return {name: replace(report, findings=tuple(own)) for name, own in found.items()}


@dataclass(frozen=True)
class TimingGate:
    """The gate over copies of the shipped student, which are timed in the same rounds.

    Attributes:
        plan: How often.
        folder: Of the copies.
        baseline: The file that they are compared with, which another process may have taken.
    """

    plan: Plan
    folder: Path
    baseline: Path

    def unchanged(self) -> dict[str, CheckReport]:
        """What one check says of each of the unchanged copies."""
        return self._checked([self._copies[name] for name in self.plan.timed_copies])

    def slower(self, share: float) -> dict[str, CheckReport]:
        """What one check says of a copy that takes longer by a share.

        It is alone: rounds that are added for it would make the verdicts on others surer.
        """
        with opening_as(self._copies[SLOW], lambda session: Slower(session, share)):
            return self._checked([self._copies[SLOW]])

    def take_baseline(self) -> None:
        """Time the student, and enter it under the name of each copy: it is the same file."""
        rounds = self.plan.baseline_rounds
        runs = [
            _measured(self.plan, sample_photos(), rounds=rounds, seed=seed, quality=False)
            for seed in range(self.plan.openings)
        ]
        folder = self.baseline.parent
        whole = from_result(functools.reduce(BenchResult.pooled, runs), folder)
        copies = {name: find_subject(path) for name, path in self._copies.items()}
        # Those of another process lie elsewhere, and are known by their names.
        models = {
            replace(known_model(own, folder), place=name): own for name, own in copies.items()
        }

        def of_each(parts: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(replace(own, model=name) for name in copies for own in parts)

        baseline = replace(
            whole,
            models=tuple(models),
            rows=of_each(whole.rows),
            times=of_each(whole.times),
            files=tuple(file for known, own in models.items() for file in files_of(own, known)),
        )
        save_baseline(baseline, self.baseline)

    def _checked(self, models: Sequence[Path]) -> dict[str, CheckReport]:
        if not self.baseline.is_file():
            pytest.fail(f"{self.baseline} is not there: the part `quiet` writes it and runs first")
        report = check(
            models,
            self.baseline,
            photos=sample_photos(),
            time=True,
            rounds=self.plan.rounds,
            max_rounds=self.plan.max_rounds,
            store=made_artifact,
        )
        return by_model(report, models)

    @functools.cached_property
    def _copies(self) -> dict[str, Path]:
        names = [SLOW, *self.plan.timed_copies]
        return {name: make_copy(STUDENT, self.folder / name, name) for name in names}


@dataclass(frozen=True)
class CountingGate:
    """The gate over many copies of the shipped student, whose instructions it counts."""

    plan: Plan
    folder: Path

    def checked(self, run: int) -> dict[str, CheckReport]:
        """One check of a student of each fault, and of unchanged ones: what it says of each."""
        folder = self.folder / str(run)
        models = [make_spoilt(STUDENT, folder, fault, run) for fault in GRAPH_FAULTS]
        models += [make_copy(STUDENT, folder / name, name) for name in self.plan.counted_copies]
        report = check(models, self._baseline, photos=sample_photos(), store=made_artifact)
        shutil.rmtree(folder)
        return by_model(report, models)

    @functools.cached_property
    def _baseline(self) -> Path:
        names = [*(fault.model for fault in GRAPH_FAULTS), *self.plan.counted_copies]
        models = [make_copy(STUDENT, self.folder / name, name) for name in names]
        result = bench(
            models,
            against=STUDENT,
            artifacts=[ARTIFACT],
            photos=sample_photos(),
            recipe=BenchRecipe(size=self.plan.counted_size, rounds=3, targets=(COUNTED,)),
            quality=False,
            store=made_artifact,
        )
        return _saved(result, self.folder / "instructions.json")


@functools.cache
def _quality_baseline(folder: Path, plan: Plan, run: int) -> Path:
    photos = photos_of_run(run, sample_photos(), plan.photos)
    result = _measured(plan, photos, rounds=3, seed=run, quality=True)
    return _saved(result, folder / f"quality-{run}.json")


def _measured(
    plan: Plan, photos: PhotoSet, *, rounds: int, seed: int, quality: bool
) -> BenchResult:
    return bench(
        [STUDENT],
        against=STUDENT,
        artifacts=[ARTIFACT],
        photos=photos,
        recipe=BenchRecipe(size=plan.size, rounds=rounds, targets=(TARGET,), seed=seed),
        quality=quality,
        store=made_artifact,
    )


def _saved(result: BenchResult, path: Path) -> Path:
    save_baseline(from_result(result, path.parent), path)
    return path
