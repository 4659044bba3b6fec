"""The ssh target against a stand-in that speaks ssh's command line."""

import contextlib
import os
import shlex
import signal
import sys

import pytest

from nstc.benchmarks.subjects import Subject
from nstc.benchmarks.targets import parse_target, ssh
from nstc.benchmarks.targets.remote import remote_target
from nstc.benchmarks.targets.ssh import SshTarget
from nstc.core import Silent
from nstc.core.errors import OptionError, TargetError
from nstc.runtime.foreign.probing import probe_contract

HERE = f"ssh://me@board:2222?python={sys.executable}"


@pytest.fixture
def fake(stand_in, tmp_path, monkeypatch):
    """The stand-in; what is made for the other machine lies in `far`."""
    (tmp_path / "far").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "far"))
    return stand_in("ssh")


@pytest.fixture
def measure(sessions, picture, recipe, fake):
    def run(target=HERE):
        return parse_target(target).measure(sessions, picture, recipe, Silent())

    return run


@pytest.fixture
def truth(far_speech, sessions, picture):
    return far_speech([session.run(picture) for session in sessions])


def test_a_whole_address():
    target = parse_target("ssh://pi@board.local:2222?threads=2&python=/opt/venv/bin/python")
    assert target == SshTarget(
        name="ssh://pi@board.local:2222?threads=2&python=/opt/venv/bin/python",
        destination="pi@board.local",
        port=2222,
        threads=2,
        python="/opt/venv/bin/python",
    )
    assert parse_target(target.name) == target
    assert target.reports_memory


@pytest.mark.parametrize(
    ("text", "destination", "port"),
    [
        ("ssh://board", "board", None),
        ("ssh://board/", "board", None),
        ("ssh://root@127.0.0.1:22", "root@127.0.0.1", 22),
        ("ssh://pi@[fe80::1%eth0]:22", "pi@fe80::1%eth0", 22),
    ],
)
def test_what_may_be_left_out(fake, text, destination, port):
    target = parse_target(text)
    assert (target.destination, target.port, target.threads, target.python) == (
        destination,
        port,
        1,
        "python3",
    )


@pytest.mark.parametrize(
    "text",
    [
        "ssh",
        "ssh:",
        "ssh://",
        "ssh:board",
        "ssh://@board",
        "ssh://-oProxyCommand=reboot",
        "ssh://-l@board",
        "ssh://me:password@board",
        "ssh://me@bo ard",
        "ssh://me@board;reboot",
        "ssh://me@$(reboot)",
        "ssh://me@`reboot`",
        "ssh://me@board\n",
        "ssh://me@board/path",
        "ssh://me@board:",
        "ssh://me@board:0",
        "ssh://me@board:99999",
        "ssh://me@board:22:22",
        "ssh://[::1",
        "ssh://[:::]",
        "ssh://[1:2]:22",
        "ssh://me@[fe80::1%]",
        "ssh://me@board:²²",
        "ssh://me@board?python=/x;reboot",
        "ssh://me@board?colour=red",
    ],
)
def test_no_other_address_is_taken(fake, text):
    with pytest.raises(OptionError):
        parse_target(text)


def test_without_ssh_the_list_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ssh.SSH.to_dict()["reason"] == "there is no ssh on the PATH"
    with pytest.raises(OptionError, match="no ssh on the PATH"):
        parse_target("ssh://board")


def test_files_of_other_runtimes_are_refused(fake, sessions):
    target = parse_target("ssh://board")
    with pytest.raises(OptionError, match="runs ONNX files, not ts"):
        target.open(Subject(sessions[0].path, None), "ts", probe_contract)


def test_a_real_run_by_the_command_that_is_sent(fake, measure, tmp_path):
    """Everything but ssh itself: the shell's line, tar, the script, its answer, the removal."""
    fake.plan(banner="Last login: never\nnstc-0 result {}")
    reading = measure()
    assert len(reading.timings.reference_ms) == 3
    assert all(0 < own < 10_000 for own in reading.timings.candidates_ms[0])
    assert reading.place["by"] == "ssh"
    assert reading.place["host"] == "me@board"
    assert reading.place["onnxruntime"].count(".") == 2
    assert reading.place["threads"] == reading.place["pinned"] == 1
    [facts] = reading.rows
    assert facts.footprint.peak_bytes > 20_000_000
    assert list((tmp_path / "far").iterdir()) == []


