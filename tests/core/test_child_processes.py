"""Programs and what they leave behind."""

import os
import signal
import subprocess
import sys
import time

import pytest

from nstc.core.child_processes import end_group, run_to_end, started

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a group of processes is POSIX's")


def python(code):
    return [sys.executable, "-c", code]


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123
        return file.read().rpartition(")")[2].split()[0] != "Z"


def wait_until_gone(pid):
    deadline = time.monotonic() + 60
    while is_running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_output_complaints_and_status(tmp_path):
    code = "import os, sys; print(os.getcwd()); print('a\\nb', file=sys.stderr); sys.exit(3)"
    ran = run_to_end(python(code), timeout_s=60, cwd=tmp_path)
    assert (ran.output, ran.complaints, ran.status) == (f"{tmp_path}\n", "a\nb\n", 3)
    assert ran.last_words() == "b"
    assert run_to_end(python("raise SystemExit(4)"), timeout_s=60).last_words() == "exit status 4"


@pytest.mark.parametrize("how", ["", ", start_new_session=True"])
def test_a_child_that_holds_the_output_puts_nothing_off(tmp_path, how):
    pid = tmp_path / "pid"
    code = (
        "import subprocess, sys; print('done');"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']{how});"
        f"open({str(pid)!r}, 'w').write(str(child.pid))"
    )
    assert run_to_end(python(code), timeout_s=300).output == "done\n"
    if how:
        os.kill(int(pid.read_text()), signal.SIGKILL)
    wait_until_gone(int(pid.read_text()))


def test_too_long_ends_it_and_its_children(tmp_path):
    pids = tmp_path / "pids"
    line = f"sleep 600 & echo $$ $! > {pids}; wait"
    with pytest.raises(subprocess.TimeoutExpired):
        run_to_end(["sh", "-c", line], timeout_s=2)
    for pid in map(int, pids.read_text().split()):
        wait_until_gone(pid)


def test_it_may_be_asked_first(tmp_path):
    ready, word = tmp_path / "ready", tmp_path / "word"
    code = (
        "import pathlib, signal, sys, time\n"
        f"def bye(*_): pathlib.Path({str(word)!r}).touch(); sys.exit()\n"
        f"signal.signal(signal.SIGTERM, bye); pathlib.Path({str(ready)!r}).touch(); time.sleep(600)"
    )
    with started(python(code), grace_s=300):
        while not ready.exists():
            time.sleep(0.02)
    assert word.exists()


def test_a_group_that_was_ended_is_left_alone(monkeypatch):
    """Its number may be another's by then."""
    sent = []
    killpg = os.killpg

    def recorded(group, number):
        sent.append((group, number))
        killpg(group, number)

    monkeypatch.setattr(os, "killpg", recorded)
    with started(["sleep", "600"], grace_s=300) as process:
        end_group(process)
    assert sent == [(process.pid, signal.SIGKILL)]


def test_a_program_that_is_not_there():
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        run_to_end(["no-such-program"], timeout_s=1)
