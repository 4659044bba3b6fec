"""The proof of times while every core is busy: a slower file never passes, no other is accused.

They are compared with the baseline that the quiet part has taken. What keeps the cores busy are the
proofs of pictures and of instructions, and a load of the lowest priority for what these leave.
"""

import functools
from dataclasses import replace

import pytest
from gate_proof.gates import SLOW
from gate_proof.plan import Plan
from gate_proof.slowness import busy_cores
from gate_proof.time_trials import SLOWER, Kind, assert_no_false_alarm, time_trials

from nstc.benchmarks.gate.verdicts import Verdict

pytestmark = pytest.mark.gate_proof

PART = "times"


def checks(plan: Plan) -> int:
    return plan.faulty + plan.slower_loaded


@pytest.fixture(scope="module")
def found(timing_gate, plan, kept):
    slower = functools.partial(timing_gate.slower, SLOWER)
    kinds = {
        "unchanged": Kind(plan.faulty, timing_gate.unchanged),
        "slower": Kind(plan.slower_loaded, slower),
    }
    with busy_cores(plan.niceness):
        return time_trials(kept, kinds)


def test_a_slower_model_never_passes(found, plan, entered) -> None:
    # The load slows the reference by another factor than the student, and what it differs by
    # is added to the tolerance: 8 % may lie within it. To say so is right, to pass it is not.
    not_passed = [
        (replace(trial, right=trial.verdict != Verdict.PASS), seconds)
        for trial, seconds in found[SLOW]
    ]
    case = entered("8 % slower, loaded", not_passed, needed=plan.slower_loaded)
    if plan.counts_hold:
        assert case.right == plan.slower_loaded


def test_unchanged_models_are_never_accused(found, plan, entered) -> None:
    unchanged = [own for name in plan.timed_copies for own in found[name]]
    needed = round(0.5 * len(unchanged))
    case = entered("unchanged, loaded", unchanged, needed=needed)
    assert_no_false_alarm(case, plan, needed)
