import io
import itertools
import struct

import numpy as np
import pytest
from PIL import Image

from nstc.core.errors import ImageError, OptionError, OutputError
from nstc.core.images import picture_files
from nstc.core.images.picture import Frame, Picture
from nstc.core.images.picture_files import ImageFile, encode_animation, write_animation


def frame(color, duration_ms=100.0, alpha=None, size=(24, 32)) -> Frame:
    rgb = np.full((*size, 3), color, np.uint8)
    return Frame(picture=Picture(rgb=rgb, alpha=alpha), duration_ms=duration_ms)


def back(path):
    with ImageFile(path) as file:
        return list(file.animation()), file.plays


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
@pytest.mark.parametrize("plays", [0, 1, 5])
def test_there_and_back(tmp_path, name, plays) -> None:
    frames = [frame((200, 40, 40), 50), frame((40, 200, 40), 70), frame((40, 40, 200), 1000)]
    write_animation(tmp_path / name, iter(frames), plays)
    found, found_plays = back(tmp_path / name)
    assert found_plays == plays
    assert [each.duration_ms for each in found] == [50, 70, 1000]
    for before, after in zip(frames, found, strict=True):
        np.testing.assert_allclose(after.picture.rgb[5, 5], before.picture.rgb[5, 5], atol=6)


def test_hundredths_of_a_second_keep_the_whole_in_time(tmp_path) -> None:
    """GIF counts in 10 ms: 30 frames a second are 33, 33, 33 ms, together 1 s in 30."""
    frames = [frame((index * 8, 0, 0), 1000 / 30) for index in range(30)]
    write_animation(tmp_path / "a.gif", iter(frames), 0)
    found, _ = back(tmp_path / "a.gif")
    assert sum(each.duration_ms for each in found) == 1000
    assert {each.duration_ms for each in found} == {30, 40}


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_transparency_moves_with_the_frames(tmp_path, name) -> None:
    lower = np.where(np.tri(24, 32, dtype=bool), 255, 0).astype(np.uint8)
    upper = 255 - lower
    frames = [frame((200, 40, 40), alpha=lower), frame((40, 40, 200), alpha=upper)]
    write_animation(tmp_path / name, iter(frames), 0)
    found, _ = back(tmp_path / name)
    for alpha, each in zip((lower, upper), found, strict=True):
        np.testing.assert_array_equal(each.picture.alpha, alpha)


def test_frames_that_hold_only_what_changed_come_whole(tmp_path) -> None:
    first = Image.new("RGB", (32, 24), (200, 40, 40))
    second = first.copy()
    second.paste((40, 40, 200), (0, 0, 4, 4))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second], duration=100)
    found, plays = back(tmp_path / "a.gif")
    assert plays == 1
    np.testing.assert_allclose(found[1].picture.rgb[2, 2], (40, 40, 200), atol=6)
    np.testing.assert_allclose(found[1].picture.rgb[20, 20], (200, 40, 40), atol=6)


def test_a_frame_without_a_time_gets_what_browsers_give_it(tmp_path) -> None:
    images = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 200)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:])
    assert [each.duration_ms for each in back(tmp_path / "a.gif")[0]] == [100, 100]


def test_the_still_of_an_animated_png_is_no_frame(tmp_path) -> None:
    images = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (10, 100, 200)]
    images[0].save(
        tmp_path / "a.png", save_all=True, append_images=images[1:], default_image=True, duration=50
    )
    found, _ = back(tmp_path / "a.png")
    assert [int(each.picture.rgb[0, 0, 0]) for each in found] == [100, 200]


def test_a_size_that_the_format_does_not_hold() -> None:
    wide = frame((0, 0, 0), size=(1, 16_384))
    with pytest.raises(OptionError, match="WEBP holds at most 16383"):
        encode_animation(io.BytesIO(), iter([wide, wide]), "WEBP", 0)


RED, BLUE = (200, 40, 40), (40, 40, 200)


