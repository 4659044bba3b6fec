import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import platformdirs
import pytest

from nstc.core import files
from nstc.core.files import cache_folder, cached, private_folder


def test_the_variable_moves_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NSTC_CACHE", str(tmp_path / "elsewhere"))

    assert cache_folder("graphs") == tmp_path / "elsewhere" / "graphs"
    assert not (tmp_path / "elsewhere").exists()  # asking makes nothing


def test_without_it_the_users_cache_is_used(monkeypatch):
    for nothing in (None, ""):
        if nothing is None:
            monkeypatch.delenv("NSTC_CACHE")
        else:
            monkeypatch.setenv("NSTC_CACHE", nothing)

        assert cache_folder("graphs") == Path(platformdirs.user_cache_dir("nstc")) / "graphs"


_ASK = """
import os
from nstc.core.files import cache_folder
os.setgroups([])
os.setuid(54321)  # after the imports, whose files that user may not see
print(cache_folder("a"), cache_folder("b"))
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Stands for the system's temporary folder."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    files._folder_of_this_process.cache_clear()
    return folder


@pytest.mark.parametrize("home", [None, "/proc/nowhere"])
def test_a_user_without_a_home_gets_a_private_folder_and_is_told_once(tmp_path, home) -> None:
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root becomes another user")
    tmp_path.chmod(0o1777)
    for parent in tmp_path.parents:  # pytest's own are closed to other users
        if parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(0o711)
    ran = subprocess.run(
        [sys.executable, "-c", _ASK],
        env={"TMPDIR": str(tmp_path), **({} if home is None else {"HOME": home})},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert ran.stdout.split() == [f"{tmp_path}/nstc-54321/{kind}" for kind in "ab"]
    assert ran.stderr.count("\n") == 1
    reason = "this user has no home folder" if home is None else "cache/nstc can't be written"
    assert f"{reason}: what is cached goes to {tmp_path}/nstc-54321. Set NSTC_CACHE" in ran.stderr
    assert stat.S_IMODE((tmp_path / "nstc-54321").stat().st_mode) == 0o700


def test_what_an_image_brings_is_found_though_nothing_can_be_added(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("NSTC_CACHE")
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda _name: str(tmp_path / "usual"))
    monkeypatch.setattr(files, "is_writable", lambda _folder: False)
    monkeypatch.setattr(files, "instead_of", lambda _usual: tmp_path / "private")
    brought = tmp_path / "usual" / "datasets" / "dtd"
    brought.mkdir(parents=True)

    assert cached("datasets", "dtd") == brought
    assert cached("datasets", "other") == tmp_path / "private" / "datasets" / "other"
    assert cache_folder("locks") == tmp_path / "private" / "locks"


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
class TestPrivateFolder:
    def test_the_next_process_finds_it(self, temporary) -> None:
        assert private_folder() == private_folder() == temporary / f"nstc-{os.getuid()}"

    @pytest.mark.parametrize("trap", ["link", "open to all", "file", "another's"])
    def test_what_somebody_else_may_have_put_there_is_not_trusted(
        self, temporary, tmp_path, trap
    ) -> None:
        place = temporary / f"nstc-{os.getuid()}"
        if trap == "link":
            place.symlink_to(tmp_path)
        elif trap == "file":
            place.touch()
        else:
            place.mkdir(mode=0o700)
        if trap == "open to all":
            place.chmod(0o777)
        if trap == "another's":
            if os.geteuid() != 0:
                pytest.skip("only root gives away")
            os.chown(place, 12345, 12345)
        own = private_folder()
        assert own not in {place, tmp_path}
        assert stat.S_IMODE(own.stat().st_mode) == 0o700
        assert private_folder() == own
