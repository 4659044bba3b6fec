import numpy as np
import pytest

from nstc.benchmarks.timing.latency import BATCH, EnergyMeter, RunClock, measure_throughput

PICTURE = np.zeros((8, 8, 3), np.uint8)


class SlowSession:
    """Takes 10 ms for a run, and 2 for each picture more."""

    batch: int | None = 1

    def __init__(self, energy=None) -> None:
        self.now = 0
        self.runs = 0
        self.energy = energy

    def prepare(self, rgb):
        return 1

    def prepare_batch(self, rgb, count):
        return count

    def infer(self, pictures):
        self.runs += 1
        self.now += (10 + 2 * (pictures - 1)) * 1_000_000
        if self.energy is not None:
            self.energy.write_text(str(self.runs * 5000))

    def clock(self) -> RunClock:
        return RunClock(now_ns=lambda: self.now)


def test_frames_are_counted_back_to_back_with_one_before_them(tmp_path):
    session = SlowSession()
    found = measure_throughput(session, PICTURE, clock=session.clock())
    assert found.frames_per_second == pytest.approx(100.0)
    assert session.runs == 1 + 30
    assert (found.graph_batch, found.batched_frames_per_second) == (1, None)


def test_a_graph_that_takes_any_number_is_run_in_batches_too():
    session = SlowSession()
    session.batch = None
    found = measure_throughput(session, PICTURE, clock=session.clock())
    assert found.graph_batch == "any"
    assert found.batched_frames_per_second == pytest.approx(BATCH / 0.016)


def test_energy_is_of_every_frame_that_was_run(tmp_path):
    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    (package / "energy_uj").write_text("0")
    session = SlowSession(package / "energy_uj")
    found = measure_throughput(
        session, PICTURE, clock=session.clock(), meter=EnergyMeter(folder=tmp_path)
    )
    assert found.energy_mj == pytest.approx(5.0)
    bare = measure_throughput(
        session, PICTURE, clock=session.clock(), meter=EnergyMeter(folder=tmp_path / "none")
    )
    assert bare.energy_mj is None


def test_of_a_file_that_others_made_the_batch_is_not_known(function_session):
    found = measure_throughput(function_session(lambda rgb: rgb), PICTURE)
    assert found.graph_batch == "unknown"
    assert found.frames_per_second > 0


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
