"""The proof of counts: every fault is caught by the instructions alone, and no change is none.

`NSTC_GATE_PROOF=instructions make test-gate-proof` runs nothing else. All cores are kept busy.
"""

import pytest
from gate_proof.graph_faults import GRAPH_FAULTS, GraphFault
from gate_proof.ledger import Trial, trial
from gate_proof.plan import Plan
from gate_proof.slowness import busy_cores
from gate_reports import verdicts

from nstc.benchmarks.gate.instruction_verdicts import FACT
from nstc.benchmarks.gate.verdicts import CheckReport, Verdict

pytestmark = pytest.mark.gate_proof

PART = "instructions"


def checks(plan: Plan) -> int:
    return plan.faulty


def _trial(name: str, report: CheckReport) -> Trial:
    if name.startswith("unchanged"):
        return trial(report, right=report.verdict is Verdict.PASS)
    return trial(report, right=verdicts(report)[FACT] == Verdict.REGRESSED)


@pytest.fixture(scope="module")
def found(counting_gate, plan, kept) -> dict[str, list[tuple[Trial, float]]]:
    """Of each student what became of it in every check; each count is of a process of its own."""
    found: dict[str, list[tuple[Trial, float]]] = {}
    with busy_cores(plan.niceness):
        for run in range(plan.faulty):
            made, seconds = kept.trials(
                str(run),
                lambda run=run: {
                    name: _trial(name, own) for name, own in counting_gate.checked(run).items()
                },
            )
            for name, own in made.items():
                found.setdefault(name, []).append((own, seconds / len(made)))
    return found


@pytest.mark.parametrize("fault", GRAPH_FAULTS, ids=lambda fault: fault.name)
def test_more_instructions_are_caught(fault: GraphFault, found, plan, entered) -> None:
    case = entered(fault.name, found[fault.model], needed=plan.faulty)
    assert case.right == plan.faulty


def test_unchanged_instructions_pass_on_loaded_cores(found, plan, entered) -> None:
    unchanged = [own for name in plan.counted_copies for own in found[name]]
    case = entered("unchanged, counted", unchanged, needed=len(unchanged))
    assert case.right == len(unchanged)
