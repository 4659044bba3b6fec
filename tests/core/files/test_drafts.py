"""What a killed run leaves, with real processes and real signals."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nstc.core import drafts
from nstc.core.bundle import open_bundle
from nstc.core.drafts import draft_file, draft_folder, put_in_place, restore
from nstc.core.errors import BundleError
from nstc.core.files import atomic_file, atomic_folder, scratch_folder

MARK = "manifest.json"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no locks that end with a process")

_KILLED = """
import os, signal, sys
from pathlib import Path
from nstc.core.files import {writer}
with {writer}({arguments}) as draft:
    (draft / "half" if draft.is_dir() else draft).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def _every_folder_is_looked_at_anew(monkeypatch):
    """As in a process that has just begun."""
    monkeypatch.setattr(drafts, "_searched", set())


@pytest.fixture
def killed():
    """Let a process begin to write, and kill it."""

    def write(writer: str, arguments: str, **environment: str) -> None:
        ran = subprocess.run(
            [sys.executable, "-c", _KILLED.format(writer=writer, arguments=arguments)],
            env={**os.environ, **environment},
        )
        assert ran.returncode == -signal.SIGKILL

    return write


class TestAbandoned:
    def test_the_next_writer_into_the_folder_deletes_it(self, killed, tmp_path) -> None:
        (tmp_path / "a.png").write_text("old")
        killed("atomic_file", f"Path({str(tmp_path / 'a.png')!r})")
        assert (tmp_path / "a.png").read_text() == "old"
        assert len(list(tmp_path.iterdir())) == 2
        with atomic_file(tmp_path / "b.png") as draft:
            draft.write_text("new")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]

    def test_one_whose_ending_is_that_of_what_was_moved_aside(self, tmp_path) -> None:
        (tmp_path / ".a.old.nstc-0123456789ab.old").write_text("half")
        with atomic_file(tmp_path / "a.old") as draft:
            draft.write_text("new")
        assert [path.name for path in tmp_path.iterdir()] == ["a.old"]

    def test_a_folder_too(self, killed, tmp_path) -> None:
        killed("atomic_folder", f"Path({str(tmp_path / 'b')!r}), replaceable='m'")
        assert len(list(tmp_path.iterdir())) == 1
        with atomic_folder(tmp_path / "c", replaceable=MARK):
            pass
        assert [path.name for path in tmp_path.iterdir()] == ["c"]

    def test_a_scratch_folder_too(self, killed, tmp_path, monkeypatch) -> None:
        killed("scratch_folder", "", TMPDIR=str(tmp_path))
        assert len(list(tmp_path.iterdir())) == 1
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        with scratch_folder() as folder:
            assert list(tmp_path.iterdir()) == [folder]
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    def test_what_a_living_run_writes_is_left_to_it(self, tmp_path, monkeypatch) -> None:
        with atomic_file(tmp_path / "a.png") as one, draft_folder(tmp_path / "b") as other:
            monkeypatch.setattr(drafts, "_searched", set())
            with atomic_file(tmp_path / "c.png"):
                pass
            assert one.is_file()
            assert other.is_dir()

    def test_what_only_looks_alike_is_not_touched(self, tmp_path) -> None:
        names = [".a.png.abcdef", ".a.nstc-12", "a.nstc-0123456789ab", ".a.nstc-0123456789AB"]
        for name in names:
            (tmp_path / name).touch()
        os.mkfifo(tmp_path / ".a.nstc-0123456789ab")
        with draft_file(tmp_path / "a") as draft:
            draft.write_text("new")
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
            [*names, ".a.nstc-0123456789ab", "a"]
        )

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives away")
    def test_another_users_is_not_touched(self, tmp_path) -> None:
        other = tmp_path / ".a.nstc-0123456789ab"
        other.touch()
        os.chown(other, 12345, 12345)
        with draft_file(tmp_path / "a") as draft:
            draft.write_text("new")
        assert other.exists()

    def test_a_folder_is_searched_once(self, tmp_path) -> None:
        with draft_file(tmp_path / "a"):
            pass
        (tmp_path / ".a.nstc-0123456789ab").touch()
        with draft_file(tmp_path / "a"):
            pass
        assert (tmp_path / ".a.nstc-0123456789ab").exists()


class TestNames:
    @pytest.mark.parametrize("name", ["x" * 251 + ".png", "漢" * 80, "a." + "b" * 250, "a.b c"])
    def test_the_longest_that_a_file_may_have(self, tmp_path, name) -> None:
        with atomic_file(tmp_path / name) as draft:
            draft.write_text("new")
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_a_folder_with_a_dot(self, tmp_path) -> None:
        with atomic_folder(tmp_path / "v1.old", replaceable=MARK) as draft:
            assert draft.suffix != ".old"  # which marks what was moved aside
        assert (tmp_path / "v1.old").is_dir()


