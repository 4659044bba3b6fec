"""Baselines of the shipped student, a copy of it to do harm to, and a ledger of all verdicts."""

import contextlib
import dataclasses
import functools
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from gate_proof.graph_faults import GRAPH_FAULTS, make_copy, make_spoilt
from gate_proof.ledger import Case, Trial, table, write
from gate_proof.plan import Plan, chosen_plan, output_file, photos_of_run
from whole_copies import whole_copy

from nstc.benchmarks import subjects
from nstc.benchmarks.bench import bench
from nstc.benchmarks.gate.baseline import from_result, save_baseline
from nstc.benchmarks.gate.check_models import check
from nstc.benchmarks.gate.scope import COUNTED
from nstc.benchmarks.gate.verdicts import CheckReport
from nstc.benchmarks.result import BenchResult
from nstc.benchmarks.targets.instructions import INSTRUCTIONS
from nstc.compress.export.export_model import made_artifact
from nstc.core.photos import PhotoSet, sample_photos
from nstc.core.recipe import BenchRecipe
from nstc.runtime.session import Session

STUDENT: Final = "zoo:starry-night"
ARTIFACT: Final = "int8.onnx"
TARGET: Final = "cpu:1"
"""One core, so that the other one is left for a load."""

_CASES: list[Case] = []

Wrap = Callable[[Session], Session]


@pytest.fixture(scope="session")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proof-cache")


@pytest.fixture(scope="session")
def _baselines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("baselines")


@pytest.fixture(autouse=True)
def _own_cache(_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the proof shares one: the teacher's graph takes a while to make."""
    monkeypatch.setenv("NSTC_CACHE", str(_cache))


@pytest.fixture(scope="session")
def plan() -> Plan:
    return chosen_plan()


@dataclass(frozen=True)
class Gate:
    """The gate over the shipped student, whose copy may be harmed."""

    plan: Plan
    folder: Path
    candidate: Path

    def judged(self, run: int) -> CheckReport:
        """Facts and quality, on photographs of the run's own."""
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
            _time_baseline(self.folder, self.plan),
            photos=sample_photos(),
            facts_and_quality_only=True,
            store=made_artifact,
        )

    def timed(self) -> CheckReport:
        """Facts and time."""
        return check(
            [self.candidate],
            _time_baseline(self.folder, self.plan),
            photos=sample_photos(),
            time=True,
            rounds=self.plan.rounds,
            max_rounds=self.plan.max_rounds,
            store=made_artifact,
        )

    @contextlib.contextmanager
    def opening_as(self, wrap: Wrap) -> Iterator[None]:
        """Open the candidate, and nothing else, as another session inside the block."""
        real = subjects.open_session
        place = self.candidate.resolve()

        def opened(model: Any, **options: Any) -> Session:
            session = real(model, **options)
            return wrap(session) if model.path.resolve() == place else session

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(subjects, "open_session", opened)
            yield

    def _photos(self, run: int) -> PhotoSet:
        return photos_of_run(run, sample_photos(), self.plan.photos)


@dataclass(frozen=True)
class CountingGate:
    """The gate over many copies of the shipped student, whose instructions it counts."""

    plan: Plan
    folder: Path

    def checked(self, run: int) -> dict[str, CheckReport]:
        """One check of a student of each fault, and of unchanged ones: what it says of each."""
        folder = self.folder / str(run)
        models = [make_spoilt(STUDENT, folder, fault, run) for fault in GRAPH_FAULTS]
        models += [make_copy(STUDENT, folder / name, name) for name in self.unchanged]
        report = check(models, self._baseline, photos=sample_photos(), store=made_artifact)
        shutil.rmtree(folder)
        by_model = {model.name: [] for model in models}
        for finding in report.findings:
            by_model[finding.row.model].append(finding)
        return {
            name: dataclasses.replace(report, findings=tuple(found))
            for name, found in by_model.items()
        }

    @property
    def unchanged(self) -> list[str]:
        """Names of the students that are as they were."""
        return [f"unchanged-{number}" for number in range(self.plan.together)]

    @functools.cached_property
    def _baseline(self) -> Path:
        names = [*(fault.model for fault in GRAPH_FAULTS), *self.unchanged]
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


@pytest.fixture(scope="session")
def counting_gate(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> CountingGate:
    if (reason := INSTRUCTIONS.availability()) is not None:
        pytest.skip(reason)
    return CountingGate(plan, tmp_path_factory.mktemp("counted"))


@pytest.fixture
def gate(plan: Plan, tmp_path: Path, _baselines: Path) -> Gate:
    if plan.counts_alone:
        pytest.skip("instructions alone were asked for")
    candidate = whole_copy(STUDENT, tmp_path / "candidate")
    return Gate(plan, _baselines, candidate)


@pytest.fixture
def tried() -> Callable[..., Case]:
    """Runs a case so many times and enters it in the ledger, whatever comes of it."""

    def run(name: str, runs: int, once: Callable[[int], Trial], *, needed: int) -> Case:
        case = Case(name, needed)
        _CASES.append(case)
        start = time.monotonic()
        for number in range(runs):
            case.trials.append(once(number))
            case.seconds = time.monotonic() - start
        return case

    return run


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _CASES:
        return
    plan = chosen_plan()
    terminalreporter.section(f"proof of the gate, {plan.name}")
    for line in table(_CASES):
        terminalreporter.write_line(line)
    write(_CASES, output_file(), plan=dataclasses.asdict(plan))
    terminalreporter.write_line(f"written to {output_file()}")


@functools.cache
def _quality_baseline(folder: Path, plan: Plan, run: int) -> Path:
    photos = photos_of_run(run, sample_photos(), plan.photos)
    result = _measured(plan, photos, rounds=3, seed=run, quality=True)
    return _saved(result, folder / f"quality-{run}.json")


@functools.cache
def _time_baseline(folder: Path, plan: Plan) -> Path:
    runs = [
        _measured(plan, sample_photos(), rounds=plan.baseline_rounds, seed=seed, quality=False)
        for seed in range(plan.openings)
    ]
    return _saved(functools.reduce(BenchResult.pooled, runs), folder / "time.json")


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
