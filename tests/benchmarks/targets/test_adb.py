"""The adb target against a stand-in that speaks adb's command line."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from nstc.benchmarks.targets import adb, parse_target
from nstc.benchmarks.targets.adb import AdbTarget
from nstc.benchmarks.targets.remote import remote_target
from nstc.core import Silent
from nstc.core.errors import OptionError, TargetError

STAND_INS = Path(__file__).resolve().parent / "stand_ins"
BY_PYTHON = f"adb:emulator-5554?python={sys.executable}"


@pytest.fixture
def fake(stand_in):
    """The stand-in with an empty device, which knows its own properties."""
    found = stand_in("adb")
    (found.folder / "device").mkdir()
    getprop = '#!/bin/sh\ncase "$1" in ro.product.model) echo Pixel 99;; *) echo 16;; esac\n'
    install(found.folder / "tools" / "getprop", getprop)
    return found


def install(program, source):
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(source, encoding="utf-8")
    program.chmod(0o755)


def python_program(name):
    source = (STAND_INS / f"{name}.py").read_text(encoding="utf-8")
    return f"#!{sys.executable} -IS\n{source}"


@pytest.fixture
def perf_test(fake):
    """The program and its library at the usual place; the reference takes 40 ms, the other 4."""
    device = fake.folder / "device"
    install(device / "onnxruntime_perf_test", python_program("perf_program"))
    (device / "libonnxruntime.so").write_bytes(b"\x7fELF\x00\xff\x00VERS_1.22.0\x00more")
    (device / "times.json").write_text(json.dumps({"graph0": 0.04, "graph1": 0.004}))
    return device


@pytest.fixture
def measure(sessions, picture, recipe, fake):
    def run(target="adb:emulator-5554"):
        return parse_target(target).measure(sessions, picture, recipe, Silent())

    return run


@pytest.fixture
def left_there(fake):
    """The folders of jobs that are on the device still."""
    return lambda: list((fake.folder / "device").glob("nstc.*"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("adb:emulator-5554", ("emulator-5554", 1, None, None)),
        ("adb:192.168.1.5:5555", ("192.168.1.5:5555", 1, None, None)),
        ("adb:adb-R58._adb-tls-connect._tcp", ("adb-R58._adb-tls-connect._tcp", 1, None, None)),
        ("adb:R58?threads=4", ("R58", 4, None, None)),
        ("adb:R58?perf_test=/data/x/pt", ("R58", 1, "/data/x/pt", None)),
        ("adb:10.0.0.2:5555?python=python3.11&threads=2", ("10.0.0.2:5555", 2, None, "python3.11")),
    ],
)
def test_addresses(fake, text, expected):
    target = parse_target(text)
    assert isinstance(target, AdbTarget)
    assert (target.serial, target.threads, target.perf_test, target.python) == expected
    assert target.name == text


@pytest.mark.parametrize(
    "text",
    [
        "adb",
        "adb:",
        "adb:-d",
        "adb:a b",
        "adb:x;reboot",
        "adb:$(reboot)",
        "adb:x\n",
        "adb:x/y",
        "adb:x?threads=0",
        "adb:x?perf_test=relative/path",
        "adb:x?perf_test=/a;reboot",
        "adb:x?perf_test=/a&python=/b",
    ],
)
def test_no_other_address_is_taken(fake, text):
    with pytest.raises(OptionError):
        parse_target(text)


def test_without_adb_the_list_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert adb.ADB.to_dict()["reason"] == "there is no adb on the PATH"


def test_perf_test_gives_times_memory_and_the_devices_facts(fake, perf_test, measure, left_there):
    reading = measure("adb:192.168.1.5:5555?threads=2")
    # the last half of each call's runs, of which the first is ten times slower
    assert reading.timings.reference_ms == pytest.approx((40.0, 40.0, 40.0))
    assert reading.timings.candidates_ms[0] == pytest.approx((4.0, 4.0, 4.0))
    place = reading.place
    assert (place["by"], place["host"], place["device"]) == ("adb", "192.168.1.5:5555", "Pixel 99")
    assert (place["os"], place["runner"]) == ("Android 16", "onnxruntime_perf_test")
    assert (place["onnxruntime"], place["threads"]) == ("1.22.0", 2)
    assert place["pictures"].startswith("not checked")
    footprint = reading.rows[0].footprint
    assert (footprint.peak_bytes, footprint.network_bytes) == (36696064, None)
    assert footprint.cold_start_ms == pytest.approx(30.3481)
    assert left_there() == []
    commands = [" ".join(call) for call in fake.calls()]
    turns = [command for command in commands if "-m times" in command]
    assert len(turns) == 2 + 2 * 3
    fast = [turn for turn in turns if "-r 13 -x 2" in turn]
    assert len(fast) == 3
    program = "/data/local/tmp/onnxruntime_perf_test"
    assert all(
        f"LD_LIBRARY_PATH=/data/local/tmp {program} -e cpu -m times -r 13 -x 2 -y 1" in turn
        and "/job/graph1/model.onnx" in turn
        for turn in fast
    )
    assert not any("$(a)" in command for command in commands)  # a model's own name


def test_without_its_library_the_version_is_unknown(perf_test, measure):
    (perf_test / "libonnxruntime.so").unlink()
    assert measure().place["onnxruntime"] == "unknown"


def test_perf_test_may_lie_elsewhere(fake, perf_test, measure):
    elsewhere = fake.folder / "device" / "ort"
    elsewhere.mkdir()
    for name in ("onnxruntime_perf_test", "libonnxruntime.so", "times.json"):
        shutil.move(perf_test / name, elsewhere / name)
    reading = measure("adb:emulator-5554?perf_test=/data/local/tmp/ort/onnxruntime_perf_test")
    assert reading.place["onnxruntime"] == "1.22.0"
    with pytest.raises(TargetError, match=r"no program at /data/other.*adb push"):
        measure("adb:emulator-5554?perf_test=/data/other")


def test_python_on_the_device_does_the_same_job_as_over_ssh(measure, left_there):
    reading = measure(BY_PYTHON)
    assert reading.place["runner"] == "python"
    assert reading.place["device"] == "Pixel 99"
    assert reading.place["onnxruntime"].count(".") == 2
    assert len(reading.timings.reference_ms) == 3
    assert reading.rows[0].footprint.peak_bytes > 20_000_000
    assert left_there() == []


def test_a_device_with_neither_says_what_it_needs(fake, measure):
    install(fake.folder / "tools" / "python3", "#!/bin/sh\nexit 1\n")
    with pytest.raises(TargetError, match=r"neither /data/local/tmp/onnxruntime_perf_test nor"):
        measure()


def test_a_device_that_is_not_there(measure):
    with pytest.raises(TargetError, match=r"adb:other: .*'other' not found.*adb devices"):
        measure("adb:other")


def test_a_device_that_does_not_trust_this_computer(fake, measure):
    fake.plan(state="unauthorized", complaint="error: device unauthorized.")
    with pytest.raises(TargetError, match=r"unauthorized.*allow this computer on its screen"):
        measure()


def test_a_device_that_is_full(fake, perf_test, measure, left_there):
    fake.plan(full=True)
    with pytest.raises(TargetError, match=r"did not arrive.*No space left on device"):
        measure()
    assert left_there() == []


@pytest.mark.parametrize("answer", ["", "mktemp: no", "/", "/data/local/tmp", "/sdcard; reboot"])
def test_a_folder_of_another_name_is_not_worked_in_nor_removed(fake, perf_test, measure, answer):
    fake.plan(rubbish=answer, rubbish_for="mktemp")
    with pytest.raises(TargetError, match="no folder can be made"):
        measure()
    assert not any("rm -rf" in " ".join(call) for call in fake.calls())


def test_a_device_that_hangs_is_given_up_and_tidied(
    fake, perf_test, measure, monkeypatch, left_there
):
    monkeypatch.setattr(remote_target, "SILENCE_S", 0.5)
    fake.plan(hang="-m times")
    with pytest.raises(TargetError, match=r"adb:emulator-5554: nothing was heard for \d s"):
        measure()
    assert left_there() == []


def test_a_device_that_is_unplugged_midway(fake, perf_test, measure):
    fake.plan(vanish="-r 13")
    with pytest.raises(TargetError, match="gave 0 of 13 times"):
        measure()


def test_a_folder_that_stays_is_told_of(fake, perf_test, measure):
    fake.plan(rubbish="rm: read-only", rubbish_for="rm -rf")
    with pytest.raises(TargetError, match=r"could not be removed.*adb -s emulator-5554 shell rm"):
        measure()


def test_rubbish_in_place_of_times(fake, perf_test, measure, left_there):
    fake.plan(rubbish="graph0,fast,1,1,1\n" * 20, rubbish_for="-m times")
    with pytest.raises(TargetError, match="gave 0 of 3 times"):
        measure()
    assert left_there() == []


def test_a_shell_that_never_stops_talking(fake, perf_test, measure):
    fake.plan(rubbish="x" * 1_100_000, rubbish_for="cpuinfo")
    with pytest.raises(TargetError, match="bytes came back"):
        measure()
