"""Places that can't be written to: one clear line, and nothing half written."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory of its own, where the system lets one be made."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A place that nobody may write to, not even root."""
    yield from mounted(tmp_path / "read-only", "ro,size=64k")


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system without a byte of room."""
    for folder in mounted(tmp_path / "disk", "size=16k"):
        (folder / "filling").write_bytes(bytes(16 * 1024))
        yield folder


WRITERS = [
    "train",
    "distill",
    "restyle",
    "share",
    "prune",
    "quantize",
    "compress",
    "export",
    "bench",
    "stylize",
    "optimize",
]


class TestOutputs:
    @pytest.fixture
    def write_to(self, nstc, bundle, student_bundle, teacher_bundle, photo_folder):
        """Runs a verb that would write to a place, on inputs that are all in order."""
        photo = photo_folder / "a.png"
        arguments = {
            "train": ["--style", photo, "-o"],
            "distill": [teacher_bundle.path, "-o"],
            "restyle": [photo, "-o"],
            "share": [teacher_bundle.path, bundle.path, "--init", student_bundle.path, "-o"],
            "prune": [student_bundle.path, "-o"],
            "quantize": [student_bundle.path, "-o"],
            "compress": [teacher_bundle.path, "-o"],
            "export": [student_bundle.path, "--format", "torchscript", "-o"],
            "bench": [bundle.path, "--against", bundle.path, "--json"],
            "stylize": [photo, "-m", bundle.path, "-o"],
            "optimize": [photo, photo_folder / "b.png", "--size", 53, "--steps", 1, "-o"],
        }
        return lambda verb, place, *more: nstc(verb, *arguments[verb], place, *more)

    @pytest.mark.parametrize("verb", WRITERS)
    def test_under_a_file(self, write_to, tmp_path, verb) -> None:
        (tmp_path / "file").write_text("mine")
        done = write_to(verb, tmp_path / "file" / "out.png")
        assert done.code == 40, done.err
        assert "a file is where a folder is needed" in done.error
        assert (tmp_path / "file").read_text() == "mine"

    @pytest.mark.parametrize("verb", ["train", "distill", "prune", "quantize", "compress"])
    def test_a_folder_of_other_things(self, write_to, tmp_path, verb) -> None:
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter.txt").write_text("mine")
        done = write_to(verb, tmp_path / "thesis")
        assert done.code == 40, done.err
        assert "Give another" in done.error
        made = {path.name for path in tmp_path.iterdir()}
        assert made <= {"thesis", "student", "teacher", "photos", "negative"}
        assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.txt"]

    def test_a_folder_where_a_file_is_to_be(self, write_to, tmp_path) -> None:
        (tmp_path / "folder").mkdir()
        done = write_to("bench", tmp_path / "folder")
        assert done.code == 40
        assert "it is a folder" in done.error

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
    @pytest.mark.parametrize("verb", ["train", "distill", "prune", "quantize", "stylize"])
    def test_a_device(self, write_to, verb) -> None:
        done = write_to(verb, "/dev/full")
        assert done.code == 40
        assert "it is a file" in done.error

    @pytest.mark.parametrize("verb", WRITERS)
    def test_a_place_that_can_only_be_read(self, write_to, read_only, verb) -> None:
        done = write_to(verb, read_only / "out.png")
        assert done.code == 40, done.err
        assert "Read-only file system" in done.error
        assert not any(read_only.iterdir())

    @pytest.mark.parametrize("verb", ["stylize", "export", "distill"])
    def test_a_full_disk(self, write_to, full_disk, verb) -> None:
        short = ["--width=8", "--blocks=1", "--pixel-steps=2", "--steps=0", "--batch=1"]
        short += ["--size=64", "--perceptual-size=64"]
        done = write_to(verb, full_disk / "out.png", *(short if verb == "distill" else []))
        assert done.code == 40, done.err
        assert "No space left on device" in done.error
        kept = {path.name for path in full_disk.rglob("*") if path.is_file()}
        assert kept <= {"filling", "losses.jsonl"}
