"""The proof of times on a machine that does nothing else: a slower file is caught, others pass.

Its baseline is that of the loaded part too, which starts once this one has ended.
"""

import functools

import pytest
from gate_proof.gates import SLOW
from gate_proof.plan import Plan
from gate_proof.time_trials import SLOWER, Kind, assert_no_false_alarm, time_trials

pytestmark = pytest.mark.gate_proof

PART = "quiet"


def checks(plan: Plan) -> int:
    return 2 * plan.faulty  # unchanged copies, and a slower one


@pytest.fixture(scope="module")
def found(timing_gate, plan, kept):
    if not (kept.resumed and timing_gate.baseline.is_file()):
        timing_gate.take_baseline()
    slower = functools.partial(timing_gate.slower, SLOWER)
    kinds = {
        "unchanged": Kind(plan.faulty, timing_gate.unchanged),
        "slower": Kind(plan.faulty, slower),
    }
    return time_trials(kept, kinds)


def test_a_slower_model_is_caught(found, plan, entered) -> None:
    case = entered("8 % slower, quiet", found[SLOW], needed=plan.faulty)
    if plan.counts_hold:
        assert case.right == plan.faulty


def test_unchanged_models_pass_on_a_quiet_machine(found, plan, entered) -> None:
    unchanged = [own for name in plan.timed_copies for own in found[name]]
    needed = round(0.95 * len(unchanged))
    case = entered("unchanged, quiet", unchanged, needed=needed)
    assert_no_false_alarm(case, plan, needed)