def test_a_far_program_that_leaves_something_behind_is_not_waited_for(fake, measure, tmp_path):
    """A wrapper of Python that starts a service, say, which keeps the output for itself."""
    wrapper, left = tmp_path / "python", tmp_path / "left"
    wrapper.write_text(f'#!/bin/sh\nsleep 600 &\necho $! >> {left}\nexec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    try:
        reading = measure(f"ssh://board?python={wrapper}")
    finally:
        for pid in map(int, left.read_text().split()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert len(reading.timings.reference_ms) == 3
    assert list((tmp_path / "far").iterdir()) == []


def test_ssh_is_asked_as_its_manual_says(fake, measure, truth):
    fake.plan(say=truth.lines())
    measure("ssh://me@board:2222?python=/opt/py/bin/python3")
    [call] = fake.calls()
    assert "BatchMode=yes" in call
    assert any(word.startswith("ConnectTimeout=") for word in call)
    assert call[call.index("-p") + 1] == "2222"
    assert call[call.index("--") + 1 :][0] == "me@board"
    command = call[-1]
    assert "name" not in command  # the models' own names stay here
    assert shlex.split(command)[:2] == ["exec", "sh"]
    assert shlex.split(command)[-1] == "/opt/py/bin/python3"


def test_without_a_port_ssh_takes_its_own(fake, measure, truth):
    fake.plan(say=truth.lines())
    measure("ssh://board")
    assert "-p" not in fake.calls()[0]


@pytest.mark.parametrize("cut_after", [1, 4])
def test_a_line_that_is_cut_leaves_nothing_there(fake, measure, tmp_path, cut_after):
    fake.plan(cut_after=cut_after)
    with pytest.raises(TargetError, match=r"ssh failed.*works without a password.*Broken pipe"):
        measure()
    assert list((tmp_path / "far").iterdir()) == []


def test_a_machine_that_hangs_is_given_up(fake, measure, truth, monkeypatch):
    monkeypatch.setattr(remote_target, "SILENCE_S", 0.4)
    fake.plan(say=truth.lines()[:4], hang=True)
    with pytest.raises(TargetError, match=r"ssh://board: nothing was heard for \d s.*given up"):
        measure("ssh://board")


def test_a_flood_is_cut_off(fake, measure):
    fake.plan(say=["x" * 1_000_000] * 5)
    with pytest.raises(TargetError, match="bytes came back"):
        measure("ssh://board")


def test_rubbish_alone_is_no_answer(fake, measure):
    fake.plan(say=["<html>", "{}", '{"samples_ms": [[1, 1, 1], [1, 1, 1]]}'])
    with pytest.raises(TargetError, match="broke off after 0"):
        measure("ssh://board")


def test_a_lie_is_refused(fake, measure, truth):
    truth.result["samples_ms"][1][2] = float("nan")
    fake.plan(say=truth.lines())
    with pytest.raises(TargetError, match="makes no sense"):
        measure("ssh://board")


def test_a_wrong_picture_fails_the_row_by_its_name(fake, measure, truth):
    truth.pictures[1] = truth.pictures[1][..., ::-1].copy()
    fake.plan(say=truth.lines())
    with pytest.raises(TargetError, match=r"it's \$\(a\) name.onnx gives another picture there"):
        measure("ssh://board")


@pytest.mark.parametrize(
    ("status", "complaint", "message"),
    [
        (255, "me@board: Permission denied (publickey).", r"`ssh me@board` works.*publickey"),
        (255, "Host key verification failed.", "Host key verification failed"),
        (91, "", "no room for a folder"),
        (92, "tar: short read", "files did not arrive.*short read"),
        (93, "", r"no python3 there.*\?python=PATH"),
        (137, "Killed", "status 137, is the memory there enough.*Killed"),
    ],
)
def test_every_failure_says_what_to_do(fake, measure, status, complaint, message):
    fake.plan(say=[], status=status, complaint=complaint)
    with pytest.raises(TargetError, match=message):
        measure("ssh://me@board")


def test_a_python_without_onnxruntime_gets_the_line_that_installs_it(fake, measure):
    error = "\"ModuleNotFoundError: No module named 'onnxruntime'\""
    fake.plan(say=["nstc-{token} turn", f"nstc-{{token}} error {error}"], status=1)
    with pytest.raises(TargetError, match="python3 -m pip install onnxruntime"):
        measure("ssh://board")


def test_a_python_that_is_not_there(fake, measure, tmp_path):
    with pytest.raises(TargetError, match="there is no /no/such/python there"):
        measure("ssh://board?python=/no/such/python")
    assert list((tmp_path / "far").iterdir()) == []


def test_results_are_of_a_successful_end_only(fake, measure, truth):
    fake.plan(say=truth.lines(), status=1)
    with pytest.raises(TargetError, match="ended with status 1"):
        measure("ssh://board")
