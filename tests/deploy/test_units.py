"""The systemd unit of a camera: what it may do, and the very line that it runs."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

UNIT = Path(__file__).resolve().parents[2] / "docs/deploy/systemd/nstc-camera.service"
LINES = [
    line.partition("=")
    for line in UNIT.read_text(encoding="utf-8").splitlines()
    if "=" in line and not line.startswith("#")
]


def values_of(key: str) -> list[str]:
    return [value for name, _, value in LINES if name == key]


def test_it_runs_as_nobody_and_writes_its_own_folders_alone() -> None:
    assert values_of("DynamicUser") == ["yes"]
    assert not values_of("User")
    assert not values_of("ReadWritePaths")
    assert values_of("ProtectSystem") == ["strict"]
    for key in ("PrivateTmp", "ProtectHome", "NoNewPrivileges", "PrivateNetwork"):
        assert values_of(key) == ["yes"], key
    assert values_of("CapabilityBoundingSet") == [""]
    assert values_of("DeviceAllow") == ["char-video4linux rw"]


def test_it_waits_for_a_camera_that_is_unplugged_for_however_long() -> None:
    assert values_of("Restart") == ["always"]
    assert values_of("StartLimitIntervalSec") == ["0"]


@contextlib.contextmanager
def started(folder: Path, seconds: int) -> Iterator[subprocess.Popen[str]]:
    """The unit's line at work in a folder: frames of noise, which fill a file soon."""
    environment = dict(
        pair.split("=", 1) for value in values_of("Environment") for pair in value.split()
    )
    [line] = values_of("ExecStart")
    shell, flag, script = shlex.split(line.replace("$$", "$").replace("%%", "%"))
    own = {
        "NSTC": str(Path(sys.executable).with_name("nstc")),
        "CAMERA": "lavfi:testsrc2=size=64x48:rate=10,noise=alls=100:allf=t",
        "SIZE": "64",
        "SECONDS_EACH": str(seconds),
        "STATE_DIRECTORY": str(folder),
        "NSTC_CACHE": str(folder / "cache"),
    }
    assert own.keys() - environment.keys() == {"STATE_DIRECTORY"}  # which systemd sets
    with subprocess.Popen(
        [shell, flag, script],
        env={"PATH": os.environ["PATH"], **environment, **own},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def frames_below(folder: Path) -> int:
    """How many are in the one recording."""
    [made] = folder.glob("*.mkv")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-\d{6}\.mkv", made.name)
    with av.open(str(made)) as video:
        return sum(1 for _ in video.decode(video=0))


def test_its_line_records_a_camera(tmp_path: Path) -> None:
    with started(tmp_path, seconds=1) as process:
        _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert 1 <= frames_below(tmp_path) <= 11


def test_its_line_keeps_the_recording_when_it_is_asked_to_end(tmp_path: Path) -> None:
    with started(tmp_path, seconds=24 * 3600) as process:
        ends = time.monotonic() + 120
        while not any(draft.stat().st_size for draft in tmp_path.glob(".*.mkv")):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < ends
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=120)
    assert process.returncode in (0, *map(int, values_of("SuccessExitStatus"))), told
    assert frames_below(tmp_path) > 11


@pytest.mark.integrations
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd")
def test_systemd_accepts_it_as_safe(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name  # as it would be installed
    shutil.copyfile(UNIT, unit)
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=10", unit],
        capture_output=True,
        text=True,
    )
    assert rated.returncode == 0, rated.stdout
