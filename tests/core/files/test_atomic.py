import hashlib
import os
import stat
from pathlib import Path

import pytest

from nstc.core import drafts
from nstc.core.errors import OutputError
from nstc.core.files import as_utf8, atomic_file, atomic_folder, sha256_of

MARK = "manifest.json"


def test_sha256_is_that_of_the_content(tmp_path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256_of(tmp_path / "f") == hashlib.sha256(b"abc").hexdigest()


class TestAtomicFile:
    def test_the_file_appears_when_the_block_ends(self, tmp_path) -> None:
        target = tmp_path / "new" / "f.txt"
        with atomic_file(target) as draft:
            draft.write_text("new")
            assert not target.exists()
            assert draft.suffix == ".txt"
        assert target.read_text() == "new"
        assert [p.name for p in target.parent.iterdir()] == ["f.txt"]

    def test_a_failure_leaves_the_old_file_and_no_draft(self, tmp_path) -> None:
        target = tmp_path / "f.txt"
        target.write_text("old")
        with pytest.raises(KeyboardInterrupt), atomic_file(target) as draft:
            _write_and_stop(draft)
        assert target.read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["f.txt"]

    def test_others_may_read_it_as_the_umask_says(self, tmp_path) -> None:
        before = os.umask(0o027)
        try:
            with atomic_file(tmp_path / "f") as draft:
                draft.write_text("x")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640

    def test_a_folder_is_no_file(self, tmp_path) -> None:
        with pytest.raises(OutputError, match="it is a folder"), atomic_file(tmp_path):
            pass

    def test_under_a_file(self, tmp_path) -> None:
        (tmp_path / "f").touch()
        with pytest.raises(OutputError, match=r"cannot write .*f/g"), atomic_file(tmp_path / "f/g"):
            pass

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
    def test_a_full_device(self) -> None:
        full = pytest.raises(OutputError, match="cannot write /dev/full: No space left on device")
        with full, atomic_file(Path("/dev/full")) as draft:
            draft.write_text("x")
        assert Path("/dev/full").is_char_device()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc here")
class TestNamesThatAreNotUtf8:
    NAME = os.fsdecode(b"caf\xe9")

    def test_utf_8_is_left_as_it_is(self, tmp_path) -> None:
        with as_utf8(tmp_path / "café") as name:
            assert name == str(tmp_path / "café")

    @pytest.mark.parametrize("inner", ["plain", os.fsdecode(b"\xe9.txt")])
    def test_a_file_is_read_through_its_folder(self, tmp_path, inner) -> None:
        folder = tmp_path / self.NAME
        folder.mkdir()
        (folder / inner).write_text("content")
        with as_utf8(folder / inner) as name:
            name.encode()
            assert Path(name).read_text() == "content"

    def test_and_written(self, tmp_path) -> None:
        (tmp_path / self.NAME).mkdir()
        with as_utf8(tmp_path / self.NAME / "new") as name:
            Path(name).write_text("content")
        assert (tmp_path / self.NAME / "new").read_text() == "content"

    def test_the_draft_of_such_a_file_has_a_name_that_every_library_writes(self, tmp_path) -> None:
        with atomic_file(tmp_path / f"{self.NAME}.png") as draft:
            draft.name.encode()
            assert draft.suffix == ".png"
        assert (tmp_path / f"{self.NAME}.png").exists()


class TestAtomicFolder:
    def test_the_folder_appears_when_the_block_ends(self, tmp_path) -> None:
        target = tmp_path / "new" / "b"
        with atomic_folder(target, replaceable=MARK) as draft:
            (draft / MARK).write_text("new")
            assert not target.exists()
        assert (target / MARK).read_text() == "new"
        assert [p.name for p in target.parent.iterdir()] == ["b"]

    def test_an_old_one_is_replaced_whole(self, tmp_path) -> None:
        target = _folder(tmp_path / "b", MARK, "extra")
        with atomic_folder(target, replaceable=MARK) as draft:
            (draft / MARK).write_text("new")
        assert [p.name for p in target.iterdir()] == [MARK]
        assert [p.name for p in tmp_path.iterdir()] == ["b"]

    def test_a_failure_leaves_the_old_one_and_no_draft(self, tmp_path) -> None:
        target = _folder(tmp_path / "b", MARK, "extra")
        with pytest.raises(KeyboardInterrupt), atomic_folder(target, replaceable=MARK) as draft:
            _write_and_stop(draft / MARK)
        assert sorted(p.name for p in target.iterdir()) == ["extra", MARK]
        assert (target / MARK).read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["b"]

    def test_a_swap_that_fails_half_way_is_undone(self, tmp_path, monkeypatch) -> None:
        target = _folder(tmp_path / "b", MARK)
        monkeypatch.setattr(drafts, "exchanged", lambda *_paths: False)
        real = Path.replace
        calls = []

        def fail_second(self: Path, to: Path) -> Path:
            calls.append(to)
            if len(calls) == 2:
                raise OSError(5, "Input/output error")
            return real(self, to)

        monkeypatch.setattr(Path, "replace", fail_second)
        with (
            pytest.raises(OutputError, match="Input/output error"),
            atomic_folder(target, replaceable=MARK),
        ):
            pass
        assert (target / MARK).read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["b"]

    def test_a_folder_of_other_things_is_never_replaced(self, tmp_path) -> None:
        target = _folder(tmp_path / "thesis", "chapter1.tex")
        with pytest.raises(OutputError, match="thesis"), atomic_folder(target, replaceable=MARK):
            pass
        assert (target / "chapter1.tex").read_text() == "old"

    def test_a_file_is_no_folder(self, tmp_path) -> None:
        (tmp_path / "f").write_text("mine")
        with (
            pytest.raises(OutputError, match="it is a file"),
            atomic_folder(tmp_path / "f", replaceable=MARK),
        ):
            pass
        assert (tmp_path / "f").read_text() == "mine"

    @pytest.mark.parametrize("place", ["f/b", "f/deeper/b"])
    def test_under_a_file(self, tmp_path, place) -> None:
        (tmp_path / "f").touch()
        with (
            pytest.raises(OutputError, match="cannot write"),
            atomic_folder(tmp_path / place, replaceable=MARK),
        ):
            pass


def _write_and_stop(path: Path) -> None:
    path.write_text("half")
    raise KeyboardInterrupt


def _folder(path: Path, *names: str) -> Path:
    path.mkdir()
    for name in names:
        (path / name).write_text("old")
    return path
