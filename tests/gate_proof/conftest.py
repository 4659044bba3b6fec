"""Gates, checks that were made already, and a ledger of all verdicts."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from gate_proof.gates import STUDENT, CountingGate, Gate, TimingGate
from gate_proof.ledger import Case, Kept, Trial, write
from gate_proof.plan import Plan, chosen_plan, output_folder
from whole_copies import whole_copy

from nstc.benchmarks.targets.instructions import INSTRUCTIONS

TIME_BASELINE = "time-baseline.json"


@pytest.fixture(scope="session")
def _baselines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("baselines")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """All of a part shares one: the teacher's graph takes a while to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NSTC_CACHE", str(tmp_path_factory.mktemp("proof-cache")))
        yield


@pytest.fixture(scope="session")
def plan() -> Plan:
    return chosen_plan()


@pytest.fixture(scope="session")
def counting_gate(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> CountingGate:
    if (reason := INSTRUCTIONS.availability()) is not None:
        pytest.skip(reason)
    return CountingGate(plan, tmp_path_factory.mktemp("counted"))


@pytest.fixture(scope="session")
def timing_gate(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> TimingGate:
    return TimingGate(plan, tmp_path_factory.mktemp("timed"), output_folder() / TIME_BASELINE)


@pytest.fixture
def gate(plan: Plan, tmp_path: Path, _baselines: Path) -> Gate:
    candidate = whole_copy(STUDENT, tmp_path / "candidate")
    return Gate(plan, _baselines, candidate)


@pytest.fixture(scope="module")
def kept(request: pytest.FixtureRequest, plan: Plan) -> Kept:
    """Trials of the part that a module is, `PART`; it makes so many `checks` in all."""
    path = output_folder() / f"{request.module.PART}.jsonl"
    return Kept(path, dataclasses.asdict(plan), request.module.checks(plan))


@pytest.fixture(scope="module")
def entered(request: pytest.FixtureRequest, plan: Plan) -> Iterator[Callable[..., Case]]:
    """Enters a case in the part's ledger: its trials, and the seconds that they took."""
    cases: list[Case] = []

    def enter(name: str, found: Sequence[tuple[Trial, float]], *, needed: int) -> Case:
        trials = [trial for trial, _ in found]
        cases.append(Case(name, needed, trials, sum(seconds for _, seconds in found)))
        return cases[-1]

    yield enter
    write(cases, output_folder() / f"{request.module.PART}.json", plan=dataclasses.asdict(plan))
