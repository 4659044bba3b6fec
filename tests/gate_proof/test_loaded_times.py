"""The proof of times while every core is busy: a slower file is caught, and others are not accused.

They are compared with the baseline that the quiet part has taken. What keeps the cores busy are the
proofs of pictures and of instructions, and a load of the lowest priority for what these leave.
"""

import functools
from collections.abc import Iterator

import pytest
from gate_proof.gates import SLOW
from gate_proof.slowness import busy_cores
from gate_proof.time_trials import assert_no_false_alarm, time_trials

pytestmark = pytest.mark.gate_proof

PART = "times"
CHECKS = 2  # unchanged copies, and a slower one
SLOWER = 0.08


@pytest.fixture(scope="module")
def found(timing_gate, plan, kept) -> Iterator[dict[str, list]]:
    checks = {
        "unchanged": timing_gate.unchanged,
        "slower": functools.partial(timing_gate.slower, SLOWER),
    }
    with busy_cores(plan.niceness):
        yield time_trials(plan, kept, checks)


def test_a_slower_model_is_caught(found, plan, entered) -> None:
    case = entered("8 % slower, loaded", found[SLOW], needed=plan.faulty)
    if plan.counts_hold:
        assert case.right == plan.faulty


def test_unchanged_models_are_never_accused(found, plan, entered) -> None:
    unchanged = [own for name in plan.timed_copies for own in found[name]]
    needed = round(0.5 * len(unchanged))
    case = entered("unchanged, loaded", unchanged, needed=needed)
    assert_no_false_alarm(case, plan, needed)
