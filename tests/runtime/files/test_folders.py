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


def test_links_within_the_folder_are_followed(tree) -> None:
    (tree / "sub" / "again.png").symlink_to("../b.png")
    (tree / ".store").mkdir()
    (tree / ".store" / "z.png").touch()
    (tree / "link").symlink_to(".store")
    assert {"sub/again.png", "link/z.png"} < set(names(tree))
    assert failures(tree) == []


@pytest.mark.parametrize("given", [".", "../link-to-in"])
def test_links_out_of_it_are_named_and_left(tree, tmp_path, monkeypatch, given) -> None:
    (tmp_path / "link-to-in").symlink_to(tree)  # what the user names may be a link
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "z.png").touch()
    (tmp_path / "in2").mkdir()  # a name that only begins like the folder's
    (tmp_path / "in2" / "y.png").touch()
    (tree / "link").symlink_to(tmp_path / "elsewhere")
    (tree / "y.png").symlink_to("../in2/y.png")
    (tree / "twice").symlink_to("link")
    monkeypatch.chdir(tree)
    folder = Path(given)
    assert failures(folder) == [
        f"{folder / name} is a link out of {folder}: not followed. Name what it leads to as well."
        for name in ("y.png", "twice", "link")
    ]
    assert "link/z.png" not in names(folder)


def test_a_circle_of_links_is_named_and_left(tree) -> None:
    (tree / "sub" / "loop").symlink_to(tree)
    assert failures(tree) == [
        f"{tree}/sub/loop is a link back into a folder above it: not followed."
    ]
    assert len(names(tree)) == 7


def test_links_that_multiply_are_followed_once(tmp_path) -> None:
    """Twenty folders with two links each to the next: a million ways to one file."""
    folders_ = [tmp_path / f".{number}" for number in range(20)]
    for folder in folders_:
        folder.mkdir()
    (tmp_path / "first").symlink_to(folders_[0])
    for here, there in itertools.pairwise(folders_):
        (here / "left").symlink_to(there)
        (here / "right").symlink_to(there)
    (folders_[-1] / "a.png").touch()
    assert len(list(files_in(tmp_path))) == 1


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
