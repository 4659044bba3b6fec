"""The proof of counts: every fault is caught by the instructions alone, and no change is none.

`NSTC_GATE_PROOF=instructions make test-gate-proof` runs nothing else. All cores are kept busy.
"""

import contextlib
from collections.abc import Iterator

import pytest
from gate_proof.graph_faults import GRAPH_FAULTS, GraphFault
from gate_proof.ledger import Trial, trial
from gate_proof.slowness import busy_core
from gate_reports import verdicts

from nstc.benchmarks.gate.instruction_verdicts import FACT
from nstc.benchmarks.gate.verdicts import CheckReport, Verdict
from nstc.benchmarks.timing.machine import usable_cores

pytestmark = pytest.mark.gate_proof


@pytest.fixture(scope="module")
def _loaded() -> Iterator[None]:
    with contextlib.ExitStack() as loads:
        for core in usable_cores():
            loads.enter_context(busy_core(core))
        yield


@pytest.fixture(scope="module")
def reports(_loaded, counting_gate, plan) -> list[dict[str, CheckReport]]:
    """Of every run, what its check says of each student; each count is of a process of its own."""
    return [counting_gate.checked(run) for run in range(plan.faulty)]


@pytest.mark.parametrize("fault", GRAPH_FAULTS, ids=lambda fault: fault.name)
def test_more_instructions_are_caught(fault: GraphFault, reports, plan, tried) -> None:
    def once(run: int) -> Trial:
        report = reports[run][fault.model]
        return trial(report, right=verdicts(report)[FACT] == Verdict.REGRESSED)

    case = tried(fault.name, plan.faulty, once, needed=plan.faulty)
    assert case.right == plan.faulty


def test_unchanged_instructions_pass_on_loaded_cores(reports, counting_gate, tried) -> None:
    found = [report[name] for report in reports for name in counting_gate.unchanged]

    def once(number: int) -> Trial:
        return trial(found[number], right=found[number].verdict is Verdict.PASS)

    case = tried("unchanged, counted", len(found), once, needed=len(found))
    assert case.right == len(found)
