import pytest

from nstc.benchmarks.targets import cpu, parse_target
from nstc.benchmarks.targets.cpu import CpuTarget
from nstc.core.errors import OptionError


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(cpu, "usable_cores", lambda: (2, 3, 5, 7))


@pytest.mark.usefixtures("four_cores")
def test_a_target_takes_as_many_cores_as_threads():
    assert parse_target("cpu:2") == CpuTarget(name="cpu:2", threads=2, cores=(2, 3))


@pytest.mark.usefixtures("four_cores")
def test_cpu_alone_is_all_cores_and_says_how_many():
    assert parse_target("cpu") == CpuTarget(name="cpu:4", threads=4, cores=(2, 3, 5, 7))


@pytest.mark.usefixtures("four_cores")
def test_more_threads_than_cores_name_the_limit():
    with pytest.raises(OptionError, match=r"5 cores.*may use 4.*--threads 4"):
        parse_target("cpu:5")


@pytest.mark.usefixtures("four_cores")
def test_mobile_is_one_core_and_reports_memory():
    target = parse_target("mobile")
    assert target == CpuTarget(name="mobile", threads=1, cores=(2,), reports_memory=True)
    with pytest.raises(OptionError, match="one thread"):
        parse_target("mobile:2")
