import io

import numpy as np
import pytest
from PIL import Image

from nstc.core.errors import OptionError
from nstc.core.images.formats import format_of
from nstc.core.images.picture import Frame, Picture
from nstc.core.images.reading import ImageFile
from nstc.core.images.writing import encode_animation


def frame(color, duration_ms=100.0, alpha=None, size=(24, 32)) -> Frame:
    rgb = np.full((*size, 3), color, np.uint8)
    return Frame(picture=Picture(rgb=rgb, alpha=alpha), duration_ms=duration_ms)


def write_animation(path, frames, plays) -> None:
    with path.open("wb") as stream:
        encode_animation(stream, frames, format_of(path), plays)


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
