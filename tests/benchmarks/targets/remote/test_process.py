import dataclasses
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from nstc.benchmarks.targets.remote.process import CommandLimits, converse
from nstc.core.child_processes import readable
from nstc.core.errors import TargetError

LIMITS = CommandLimits(whole_s=300, silence_s=300, output_bytes=1000)
"""Half of what the programs below would sleep: one that is waited for is over them."""


def python(code):
    return [sys.executable, "-c", code]


def run(code, limits=LIMITS, **options):
    return converse(python(code), name="ssh://board", limits=limits, **options)


def limited(**values):
    return dataclasses.replace(LIMITS, **values)


def test_output_status_and_last_complaint_come_back():
    done = run(
        "import sys; print('a'); print('b', end=''); print('x\\ny', file=sys.stderr); exit(7)"
    )
    assert (done.output, done.status, done.complaint) == ("a\nb", 7, "y")


def test_a_file_is_read_and_lines_are_heard_as_they_come(tmp_path):
    (tmp_path / "in").write_text("one\ntwo\n")
    heard = []
    done = run(
        "import sys; [print(line.strip() + '\\r') for line in sys.stdin]",
        stdin=tmp_path / "in",
        on_line=heard.append,
    )
    assert (heard, done.output) == (["one", "two"], "")


def test_a_program_that_is_not_there():
    with pytest.raises(TargetError, match="no-such-program can't be started: No such file"):
        converse(["no-such-program"], name="ssh://board", limits=LIMITS)


def test_silence_is_given_up_and_whoever_was_silent_is_ended(tmp_path):
    pids = tmp_path / "pids"
    command = ["sh", "-c", f"sleep 600 & echo $$ $! > {pids}; echo here; wait"]
    with pytest.raises(TargetError, match="nothing was heard for 1 s"):
        converse(command, name="ssh://board", limits=limited(silence_s=1))
    for pid in map(int, pids.read_text().split()):
        _wait_until_gone(pid)


def _wait_until_gone(pid):
    deadline = time.monotonic() + 60
    while _runs(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid):
    """Whether a process computes still; one that is dead and not yet fetched does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
        return stat.rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


LEAVES_SOMETHING = (
    "import subprocess, sys;"
    "print('the end', flush=True); print('complaint', file=sys.stderr, flush=True);"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']{how});"
    "open({pid!r}, 'w').write(str(child.pid))"
)


@pytest.mark.parametrize("how", ["", ", start_new_session=True"])
def test_what_a_command_leaves_behind_with_its_output_is_not_waited_for(tmp_path, how):
    """In its group it is ended; one that left the group holds the pipes all its life."""
    pid = tmp_path / "pid"
    done = run(LEAVES_SOMETHING.format(pid=str(pid), how=how))
    assert (done.output, done.status, done.complaint) == ("the end", 0, "complaint")
    left = int(pid.read_text())
    if how:
        os.kill(left, signal.SIGKILL)
    _wait_until_gone(left)


def test_a_last_line_ends_a_command_that_stays(tmp_path):
    """As ssh does while somebody there holds its output."""
    code = "import time; print('a\\nend 300 more\\nend 7\\nb', flush=True); time.sleep(600)"
    done = run(code, end="end")
    assert (done.output, done.status) == ("a\nend 300 more", 7)


def test_talking_without_end_is_given_up():
    limits = limited(whole_s=0.6, output_bytes=10**6)
    with pytest.raises(TargetError, match="it took more than 1 s"):
        run("import time\nwhile True: print('still', flush=True); time.sleep(0.05)", limits)


def test_a_flood_is_cut_off():
    with pytest.raises(TargetError, match="more than 1000 bytes came back"):
        run("while True: print('x' * 500)")


def test_what_the_listener_raises_ends_the_command():
    def refuse(line):
        raise TargetError(line)

    with pytest.raises(TargetError, match=r"^no$"):
        run("import time; print('no', flush=True); time.sleep(600)", on_line=refuse)


def test_bytes_that_are_no_text_do_no_harm():
    assert run("import os; os.write(1, b'\\xff\\xfe\\n')").output == "\ufffd\ufffd"


def test_readable_text_has_no_controls_and_an_end():
    assert readable("a\x1b[31m\tb\r\nc" + "d" * 500, 10) == "a [31m b c"


def test_a_line_longer_than_any_chunk_is_one_line():
    limits = limited(output_bytes=1_000_000)
    heard = []
    run("print('x' * 300_000); print(); print('end')", limits, on_line=heard.append)
    assert [len(line) for line in heard] == [300_000, 0, 3]
