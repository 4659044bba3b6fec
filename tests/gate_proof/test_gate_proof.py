"""The proof of the gate: every fault is caught by the right number, and no change is none.

`make test-gate-proof` runs it, for some 40 minutes on a machine that does nothing else, and then
the proof of counts; `NSTC_GATE_PROOF=short make test-gate-proof` tries whether all of it works, in
minutes anywhere.
"""

from pathlib import Path

import pytest
from gate_proof.faults import PICTURE_FAULTS, Fault
from gate_proof.heavier import make_heavier
from gate_proof.ledger import Trial, trial
from gate_proof.other_style import open_other_style
from gate_proof.slowness import Slower, busy_core
from gate_reports import verdicts

from nstc.benchmarks.gate.verdicts import CheckReport, Verdict
from nstc.benchmarks.timing.machine import usable_cores

pytestmark = pytest.mark.gate_proof

EXACT = frozenset(("params", "macs", "bytes"))

OTHER_STYLE = Fault(
    name="another style's weights",
    rows=frozenset(("style_ratio", "feature_distance")),
    wrap=lambda session, run: open_other_style(session),
)


def regressed(report: CheckReport) -> set[str]:
    return {fact for fact, verdict in verdicts(report).items() if verdict == Verdict.REGRESSED}


def passed(report: CheckReport) -> set[str]:
    return {fact for fact, verdict in verdicts(report).items() if verdict == Verdict.PASS}


@pytest.mark.parametrize("fault", [*PICTURE_FAULTS, OTHER_STYLE], ids=lambda fault: fault.name)
def test_a_spoilt_picture_is_caught(fault: Fault, gate, plan, tried) -> None:
    def once(run: int) -> Trial:
        with gate.opening_as(lambda session: fault.wrap(session, run)):
            report = gate.judged(run)
        right = bool(fault.rows & regressed(report)) and passed(report) >= EXACT
        return trial(report, right=right)

    case = tried(fault.name, plan.faulty, once, needed=plan.faulty)
    assert case.right == plan.faulty


def test_an_unchanged_picture_passes(gate, plan, tried) -> None:
    def once(run: int) -> Trial:
        report = gate.judged(run)
        return trial(report, right=report.verdict is Verdict.PASS)

    case = tried("unchanged pictures", plan.faulty, once, needed=plan.faulty)
    assert case.right == plan.faulty


def test_a_heavier_file_is_caught(gate, plan, tried, tmp_path: Path) -> None:
    def once(run: int) -> Trial:
        heavier = make_heavier(gate.candidate, tmp_path / f"heavier-{run}", share=0.1, seed=run)
        report = gate.counted(heavier)
        right = regressed(report) == {"bytes"} and passed(report) == EXACT - {"bytes"}
        return trial(report, right=right)

    case = tried("10 % more bytes", plan.faulty, once, needed=plan.faulty)
    assert case.right == plan.faulty


def test_a_slower_model_is_caught(gate, plan, tried) -> None:
    def once(_run: int) -> Trial:
        with gate.opening_as(lambda session: Slower(session, 0.08)):
            report = gate.timed()
        return trial(report, right=regressed(report) == {"speedup"} and passed(report) == EXACT)

    case = tried("8 % slower", plan.faulty, once, needed=plan.faulty)
    assert len(case.trials) == plan.faulty
    if plan.counts_hold:
        assert case.right == plan.faulty


def test_an_unchanged_model_passes_on_a_quiet_machine(gate, plan, tried) -> None:
    needed = round(0.95 * plan.unchanged)
    case = tried("unchanged, quiet", plan.unchanged, _unchanged(gate), needed=needed)
    _assert_no_false_alarm(case, plan, needed)


def test_an_unchanged_model_is_never_accused_on_a_busy_machine(gate, plan, tried) -> None:
    if len(usable_cores()) < 2:
        pytest.skip("a load needs a second core")
    needed = round(0.5 * plan.loaded)
    with busy_core(usable_cores()[-1]):
        case = tried("unchanged, loaded", plan.loaded, _unchanged(gate), needed=needed)
    _assert_no_false_alarm(case, plan, needed)


def _unchanged(gate):
    def once(_run: int) -> Trial:
        report = gate.timed()
        return trial(report, right=report.verdict is Verdict.PASS)

    return once


def _assert_no_false_alarm(case, plan, needed: int) -> None:
    assert {name for own in case.trials for name in own.named} <= {"speedup"}
    if not plan.counts_hold:
        return
    assert case.count(Verdict.REGRESSED) == 0
    assert case.right >= needed
    others = [own for own in case.trials if not own.right]
    assert {own.verdict for own in others} <= {Verdict.INCONCLUSIVE}
    assert all(own.rounds_needed is not None for own in others)
