"""The proof of times on a machine that does nothing else: unchanged files pass.

Its baseline is that of the loaded part too, which starts once this one has ended.
"""

import pytest
from gate_proof.time_trials import assert_no_false_alarm, time_trials

pytestmark = pytest.mark.gate_proof

PART = "quiet"
CHECKS = 1


def test_unchanged_models_pass_on_a_quiet_machine(timing_gate, plan, kept, entered) -> None:
    if not (kept.resumed and timing_gate.baseline.is_file()):
        timing_gate.take_baseline()
    found = time_trials(plan, kept, {"unchanged": timing_gate.unchanged})
    unchanged = [own for name in plan.timed_copies for own in found[name]]
    needed = round(0.95 * len(unchanged))
    case = entered("unchanged, quiet", unchanged, needed=needed)
    assert_no_false_alarm(case, plan, needed)
