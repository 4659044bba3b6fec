import errno
import os
import subprocess
import sys
import threading

import pytest

from nstc.core import files
from nstc.core.drafts import draft_folder
from nstc.core.errors import OutputError
from nstc.core.files import cache_folder, locked

_HOLD = """
import sys
from pathlib import Path
from nstc.core.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_waited_for_and_that_is_said(tmp_path, caplog, monkeypatch) -> None:
    monkeypatch.setattr(files, "_SECONDS_UNTIL_LOGGED", 0.05)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / "b")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "held\n"
        threading.Timer(0.3, other.stdin.close).start()
        with locked(tmp_path / "b"):
            assert other.wait(timeout=60) == 0
    assert caplog.messages == [f"nstc: waiting for another nstc that writes {tmp_path / 'b'}"]


def test_nothing_is_left_beside_the_target(tmp_path) -> None:
    (tmp_path / "here").mkdir()
    with locked(tmp_path / "here" / "b"):
        pass
    assert list((tmp_path / "here").iterdir()) == []


def test_what_is_written_within_a_draft_needs_none(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(files, "FileLock", lambda path, **_: pytest.fail(f"locked {path}"))
    with draft_folder(tmp_path / "b") as draft, locked(draft / "bundle"):
        pass


def test_threads_take_turns(tmp_path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def enter(number: int) -> None:
        with locked(tmp_path / "b"), locked(tmp_path / "b"):  # a thread may enter again
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)

    threads = [threading.Thread(target=enter, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 8


def test_one_place_has_one_lock_by_whatever_path(tmp_path, monkeypatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to("here")
    monkeypatch.chdir(tmp_path / "here")
    taken = []
    lock = files.FileLock
    monkeypatch.setattr(files, "FileLock", lambda path, **_: taken.append(path) or lock(path))
    for path in ("b", "../link/b", "../here/../link/b"):
        with locked(files.Path(path)):
            pass
    assert len(set(taken)) == 1


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_a_cache_that_others_filled(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(files, "is_writable", lambda _folder: False)
    monkeypatch.setattr(files, "private_folder", lambda: tmp_path / "private")
    with locked(tmp_path / "b"):
        assert len(list((tmp_path / "private" / "locks").iterdir())) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="no flock")
class TestFileSystemsWithoutLocks:
    """With filelock's older versions the first is a traceback and the second waits for ever."""

    @pytest.fixture
    def answer(self, monkeypatch):
        """Let each flock fail."""
        import fcntl

        def fail_with(number: int) -> None:
            def flock(_handle: int, _operation: int) -> None:
                raise OSError(number, os.strerror(number))

            monkeypatch.setattr(fcntl, "flock", flock)

        return fail_with

    @pytest.mark.filterwarnings("ignore:flock not supported:UserWarning")
    def test_a_file_that_is_there_stands_for_the_lock(self, tmp_path, answer) -> None:
        answer(errno.ENOSYS)
        held = cache_folder("locks")
        before = set(held.glob("*"))
        with locked(tmp_path / "b"):
            assert len(set(held.glob("*")) - before) == 1
        assert set(held.glob("*")) == before

    def test_one_that_has_none_to_give_is_named(self, tmp_path, answer) -> None:
        answer(errno.ENOLCK)
        with (
            pytest.raises(OutputError, match=r"No locks available.*NSTC_CACHE.* on a local disk"),
            locked(tmp_path / "b"),
        ):
            pass


def test_without_a_place_for_it_the_variable_is_named(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(files, "private_folder", lambda: tmp_path / "file")
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path / "file" / "cache"))
    with (
        pytest.raises(OutputError, match=r"cannot lock .*/b: .*Set NSTC_CACHE"),
        locked(tmp_path / "b"),
    ):
        pass