def gif(canvas, *parts) -> bytes:
    """A GIF whose parts, (left, top, width, height, colour, transparent), lie anywhere."""
    palette = bytes([0, 0, 0, *RED, *BLUE, 255, 255, 255])
    content = b"GIF89a" + struct.pack("<HHBBB", *canvas, 0x81, 0, 0) + palette
    for left, top, width, height, colour, transparent in parts:
        block = Image.new("P", (width, height), colour)
        block.putpalette(palette + bytes(756))
        held = io.BytesIO()
        block.save(held, "GIF", save_all=True, optimize=False)
        whole = held.getvalue()
        body = whole[whole.index(b",", 13 + 3 * 2 ** ((whole[10] & 7) + 1)) + 10 : -1]
        content += struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 4 | transparent, 10, 0, 0)
        content += b"," + struct.pack("<HHHHB", left, top, width, height, 0) + body
    return content + b";"


class TestFramesBeyondTheCanvas:
    """As browsers show them: what lies beyond the canvas is not seen."""

    @pytest.mark.parametrize("name", ["a.png", "a.gif", "a.webp"])
    @pytest.mark.parametrize(
        ("second", "corners"),
        [
            ((0, 0, 150, 150, 2, 0), [BLUE, BLUE]),
            ((60, 60, 90, 90, 2, 0), [RED, BLUE]),
            ((0, 0, 20, 150, 2, 0), [BLUE, RED]),
        ],
    )
    def test_both_frames_come_out_on_it(self, tmp_path, name, second, corners) -> None:
        with ImageFile(gif((100, 100), (0, 0, 100, 100, 1, 0), second), "a.gif") as file:
            write_animation(tmp_path / name, file.animation(), file.plays)
        first, last = back(tmp_path / name)[0]
        assert first.picture.rgb.shape == last.picture.rgb.shape == (100, 100, 3)
        np.testing.assert_allclose(first.picture.rgb[5, 5], RED, atol=4)
        for place, colour in zip(((5, 5), (95, 95)), corners, strict=True):
            np.testing.assert_allclose(last.picture.rgb[place], colour, atol=4)

    def test_one_that_lies_wholly_beyond_changes_nothing(self) -> None:
        parts = (0, 0, 100, 100, 1, 0), (300, 300, 9, 9, 2, 0)
        with ImageFile(gif((100, 100), *parts), "a.gif") as file:
            frames = list(file.animation())
        np.testing.assert_array_equal(frames[1].picture.rgb, frames[0].picture.rgb)

    def test_a_later_frame_may_be_no_larger_than_a_picture(self) -> None:
        content = bytearray(gif((10, 10), (0, 0, 10, 10, 1, 0), (0, 0, 10, 10, 2, 0)))
        place = content.rindex(b"," + struct.pack("<HHHH", 0, 0, 10, 10))
        content[place + 5 : place + 9] = struct.pack("<HH", 3000, 3000)
        with ImageFile(bytes(content), "a.gif", max_pixels=10_000) as file:
            frames = file.animation()
            next(frames)
            with pytest.raises(ImageError, match=r"a\.gif has 9 million pixels, the limit is"):
                next(frames)


@pytest.mark.parametrize("name", ["a.webp", "a.png"])
def test_transparency_that_begins_with_a_later_frame(tmp_path, name) -> None:
    lower = np.where(np.tri(24, 32, dtype=bool), 255, 0).astype(np.uint8)
    write_animation(tmp_path / name, iter([frame(RED), frame(BLUE, alpha=lower)]), 0)
    first, last = back(tmp_path / name)[0]
    assert first.picture.alpha is None or (first.picture.alpha == 255).all()
    np.testing.assert_array_equal(last.picture.alpha, lower)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_frames_that_are_alike_are_no_damage(tmp_path, name) -> None:
    frames = [frame(RED), frame(RED), frame(BLUE), frame(BLUE, 40), frame(RED)]
    write_animation(tmp_path / name, iter(frames), 0)
    assert sum(each.duration_ms for each in back(tmp_path / name)[0]) == 440


def test_an_animation_that_lost_a_frame_is_not_kept(tmp_path, monkeypatch) -> None:
    (tmp_path / "a.png").write_bytes(b"before")
    encode = picture_files.encode_animation

    def losing(stream, frames, name, plays):
        encoded = encode(stream, itertools.islice(frames, 2), name, plays)
        return encoded[0], encoded[1] + 100

    monkeypatch.setattr(picture_files, "encode_animation", losing)
    frames = iter([frame(RED), frame(BLUE), frame(RED)])
    with pytest.raises(OutputError, match=r"a\.png was written.* last 200 ms instead of 300"):
        write_animation(tmp_path / "a.png", frames, 0)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]