class TestSwap:
    def test_a_link_is_replaced_and_what_it_led_to_stays(self, tmp_path, two_ways) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / MARK).write_text("old")
        (tmp_path / "link").symlink_to("real")
        with atomic_folder(tmp_path / "link", replaceable=MARK) as draft:
            (draft / MARK).write_text("new")
        assert (tmp_path / "link" / MARK).read_text() == "new"
        assert (tmp_path / "real" / MARK).read_text() == "old"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]

    def test_the_old_or_the_new_is_there_at_every_moment(self, tmp_path, monkeypatch) -> None:
        """A reader without a lock looks as fast as it can while a writer swaps."""
        monkeypatch.setattr(os, "fsync", lambda _handle: None)
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / MARK).write_text("0")
        with draft_folder(tmp_path / "probe") as one, draft_folder(tmp_path / "probe") as other:
            if not drafts.exchanged(one, other):
                pytest.skip("this file system exchanges no folders")
        look = (
            "import os, sys\n"
            "while True:\n"
            f"    if not os.path.isdir({str(tmp_path / 'b')!r}): sys.exit(3)\n"
        )
        with subprocess.Popen([sys.executable, "-c", look]) as reader:
            for number in range(300):
                with atomic_folder(tmp_path / "b", replaceable=MARK) as draft:
                    (draft / MARK).write_text(str(number))
            still_looking = reader.poll() is None
            reader.kill()
        assert still_looking

    def test_the_content_is_flushed_before_it_gets_its_name(self, tmp_path, monkeypatch) -> None:
        seen = []
        real = os.fsync

        def fsync(handle: int) -> None:
            inode = os.fstat(handle).st_ino
            named = {path.stat().st_ino: path for path in tmp_path.rglob("*")}
            seen.append(named.get(inode, tmp_path).relative_to(tmp_path))
            real(handle)

        monkeypatch.setattr(os, "fsync", fsync)
        with atomic_file(tmp_path / "a.png") as draft:
            draft.write_text("new")
        assert [".nstc-" in str(path) for path in seen] == [True, False]
        seen.clear()
        with atomic_folder(tmp_path / "b", replaceable=MARK) as draft:
            (draft / MARK).write_text("new")
        assert [".nstc-" in str(path) for path in seen] == [True, True, False]
        assert seen[0].name == MARK


class TestTwoSteps:
    """Where the file system can't exchange two folders."""

    @pytest.fixture
    def between(self, tmp_path):
        """As a run leaves it that was killed between the two renames."""
        aside = tmp_path / ".b.nstc-0123456789ab.old"
        (aside / "b").mkdir(parents=True)
        (aside / "b" / MARK).write_text("old")
        draft = tmp_path / ".b.nstc-ba9876543210"
        draft.mkdir()
        (draft / MARK).write_text("new")
        return tmp_path

    def test_a_reader_puts_the_old_one_back(self, between) -> None:
        restore(between / "b")
        assert (between / "b" / MARK).read_text() == "old"

    def test_so_does_a_writer_of_anything_beside_it(self, between) -> None:
        with atomic_file(between / "c.png") as draft:
            draft.write_text("new")
        assert (between / "b" / MARK).read_text() == "old"
        assert sorted(path.name for path in between.iterdir()) == ["b", "c.png"]

    def test_a_writer_of_the_same(self, between) -> None:
        with atomic_folder(between / "b", replaceable=MARK) as draft:
            assert (between / "b" / MARK).read_text() == "old"
            (draft / MARK).write_text("new")
        assert (between / "b" / MARK).read_text() == "new"
        assert [path.name for path in between.iterdir()] == ["b"]

    def test_what_took_its_place_is_not_undone(self, between) -> None:
        (between / "b").mkdir()
        (between / "b" / MARK).write_text("newer")
        with draft_folder(between / "c"):
            pass
        assert (between / "b" / MARK).read_text() == "newer"
        assert [path.name for path in between.iterdir()] == ["b"]

    def test_a_living_writer_is_waited_for(self, tmp_path, monkeypatch) -> None:
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / MARK).write_text("old")
        monkeypatch.setattr(drafts, "exchanged", lambda *_paths: False)
        moments = []
        real = Path.replace

        def replace(self: Path, to: Path) -> Path:
            if to == tmp_path / "b":  # the second step
                monkeypatch.setattr(drafts.time, "sleep", lambda _s: moments.append(real(self, to)))
                restore(to)
                return to
            return real(self, to)

        monkeypatch.setattr(Path, "replace", replace)
        with draft_folder(tmp_path / "b") as draft:
            (draft / MARK).write_text("new")
            put_in_place(draft, tmp_path / "b")
        assert len(moments) == 1
        assert (tmp_path / "b" / MARK).read_text() == "new"

    def test_nothing_is_taken_from_a_living_writer(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(drafts.time, "sleep", lambda _s: None)
        aside, handle = drafts.new_draft(tmp_path / "b", Path.mkdir, is_folder=True, ending=".old")
        (aside / "b").mkdir()
        restore(tmp_path / "b")
        assert (aside / "b").is_dir()
        drafts._let_go(handle)
        restore(tmp_path / "b")
        assert (tmp_path / "b").is_dir()

    @pytest.mark.parametrize("has_locks", [True, False])
    def test_what_a_draft_holds_is_not_aside(self, tmp_path, monkeypatch, has_locks) -> None:
        if not has_locks:
            monkeypatch.setattr(drafts, "take_lock", lambda _handle: None)
        monkeypatch.setattr(drafts.time, "sleep", lambda _s: None)
        with draft_folder(tmp_path / "out") as draft:
            (draft / "model").mkdir()
            with pytest.raises(BundleError, match="does not exist"):
                open_bundle(tmp_path / "model")
            assert (draft / "model").is_dir()

    def test_without_locks_it_is_put_back_after_a_while(self, between, monkeypatch) -> None:
        monkeypatch.setattr(drafts, "take_lock", lambda _handle: None)
        monkeypatch.setattr(drafts.time, "sleep", lambda _s: None)
        restore(between / "b")
        assert (between / "b" / MARK).read_text() == "old"

    def test_a_name_too_long_for_a_file_is_no_bundle(self, between) -> None:
        with pytest.raises(BundleError, match="does not exist"):
            open_bundle(between / ("x" * 300))


@pytest.fixture(params=["exchange", "two steps"])
def two_ways(request, monkeypatch):
    """Both ways to replace a folder."""
    if request.param == "two steps":
        monkeypatch.setattr(drafts, "exchanged", lambda *_paths: False)
