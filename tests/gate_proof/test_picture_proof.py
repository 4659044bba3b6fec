"""The proof of facts and quality: every fault is caught by the right number, and no change is none.

It runs on the last core, as a load beside the proof of times, which is on the first one.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gate_proof.faults import PICTURE_FAULTS, Fault
from gate_proof.heavier import make_heavier
from gate_proof.ledger import Case, Trial, trial
from gate_proof.other_style import open_other_style
from gate_proof.plan import Plan
from gate_reports import passed, regressed

from nstc.benchmarks.gate.verdicts import Verdict
from nstc.benchmarks.timing.machine import pinned, usable_cores

pytestmark = pytest.mark.gate_proof

PART = "pictures"
EXACT = frozenset(("params", "macs", "bytes"))

OTHER_STYLE = Fault(
    name="another style's weights",
    rows=frozenset(("style_ratio", "feature_distance")),
    wrap=lambda session, run: open_other_style(session),
)


def checks(plan: Plan) -> int:
    return (len(PICTURE_FAULTS) + 3) * plan.faulty  # another style, none, and more bytes


@pytest.fixture(scope="module", autouse=True)
def _on_the_last_core() -> Iterator[None]:
    with pinned(usable_cores()[-1:]):
        yield


@pytest.fixture
def tried(plan, kept, entered):
    """Makes as many checks of a case, and enters what became of them."""

    def run(name: str, once: Callable[[int], Trial]) -> Case:
        found = []
        for number in range(plan.faulty):
            trials, seconds = kept.trials(f"{name}/{number}", lambda n=number: {name: once(n)})
            found.append((trials[name], seconds))
        return entered(name, found, needed=plan.faulty)

    return run


@pytest.mark.parametrize("fault", [*PICTURE_FAULTS, OTHER_STYLE], ids=lambda fault: fault.name)
def test_a_spoilt_picture_is_caught(fault: Fault, gate, plan, tried) -> None:
    def once(run: int) -> Trial:
        with gate.opening_as(lambda session: fault.wrap(session, run)):
            report = gate.judged(run)
        right = bool(fault.rows & regressed(report)) and passed(report) >= EXACT
        return trial(report, right=right)

    assert tried(fault.name, once).right == plan.faulty


def test_an_unchanged_picture_passes(gate, plan, tried) -> None:
    def once(run: int) -> Trial:
        report = gate.judged(run)
        return trial(report, right=report.verdict is Verdict.PASS)

    assert tried("unchanged pictures", once).right == plan.faulty


def test_a_heavier_file_is_caught(gate, plan, tried, tmp_path: Path) -> None:
    def once(run: int) -> Trial:
        heavier = make_heavier(gate.candidate, tmp_path / f"heavier-{run}", share=0.1, seed=run)
        report = gate.counted(heavier)
        right = regressed(report) == {"bytes"} and passed(report) >= EXACT - {"bytes"}
        return trial(report, right=right)

    assert tried("10 % more bytes", once).right == plan.faulty
