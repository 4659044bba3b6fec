"""Timing as short as it goes, for tests that time networks on the way to something else."""

from collections.abc import Iterator

import pytest

from nstc.benchmarks.timing import latency


@pytest.fixture(autouse=True, scope="module")
def short_turns() -> Iterator[None]:
    """No pauses between turns, and few runs in one.

    For a conftest.py to import.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "PAUSE_S", 0.0)
        patch.setattr(latency, "TURN_MS", 2.0)
        yield
