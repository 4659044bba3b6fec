"""The ssh target through OpenSSH itself: a server on loopback with keys and port of its own."""

import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nstc.benchmarks.targets import parse_target
from nstc.benchmarks.targets.remote import remote_target
from nstc.core import Silent
from nstc.core.errors import TargetError

pytestmark = pytest.mark.ssh

SERVER_PATH = f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/usr/local/sbin"


@dataclass
class Server:
    """A running sshd.

    Attributes:
        process: The one that listens.
        port: On 127.0.0.1.
        folder: Its keys and settings.
        temporary: What sessions have as TMPDIR.
    """

    process: subprocess.Popen[bytes]
    port: int
    folder: Path
    temporary: Path

    @property
    def target(self) -> str:
        """As `--target` takes it; the Python there is this one."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}?python={sys.executable}"

    def drop_connections(self) -> None:
        """Kill the processes that serve somebody, as a cut cable would."""
        for status in Path("/proc").glob("[0-9]*/stat"):
            name, _, rest = status.read_text().rpartition(")")
            if int(rest.split()[1]) == self.process.pid and "sshd" in name:
                os.kill(int(status.parent.name), signal.SIGKILL)

    def wait_until_tidy(self, seconds: float = 20) -> None:
        """Until no job's folder is left."""
        deadline = time.monotonic() + seconds
        while left := list(self.temporary.iterdir()):
            assert time.monotonic() < deadline, left
            time.sleep(0.05)


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Starts servers, and puts an ssh on the PATH that knows their keys."""
    server = shutil.which("sshd", path=SERVER_PATH)
    client = shutil.which("ssh")
    if server is None or client is None:
        pytest.fail("no sshd or ssh here: apt-get install openssh-server openssh-client")
    running: list[subprocess.Popen[bytes]] = []

    def run(*settings: str, known: bool = True, trusted: bool = True) -> Server:
        folder = tmp_path / "sshd"
        temporary = tmp_path / "far"
        folder.mkdir(mode=0o700)
        temporary.mkdir()
        for name in ("host", "user"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True)
        port = _free_port()
        _write_settings(folder, port, temporary, settings, known=known, trusted=trusted)
        bin_folder = tmp_path / "bin"
        bin_folder.mkdir()
        wrapper = bin_folder / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec {client} -F {folder}/client "$@"\n')
        wrapper.chmod(0o755)
        monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where Debian's sshd drops its rights
        log = (folder / "log").open("wb")
        process = subprocess.Popen(
            [server, "-D", "-e", "-f", str(folder / "server")], stderr=log, stdin=subprocess.DEVNULL
        )
        log.close()
        running.append(process)
        _wait_for(port, process, folder / "log")
        return Server(process, port, folder, temporary)

    yield run
    for process in running:
        process.terminate()
        process.wait()


def _write_settings(
    folder: Path, port: int, temporary: Path, more: tuple[str, ...], *, known: bool, trusted: bool
) -> None:
    authorized = (folder / "user.pub").read_text() if trusted else ""
    (folder / "authorized").write_text(authorized)
    host = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known").write_text(f"[127.0.0.1]:{port} {host}\n" if known else "")
    server = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {folder}/host",
        f"AuthorizedKeysFile {folder}/authorized",
        "PidFile none",
        "StrictModes no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
        f"SetEnv TMPDIR={temporary}",
        *more,
    ]
    client = [
        f"IdentityFile {folder}/user",
        "IdentitiesOnly yes",
        f"UserKnownHostsFile {folder}/known",
        "GlobalKnownHostsFile none",
        "StrictHostKeyChecking yes",
    ]
    (folder / "server").write_text("\n".join(server) + "\n")
    (folder / "client").write_text("\n".join(client) + "\n")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while True:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


@pytest.fixture
def measure(sessions, picture, recipe):
    def run(server, target=None, progress=None):
        return parse_target(target or server.target).measure(
            sessions, picture, recipe, progress or Silent()
        )

    return run


def test_a_whole_measurement_leaves_nothing_behind(start, measure):
    server = start()
    reading = measure(server)
    assert len(reading.timings.reference_ms) == 3
    assert reading.place["by"] == "ssh"
    assert reading.place["host"] == f"{getpass.getuser()}@127.0.0.1"
    assert reading.rows[0].footprint.peak_bytes > 20_000_000
    server.wait_until_tidy()


def test_a_talkative_login_does_no_harm(start, measure):
    speech = 'echo Welcome; echo nstc-0 result 1; eval "$SSH_ORIGINAL_COMMAND"; r=$?; echo Bye'
    server = start(f"ForceCommand {speech}; exit $r")
    assert len(measure(server).timings.reference_ms) == 3


def test_an_unknown_host_key_is_not_accepted(start, measure):
    with pytest.raises(TargetError, match=r"`ssh .*` works without a password.*key verification"):
        measure(start(known=False))


def test_a_key_that_is_not_let_in(start, measure):
    with pytest.raises(TargetError, match=r"works without a password.*Permission denied"):
        measure(start(trusted=False))


def test_nobody_listens(start, measure):
    server = start()
    server.process.terminate()
    server.process.wait()
    with pytest.raises(TargetError, match="Connection refused"):
        measure(server)


def test_a_connection_that_drops_midway_is_told_and_tidied(start, measure):
    server = start()

    class Cutter(Silent):
        def advance(self, done, values):
            server.drop_connections()

    with pytest.raises(TargetError, match="ssh failed"):
        measure(server, progress=Cutter())
    server.wait_until_tidy()


def test_a_far_program_that_hangs_is_given_up(start, measure, tmp_path, monkeypatch):
    monkeypatch.setattr(remote_target, "SILENCE_S", 1.0)
    server = start()
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 4\n")
    sleeper.chmod(0o755)
    target = f"{server.target.partition('?')[0]}?python={sleeper}"
    began = time.monotonic()
    with pytest.raises(TargetError, match="nothing was heard"):
        measure(server, target)
    assert time.monotonic() - began < 4
    server.wait_until_tidy()


def test_the_shipped_student_by_the_command_line(start, tmp_path):
    server = start()
    result = tmp_path / "result.json"
    line = (
        f"bench zoo:starry-night --against zoo:starry-night/teacher --target {server.target} "
        "--size 256 --rounds 3 --no-quality --json"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "nstc", *line.split(), str(result)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(result.read_text())
    assert found["unfinished"] == []
    assert found["references"][0]["place"]["by"] == "ssh"
    assert {row["artifact"] for row in found["rows"]} >= {"int8.onnx", "onnx"}
    for row in found["rows"]:
        assert row["target"] == server.target
        assert row["speedup"]["low"] > 2
        assert 20e6 < row["memory"]["peak_bytes"] < 500e6
    server.wait_until_tidy()
