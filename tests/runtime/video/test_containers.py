from fractions import Fraction
from pathlib import Path

import pytest

from nstc.core.errors import OptionError
from nstc.runtime.video.containers import CODECS, CONTAINERS, encoding_for, is_video_name


def test_each_container_has_a_usual_codec() -> None:
    usual = {ending: encoding_for(Path(f"a{ending}")).codec_name for ending in CONTAINERS}
    assert usual == {
        ".mp4": "h264", ".m4v": "h264", ".mov": "h264", ".mkv": "h264", ".webm": "vp9",
    }  # fmt: skip
    assert {name for each in CONTAINERS.values() for name in each.codecs} == set(CODECS)


def test_endings_and_codecs_in_capitals() -> None:
    assert encoding_for(Path("A.MP4"), "HEVC", 0).crf == 0


@pytest.mark.parametrize(
    ("name", "codec", "crf", "told"),
    [
        ("a.avi", None, None, r"a\.avi: a video is written to a name that ends in \.mp4, \.m4v"),
        ("a", None, None, "a name that ends in"),
        ("a.mp5", None, None, r"Did you mean \.mp4\?"),
        ("a.mkvv", None, None, r"Did you mean \.mkv\?"),
        ("a.gif", None, None, "a name that ends in"),
        ("a.mp4", "xvid", None, r"codec is xvid: \.mp4 holds h264 or hevc or av1 or vp9"),
        ("a.webm", "h264", None, r"\.webm holds vp9 or av1"),
        ("a.mp4", None, 52, "crf is 52: expected from 0, the best, to 51 for h264"),
        ("a.webm", None, 64, "to 63"),
        ("a.mp4", None, -1, "crf is -1"),
        ("a.mkv", "ffv1", 3, "ffv1 is lossless"),
    ],
)
def test_what_can_not_be(name, codec, crf, told) -> None:
    with pytest.raises(OptionError, match=told):
        encoding_for(Path(name), codec, crf)


@pytest.mark.parametrize(
    ("name", "codec", "squared"),
    [("a.mp4", "vp9", False), ("a.mkv", "h264", False), ("a.mkv", "vp9", True)],
)
def test_who_tells_how_wide_pixels_are(name, codec, squared) -> None:
    encoding = encoding_for(Path(name), codec)
    assert encoding.is_square_only(Fraction(4, 3)) is squared
    assert not encoding.is_square_only(Fraction(1))


def test_names_of_films() -> None:
    assert is_video_name("holiday/Clip.MOV")
    assert not is_video_name("clip.png")
    assert not is_video_name("mp4")
