import io
import itertools
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from nstc.core.errors import FetchError, ImageError, OptionError
from nstc.core.remote.fetching import FetchLimits
from nstc.runtime.files import picture_jobs
from nstc.runtime.files.picture_jobs import ALL, files_in, find_sources, is_many

HERE = FetchLimits(allow_private=True)


def png(pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def piped(monkeypatch):
    def pipe(content: bytes, *, terminal: bool = False) -> None:
        stream = SimpleNamespace(buffer=io.BytesIO(content), isatty=lambda: terminal)
        monkeypatch.setattr(sys, "stdin", stream)

    return pipe


def test_files_folders_and_addresses_in_the_order_given(save_picture, pixels, tmp_path) -> None:
    save_picture(pixels, "in/b.png")
    save_picture(pixels, "in/sub/a.jpg")
    alone = save_picture(pixels, "alone.png")
    sources = find_sources(["http://photos.example/x.png", str(tmp_path / "in"), str(alone), "-"])
    assert [(source.name, str(source.relative)) for source in sources] == [
        ("http://photos.example/x.png", "x.png"),
        (str(tmp_path / "in/b.png"), "b.png"),
        (str(tmp_path / "in/sub/a.jpg"), "sub/a.jpg"),
        (str(alone), "alone.png"),
        ("standard input", "stdin"),
    ]


def test_a_folder_without_pictures(tmp_path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(ImageError, match=r"no pictures in .*: none there is like \*\.png"):
        find_sources([str(tmp_path)], pattern="*.png")


def test_results_into_the_folder_of_the_photographs(save_picture, pixels, tmp_path) -> None:
    save_picture(pixels, "in/b.png")
    with pytest.raises(OptionError, match="holds the photographs: choose another"):
        find_sources([str(tmp_path / "in")], output=tmp_path / "in" / ".")


def test_results_inside_that_folder_are_not_taken_for_photographs(
    save_picture, pixels, tmp_path
) -> None:
    save_picture(pixels, "in/b.png")
    save_picture(pixels, "in/out/b.png")
    (source,) = find_sources([str(tmp_path / "in")], output=tmp_path / "in" / "out")
    assert source.name == str(tmp_path / "in/b.png")


def test_nothing_and_twice_the_same_stream() -> None:
    with pytest.raises(OptionError, match="no photographs"):
        find_sources([])
    with pytest.raises(OptionError, match="can be read once"):
        find_sources(["-", "-"])


def test_what_is_many(tmp_path) -> None:
    assert is_many([str(tmp_path)])
    assert is_many(["a.png", "b.png"])
    assert not is_many(["a.png"])
    assert not is_many(["-"])
    assert not is_many(["http://photos.example/"])


class TestOpening:
    def test_standard_input(self, piped, pixels) -> None:
        piped(png(pixels))
        (source,) = find_sources(["-"])
        with source.open() as file:
            np.testing.assert_array_equal(file.picture().rgb, pixels)

    def test_an_address(self, served, pixels) -> None:
        (source,) = find_sources([served.gives("/a.png", png(pixels))])
        with source.open(limits=HERE) as file:
            np.testing.assert_array_equal(file.picture().rgb, pixels)
        with pytest.raises(FetchError, match="--allow-private"):
            source.open()

    def test_an_address_that_gives_no_picture_is_named(self, served) -> None:
        (source,) = find_sources([served.gives("/a.png", b"<html>not here</html>")])
        with pytest.raises(ImageError, match=r"^http://.*/a\.png is not a picture"):
            source.open(limits=HERE)

    @pytest.mark.parametrize(
        ("content", "told"),
        [(b"", "standard input is empty"), (b"text", "standard input is not a picture")],
    )
    def test_standard_input_that_is_none(self, piped, content, told) -> None:
        piped(content)
        with pytest.raises(ImageError, match=told):
            find_sources(["-"])[0].open()

    def test_too_much_standard_input(self, piped) -> None:
        piped(bytes(1001))
        with pytest.raises(ImageError, match=r"more than 0\.001 MB"):
            find_sources(["-"])[0].open(limits=FetchLimits(max_bytes=1000))

    def test_a_terminal(self, piped) -> None:
        piped(b"", terminal=True)
        with pytest.raises(OptionError, match="pipe a picture into it"):
            find_sources(["-"])[0].open()

    def test_one_that_vanished_since_it_was_listed(self, save_picture, pixels, tmp_path) -> None:
        path = save_picture(pixels, "in/a.png")
        (source,) = find_sources([str(tmp_path / "in")])
        path.unlink()
        with pytest.raises(ImageError, match="no such file"):
            source.open()

    def test_a_name_that_is_no_utf_8(self, save_picture, pixels, tmp_path) -> None:
        save_picture(pixels, "in/" + os.fsdecode(b"caf\xe9.png"))
        (source,) = find_sources([str(tmp_path / "in")])
        with source.open() as file:
            assert file.width == 53


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
    listed = picture_jobs.listed

    def refuse(folder: Path) -> tuple[list[str], list[str]]:
        if folder.name == "deep":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(picture_jobs, "listed", refuse)
    assert failures(tree) == [f"{tree}/sub/deep can't be read: Permission denied."]
    assert "sub/d.heic" in names(tree)


def test_names_that_are_no_utf_8(tmp_path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.png")).touch()
    assert names(tmp_path) == [os.fsdecode(b"caf\xe9.png")]
