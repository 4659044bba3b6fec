"""What a shell may do to the standard streams and to the process: one line and a code."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from nstc.cli.output import standard_streams
from nstc.core.errors import (
    BatchError,
    BundleError,
    FetchError,
    ImageError,
    MemoryLimitError,
    OptionError,
    OutputError,
)
from nstc.core.photos import sample_photos
from nstc.runtime import verification

PHOTO = sample_photos().paths[0]
CLOSED = "cannot write standard output: it is closed."
GONE = "cannot write standard output: the program that read it has ended."

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a POSIX shell's redirections")


def shell(line, **options):
    """Runs a line in sh, in which $NSTC is the command."""
    environment = {**os.environ, "NSTC": f"{sys.executable} -m nstc", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["sh", "-c", line], env=environment, capture_output=True, text=True, timeout=120, **options
    )


def assert_one_line(done, code, told):
    assert done.stderr.startswith("nstc: "), done.stderr
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
    assert done.returncode == code


@pytest.mark.parametrize("arguments", ["models", "models --json", "--version", "--help"])
def test_a_closed_standard_output(arguments):
    assert_one_line(shell(f"$NSTC {arguments} >&-"), OutputError.exit_code, CLOSED)


def test_a_picture_for_a_closed_standard_output():
    assert_one_line(shell(f"$NSTC stylize {PHOTO} -o - >&-"), OutputError.exit_code, CLOSED)


@pytest.mark.parametrize("arguments", ["models", "--help", f"stylize {PHOTO} -o -"])
def test_a_reader_that_has_ended(arguments):
    """Closed before the first word, so that no luck is in it."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "nstc", *arguments.split()],
            stdout=stream,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert_one_line(done, OutputError.exit_code, GONE)


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_an_error_that_nobody_can_read_keeps_its_code(where, tmp_path):
    done = shell(f"$NSTC verify {tmp_path / 'nothing'} {where}")
    assert (done.returncode, done.stdout, done.stderr) == (BundleError.exit_code, "", "")


def test_what_is_done_does_not_depend_on_standard_error(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"not a picture")
    done = shell(f"$NSTC stylize {tmp_path} {PHOTO} -o {tmp_path / 'out'} 2>/dev/full")
    assert done.returncode == BatchError.exit_code
    assert [path.name for path in (tmp_path / "out").iterdir()] == [PHOTO.name]


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path):
    """What a library prints would be written into it."""
    program = (
        "import os, sys\n"
        "from nstc.cli.output import standard_streams\n"
        "with standard_streams():\n"
        f"    file = os.open({str(tmp_path / 'file')!r}, os.O_CREAT | os.O_WRONLY)\n"
        "os._exit(file)"
    )
    done = subprocess.run(["sh", "-c", f'{sys.executable} -c "$0" <&- >&- 2>&-', program])
    assert done.returncode > 2


def test_a_closed_standard_input(tmp_path):
    done = shell(f"$NSTC stylize - -o {tmp_path / 'a.png'} <&-")
    assert_one_line(done, OptionError.exit_code, "- is standard input, which is closed: pipe")


def test_a_standard_input_that_can_not_be_read(tmp_path):
    done = shell(f"$NSTC stylize - -o {tmp_path / 'a.png'} 0>{tmp_path / 'b'}")
    assert_one_line(done, ImageError.exit_code, "standard input can't be read: Bad file descriptor")


def test_streams_are_as_before_afterwards(capsys):
    before = sys.stdout, sys.stderr
    with standard_streams():
        print("printed")  # noqa: T201
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "printed\n"


@pytest.mark.parametrize("address", ["http://[::1", "http://[zz]/a.jpg", "http://]"])
def test_a_wrong_ipv6_address(nstc, tmp_path, address):
    done = nstc("stylize", address, "-o", tmp_path / "a.png")
    assert done.code == FetchError.exit_code
    assert address in done.error
    many = nstc("stylize", PHOTO, address, "-o", tmp_path / "many")
    assert many.code == BatchError.exit_code
    assert (tmp_path / "many" / PHOTO.name).is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep to no such limit")
@pytest.mark.parametrize("kilobytes", [50_000, 80_000])
def test_a_limit_of_memory(kilobytes, tmp_path):
    """Where Pillow and NumPy are loaded, each of which says it in other words."""
    done = shell(f"ulimit -v {kilobytes}; $NSTC stylize {PHOTO} -o {tmp_path / 'a.png'}")
    if "OpenBLAS error" in done.stderr:
        pytest.skip("OpenBLAS ended the process by itself")
    assert_one_line(done, MemoryLimitError.exit_code, "there is not enough memory")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"
        ),
        RuntimeError("can't start new thread"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("Available memory of 5 is smaller than requested bytes of 9"),
        RuntimeError("a process ended: MemoryError"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_whoever_says_that_there_is_no_memory(nstc, record, error):
    record("nstc.runtime.verification.verify", error)
    done = nstc("verify", "x")
    assert done.code == MemoryLimitError.exit_code
    assert "there is not enough memory" in done.error
    assert "ulimit -v" in done.error


def test_other_errors_are_bugs_and_shown_as_such(nstc, record):
    record("nstc.runtime.verification.verify", RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        nstc("verify", "x")


class TestSignals:
    def test_kill_ends_the_work_as_ctrl_c_does(self, nstc, monkeypatch):
        before = signal.getsignal(signal.SIGTERM)
        seen = []

        def verify(*_arguments, **_options):
            seen.append(signal.getsignal(signal.SIGTERM))
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(20)

        monkeypatch.setattr(verification, "verify", verify)
        done = nstc("verify", "x")
        assert done.code == 130
        assert signal.getsignal(signal.SIGTERM) is before
        assert seen != [before]

    def test_what_is_ignored_by_inheritance_stays_so(self, nstc, monkeypatch):
        ignored = []

        def verify(*_arguments, **_options):
            ignored.append(signal.getsignal(signal.SIGHUP))
            raise KeyboardInterrupt

        monkeypatch.setattr(
            verification,
            "verify",
            verify,
        )
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            assert nstc("verify", "x").code == 130
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        finally:
            signal.signal(signal.SIGHUP, before)
        assert ignored == [signal.SIG_IGN]
