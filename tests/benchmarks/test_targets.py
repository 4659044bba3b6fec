import os
import threading

import pytest

from nstc.benchmarks import targets
from nstc.benchmarks.targets import Target, parse_target
from nstc.core.errors import OptionError

needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system pins no threads"
)


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(targets, "usable_cores", lambda: (2, 3, 5, 7))


@pytest.mark.usefixtures("four_cores")
def test_a_target_takes_as_many_cores_as_threads():
    assert parse_target("cpu:2") == Target(name="cpu:2", threads=2, cores=(2, 3))


@pytest.mark.usefixtures("four_cores")
def test_cpu_alone_is_all_cores_and_says_how_many():
    assert parse_target("cpu") == Target(name="cpu:4", threads=4, cores=(2, 3, 5, 7))


@pytest.mark.usefixtures("four_cores")
def test_more_threads_than_cores_name_the_limit():
    with pytest.raises(OptionError, match=r"5 cores.*may use 4.*--threads 4"):
        parse_target("cpu:5")


@pytest.mark.parametrize(
    "text", ["", "gpu", "cpu:", "cpu:0", "cpu:-1", "cpu:two", "cpu:1.5", "cpu:²"]
)
def test_nonsense_is_an_option_error_with_an_example(text):
    with pytest.raises(OptionError, match="cpu:2"):
        parse_target(text)


@needs_affinity
def test_pinning_holds_new_threads_and_ends_with_the_block():
    before = os.sched_getaffinity(0)
    core = min(before)
    seen = []
    with Target(name="cpu:1", threads=1, cores=(core,)).pinned():
        thread = threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0)))
        thread.start()
        thread.join()
    assert seen == [{core}]
    assert os.sched_getaffinity(0) == before


@needs_affinity
def test_pinning_ends_after_an_error_too():
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyError), parse_target("cpu:1").pinned():
        raise KeyError
    assert os.sched_getaffinity(0) == before


def test_without_an_affinity_call_nothing_is_pinned(monkeypatch):
    target = parse_target("cpu:1")
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with target.pinned():
        pass


@pytest.mark.usefixtures("four_cores")
def test_mobile_is_one_core_and_reports_memory():
    target = parse_target("mobile")
    assert target == Target(name="mobile", threads=1, cores=(2,), reports_memory=True)
    with pytest.raises(OptionError, match="one thread"):
        parse_target("mobile:2")


def test_a_target_that_can_not_run_here_says_why(monkeypatch):
    monkeypatch.setattr(targets, "tells_peak_memory", lambda: False)
    with pytest.raises(OptionError, match="can't run here: this system does not tell"):
        parse_target("mobile")
