"""The table of targets."""

import pytest

from nstc.benchmarks.targets import chosen_targets, cpu, parse_target
from nstc.core.errors import OptionError


@pytest.mark.parametrize(
    "text", ["", "gpu", "cpu:", "cpu:0", "cpu:-1", "cpu:two", "cpu:1.5", "cpu:²"]
)
def test_nonsense_is_an_option_error_with_an_example(text):
    with pytest.raises(OptionError, match="cpu:2"):
        parse_target(text)


def test_a_target_that_can_not_run_here_says_why(monkeypatch):
    monkeypatch.setattr(cpu, "tells_peak_memory", lambda: False)
    with pytest.raises(OptionError, match="can't run here: this system does not tell"):
        parse_target("mobile")


def test_threads_are_short_for_cpu():
    assert chosen_targets((), 2) == ("cpu:2",)
    assert chosen_targets(("mobile", "cpu:1"), None) == ("mobile", "cpu:1")
    assert chosen_targets((), None) is None
    with pytest.raises(OptionError, match="give one of them"):
        chosen_targets(("mobile",), 2)
