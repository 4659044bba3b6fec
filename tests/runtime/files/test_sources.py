import io
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from nstc.core.errors import FetchError, ImageError, OptionError
from nstc.runtime.files.fetching import FetchLimits
from nstc.runtime.files.sources import find_sources, is_many

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
    assert [(source.name, str(source.place)) for source in sources] == [
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
