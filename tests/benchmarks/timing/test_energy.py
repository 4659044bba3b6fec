import pytest

from nstc.benchmarks.timing.throughput import EnergyMeter


@pytest.fixture
def powercap(tmp_path):
    """Two sockets, the first with a part of its own, and what is no RAPL."""

    def put(package: str, microjoules: int) -> None:
        folder = tmp_path / package
        folder.mkdir(exist_ok=True)
        (folder / "energy_uj").write_text(f"{microjoules}\n")
        (folder / "max_energy_range_uj").write_text("1000000\n")

    put("intel-rapl:0", 100_000)
    put("intel-rapl:0:0", 5)
    put("intel-rapl:1", 900_000)
    put("dtpm", 7)
    return tmp_path, put


def test_joules_are_of_all_sockets_and_no_part_counts_twice(powercap):
    folder, put = powercap
    meter = EnergyMeter(folder=folder)
    before = meter.read()
    put("intel-rapl:0", 350_000)
    put("intel-rapl:0:0", 200_005)
    put("intel-rapl:1", 950_000)
    assert meter.joules_since(before) == pytest.approx(0.3)


def test_a_counter_that_began_anew_is_understood(powercap):
    folder, put = powercap
    meter = EnergyMeter(folder=folder)
    before = meter.read()
    put("intel-rapl:1", 50_000)  # 900 000, over 1 000 000, to 50 000
    assert meter.joules_since(before) == pytest.approx(0.15)


def test_where_there_is_none_or_it_may_not_be_read_nothing_is_told(powercap, tmp_path):
    assert EnergyMeter(folder=tmp_path / "nowhere").read() is None
    assert EnergyMeter(folder=tmp_path / "nowhere").joules_since(None) is None
    folder, _ = powercap
    meter = EnergyMeter(folder=folder)
    before = meter.read()
    (folder / "intel-rapl:1" / "energy_uj").unlink()
    assert meter.joules_since(before) is None
    (folder / "intel-rapl:0" / "energy_uj").write_text("rubbish")
    assert meter.read() is None
