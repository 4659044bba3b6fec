import itertools
import os
from pathlib import Path

import pytest

from nstc.runtime.files import folders
from nstc.runtime.files.folders import ALL, files_in


@pytest.fixture
def tree(tmp_path) -> Path:
    for name in (
        "b.png",
        "a.JPG",
        "c.gif",
        "notes.txt",
        ".hidden.png",
        ".git/x.png",
        "sub/d.heic",
        "sub/deep/e.webp",
        "out/old.png",
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "in"


def names(tree, *arguments) -> list[str]:
    return [str(path.relative_to(tree)) for path, _ in files_in(tree, *arguments)]


def failures(tree) -> list[str]:
    return [str(failure) for _, failure in files_in(tree) if failure is not None]


def test_all_pictures_folder_by_folder(tree) -> None:
    expected = ["a.JPG", "b.png", "c.gif", "out/old.png", "sub/d.heic", "sub/deep/e.webp"]
    assert names(tree) == expected
    assert failures(tree) == []


def test_the_folder_of_results_is_left_out(tree) -> None:
    assert "out/old.png" not in names(tree, ALL, tree / "out")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["b.png", "out/old.png"]),
        ("sub/*", ["sub/d.heic", "sub/deep/e.webp"]),
        ("[ab].*", ["a.JPG", "b.png"]),
        ("*.txt", ["notes.txt"]),
        ("*.bmp", []),
    ],
)
def test_by_a_pattern(tree, pattern, expected) -> None:
    assert names(tree, pattern) == expected


def test_a_linked_folder_is_followed(tree, tmp_path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "z.png").touch()
    (tree / "link").symlink_to(tmp_path / "elsewhere")
    assert "link/z.png" in names(tree)


def test_a_circle_of_links_is_named_and_left(tree) -> None:
    (tree / "sub" / "loop").symlink_to(tree)
    assert failures(tree) == [
        f"{tree}/sub/loop is a link back into a folder above it: not followed."
    ]
    assert len(names(tree)) == 7


def test_links_that_multiply_are_followed_once(tmp_path) -> None:
    """Twenty folders with two links each to the next: a million ways to one file."""
    folders_ = [tmp_path / str(number) for number in range(20)]
    for folder in folders_:
        folder.mkdir()
    for here, there in itertools.pairwise(folders_):
        (here / "left").symlink_to(there)
        (here / "right").symlink_to(there)
    (folders_[-1] / "a.png").touch()
    assert len(list(files_in(folders_[0]))) == 1


@pytest.fixture
def deep(tmp_path, monkeypatch):
    """Folders in folders, taken away one by one: pytest would nest too deeply."""
    monkeypatch.chdir(tmp_path)
    for _ in range(1100):
        os.mkdir("d")  # noqa: PTH102  (a full path would be too long for the system)
        os.chdir("d")
    Path("a.png").touch()
    yield tmp_path
    Path("a.png").unlink()
    for _ in range(1100):
        os.chdir("..")
        os.rmdir("d")  # noqa: PTH106


def test_deeper_than_python_nests(deep) -> None:
    ((path, failure),) = files_in(deep)
    assert failure is None
    assert path.name == "a.png"


def test_a_folder_that_can_not_be_read(tree, monkeypatch) -> None:
    listed = folders._listed

    def refuse(folder: Path) -> tuple[list[str], list[str]]:
        if folder.name == "deep":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(folders, "_listed", refuse)
    assert failures(tree) == [f"{tree}/sub/deep can't be read: Permission denied."]
    assert "sub/d.heic" in names(tree)


def test_names_that_are_no_utf_8(tmp_path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.png")).touch()
    assert names(tmp_path) == [os.fsdecode(b"caf\xe9.png")]
