import time
import weakref
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("av", reason='not installed: pip install "nstc[video]"')

import av

from nstc.core.errors import ImageError, OptionError, OutputError
from nstc.core.images import resize
from nstc.runtime.control import Control
from nstc.runtime.video.frame_writer import Writer
from nstc.runtime.video.overlap import ROOM
from nstc.runtime.video.source import VideoLimits, camera_source, file_source, to_pixels
from nstc.runtime.video.stylizing import VideoOptions, stylize_video

UNEVEN = (0, 40, 95, 130, 300, 301, 420)
QUARTER = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
"""As phones write it: shown turned clockwise."""


@pytest.fixture
def stylize(stylizer, tmp_path):
    def run(path, name="out.mp4", **options):
        return stylize_video(file_source(path), tmp_path / name, stylizer, VideoOptions(**options))

    return run


def test_frames_are_painted(make_clip, read_clip, stylize, tmp_path, frames) -> None:
    source = make_clip("clip.mkv", codec="ffv1", pixels="bgr0")
    outcome = stylize(source, "out.mkv", codec="ffv1")
    painted = read_clip(tmp_path / "out.mkv")
    np.testing.assert_array_equal(painted.rgb, [255 - rgb for rgb in frames()])
    assert (outcome.frames, outcome.width, outcome.height) == (10, 64, 48)
    assert (outcome.codec, outcome.crf, outcome.damage, outcome.notes) == ("ffv1", None, None, ())


@pytest.mark.parametrize("lines", [48, 720])
@pytest.mark.parametrize("name", ["out.mp4", "out.webm"])
def test_colours_survive_two_encodings(
    make_clip, read_clip, stylize, tmp_path, lines, name
) -> None:
    """The matrix of films without one goes by their lines; both ways must take the same."""
    rgb = np.full((lines, 32, 3), (60, 150, 200), np.uint8)
    rgb[:, 16:] = (200, 90, 40)
    stylize(make_clip(times=(0, 40), rgb=[rgb, rgb], codec="libx264rgb", pixels="rgb24"), name)
    painted = read_clip(tmp_path / name).rgb[1]
    for column in (4, 28):
        expected = 255 - rgb[24, column].astype(int)
        assert np.abs(painted[24, column] - expected).max() <= 4


@pytest.mark.parametrize(
    ("lines", "red"),
    [(718, (81, 90, 240)), (720, (63, 102, 240))],  # Y, Cb and Cr of BT.601, and of BT.709
)
def test_colours_without_a_matrix_are_those_of_high_definition_from_720_lines_on(
    lines, red
) -> None:
    quarter = lines * 32 // 4
    stored = np.repeat(np.array(red, np.uint8), (4 * quarter, quarter, quarter)).reshape(-1, 32)
    rgb = to_pixels(av.VideoFrame.from_ndarray(stored, format="yuv420p"))
    assert np.abs(rgb.astype(int) - (255, 0, 0)).max() <= 2


@pytest.mark.parametrize("source", ["clip.mp4", "clip.mkv", "clip.mov"])
@pytest.mark.parametrize("target", ["out.mp4", "out.mkv", "out.webm", "out.mov"])
def test_uneven_times_are_kept(make_clip, read_clip, stylize, tmp_path, source, target) -> None:
    outcome = stylize(make_clip(source, times=UNEVEN), target)
    painted = read_clip(tmp_path / target)
    assert painted.times_s == [Fraction(time, 1000) for time in UNEVEN]
    assert outcome.seconds == pytest.approx(0.42)
    assert outcome.rate_fps == pytest.approx(6 / 0.42)


def test_a_broadcast_starts_at_nought(make_clip, read_clip, stylize, tmp_path) -> None:
    source = make_clip("clip.ts", times=UNEVEN)
    assert read_clip(source).times_s[0] > 0
    stylize(source)
    assert read_clip(tmp_path / "out.mp4").times_s == [Fraction(t, 1000) for t in UNEVEN]


class TestSound:
    def test_packets_are_copied(self, make_clip, read_clip, stylize, tmp_path) -> None:
        source = make_clip(sound="aac")
        outcome = stylize(source)
        before, after = read_clip(source), read_clip(tmp_path / "out.mp4")
        assert before.sound
        assert after.sound == before.sound
        assert after.sound_s == before.sound_s
        assert after.times_s == before.times_s
        assert after.language == "ger"
        assert outcome.sound == (("aac", True),)

    def test_it_is_encoded_anew_where_it_must(
        self, make_clip, read_clip, stylize, tmp_path
    ) -> None:
        outcome = stylize(make_clip(sound="aac"), "out.webm")
        after = read_clip(tmp_path / "out.webm")
        assert after.sound_codec == "opus"
        assert float(after.sound_s[-1]) == pytest.approx(0.4, abs=0.03)
        assert after.language == "ger"
        assert outcome.sound == (("opus", False),)
        assert outcome.notes == ("sound is encoded anew as opus: this container takes no aac",)

    def test_it_ends_with_a_part_of_the_film(self, make_clip, read_clip, stylize, tmp_path) -> None:
        source = make_clip(sound="aac")
        stylize(source, limits=VideoLimits(frames=5))
        before, after = read_clip(source), read_clip(tmp_path / "out.mp4")
        assert len(after.times_s) == 5
        assert after.sound == before.sound[: len(after.sound)]
        assert 0.15 < after.sound_s[-1] < 0.2


class TestTurned:
    @pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
    def test_the_matrix_is_kept_and_painting_is_upright(
        self, make_clip, read_clip, stylizer, stylize, tmp_path, monkeypatch, name
    ) -> None:
        shapes = []
        run = stylizer.session.run
        monkeypatch.setattr(
            stylizer, "transfer", lambda rgb: (shapes.append(rgb.shape), run(rgb))[1]
        )
        source = make_clip("clip.mkv", codec="ffv1", pixels="bgr0", matrix=QUARTER)
        outcome = stylize(source, name)
        before, after = read_clip(source), read_clip(tmp_path / name)
        assert set(shapes) == {(64, 48, 3)}
        assert after.matrix == before.matrix == QUARTER
        assert after.stored == (64, 48)
        assert np.abs(after.rgb[0].astype(int) - (255 - before.rgb[0])).mean() < 3
        assert outcome.rotation == 270

    @pytest.mark.parametrize(
        "corner",
        [(-65536, 0, 0, 65536), (46341, 46341, -46341, 46341)],
        ids=["mirrored", "slanted by 45 degrees"],
    )
    def test_what_is_no_quarter_turn_is_painted_as_it_is_stored(
        self, make_clip, read_clip, stylizer, stylize, tmp_path, monkeypatch, corner
    ) -> None:
        shapes, run = set(), stylizer.session.run
        monkeypatch.setattr(stylizer, "transfer", lambda rgb: (shapes.add(rgb.shape), run(rgb))[1])
        a, b, c, d = corner
        matrix = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
        outcome = stylize(make_clip(matrix=matrix))
        assert (shapes, outcome.rotation) == ({(48, 64, 3)}, 0)
        assert read_clip(tmp_path / "out.mp4").matrix == matrix


class TestSizes:
    def test_wide_pixels_stay_wide(self, make_clip, read_clip, stylize, tmp_path) -> None:
        source = make_clip(aspect=Fraction(4, 3))
        for name, codec in (("a.mp4", "h264"), ("b.mp4", "vp9"), ("c.mkv", "hevc")):
            assert stylize(source, name, codec=codec).sample_aspect == "4:3"
            assert read_clip(tmp_path / name).aspect == Fraction(4, 3)

    def test_or_become_square_where_no_one_could_tell(
        self, make_clip, read_clip, stylize, tmp_path
    ) -> None:
        outcome = stylize(make_clip(aspect=Fraction(3, 2)), "out.webm")
        assert read_clip(tmp_path / "out.webm").stored == (96, 48)
        assert outcome.sample_aspect == "1:1"
        assert "square pixels: this file holds no pixels of 3:2" in outcome.notes[0]

    def test_odd_sizes_are_padded(self, make_clip, read_clip, stylize, tmp_path) -> None:
        source = make_clip("clip.mkv", size=(53, 37), codec="ffv1", pixels="bgr0")
        outcome = stylize(source, crf=1)
        painted = read_clip(tmp_path / "out.mp4").rgb[0].astype(int)
        assert painted.shape == (38, 54, 3)
        assert np.abs(painted[:37, :53] - (255 - read_clip(source).rgb[0])).mean() < 4
        assert np.abs(painted[37] - painted[36]).mean() < 4
        assert "frames of 53x37 are written as 54x38" in outcome.notes[0]
        stylize(source, "exact.mkv", codec="ffv1")
        assert read_clip(tmp_path / "exact.mkv").stored == (53, 37)

    def test_a_size_is_painted_at(self, make_clip, read_clip, stylize, tmp_path) -> None:
        source = make_clip()
        stylize(source, control=Control(size=32))
        assert read_clip(tmp_path / "out.mp4").stored == (32, 24)
        stylize(source, control=Control(size=32, upscale_to_original=True))
        assert read_clip(tmp_path / "out.mp4").stored == (64, 48)

    def test_too_large_a_frame(self, make_clip, stylize, tmp_path) -> None:
        with pytest.raises(ImageError, match="million pixels"):
            stylize(make_clip(), max_pixels=1000)
        assert [path.name for path in tmp_path.glob("*out*")] == []


def test_control_is_that_of_pictures(make_clip, read_clip, stylizer, stylize, tmp_path) -> None:
    source = make_clip("clip.mkv", codec="ffv1", pixels="bgr0")
    control = Control(strength=0.5, preserve_color=True, size=32, style_scale=2.0)
    stylize(source, "out.mkv", codec="ffv1", control=control)
    before = read_clip(source).rgb[3]
    assert resize(before, 24, 32).shape == (24, 32, 3)
    expected = stylizer(before, strength=0.5, preserve_color=True, size=32, style_scale=2.0)
    np.testing.assert_array_equal(read_clip(tmp_path / "out.mkv").rgb[3], expected)


def test_ten_bits_become_eight(make_clip, read_clip, stylize, tmp_path) -> None:
    source = make_clip("clip.mkv", codec="libx265", pixels="yuv420p10le")
    outcome = stylize(source)
    before, after = read_clip(source).rgb[0], read_clip(tmp_path / "out.mp4").rgb[0]
    assert np.abs(after.astype(int) - (255 - before)).mean() < 3
    assert outcome.notes == ("10 bits a colour are stylised and written as 8",)


def test_metadata_goes_along_only_on_request(make_clip, read_clip, stylize, tmp_path) -> None:
    source = make_clip(metadata={"title": "Beach"})
    stylize(source)
    assert "title" not in read_clip(tmp_path / "out.mp4").metadata
    stylize(source, keep_metadata=True)
    assert read_clip(tmp_path / "out.mp4").metadata["title"] == "Beach"


def test_a_frame_is_enough(make_clip, read_clip, stylize, tmp_path) -> None:
    outcome = stylize(make_clip(times=(0,)))
    assert (outcome.frames, outcome.rate_fps) == (1, 0)
    assert len(read_clip(tmp_path / "out.mp4").rgb) == 1


def test_seconds_end_a_film(make_clip, read_clip, stylize, tmp_path) -> None:
    outcome = stylize(make_clip(times=UNEVEN), limits=VideoLimits(seconds=0.3))
    assert [float(time) for time in read_clip(tmp_path / "out.mp4").times_s] == [
        0, 0.04, 0.095, 0.13,
    ]  # fmt: skip
    assert outcome.damage is None


def test_a_camera_is_a_source_like_a_file(read_clip, stylizer, tmp_path) -> None:
    camera = camera_source("lavfi:testsrc=size=64x48:rate=12")
    options = VideoOptions(limits=VideoLimits(frames=9))
    outcome = stylize_video(camera, tmp_path / "out.mp4", stylizer, options)
    assert [round(time * 12, 2) for time in read_clip(tmp_path / "out.mp4").times_s] == [*range(9)]
    assert (outcome.frames, outcome.damage) == (9, None)
    assert outcome.rate_fps == pytest.approx(12)


def test_few_frames_are_held_however_slow_the_encoder(stylizer, tmp_path, monkeypatch) -> None:
    given, made, most = [], [], []
    run, write = stylizer.session.run, Writer.write

    def transfer(rgb):
        painted = run(rgb).copy()
        given.append(weakref.ref(rgb))
        made.append(weakref.ref(painted))
        most.append(sum(each() is not None for each in (*given, *made)))
        return painted

    def slowly(writer, item):
        """Begin once the queue is full: one frame in these hands, one in the painter's."""
        for _ in range(30_000):
            if len(made) >= 1 + ROOM + 1:
                break
            time.sleep(0.002)
        write(writer, item)

    monkeypatch.setattr(stylizer, "transfer", transfer)
    monkeypatch.setattr(Writer, "write", slowly)
    camera = camera_source("lavfi:testsrc=size=64x48:rate=12")
    options = VideoOptions(limits=VideoLimits(frames=30))
    outcome = stylize_video(camera, tmp_path / "out.mp4", stylizer, options)
    assert outcome.frames == 30
    assert outcome.waiting == ROOM
    assert max(most) <= ROOM + 6


def test_stabilizing_steadies_a_still_and_noisy_film(
    make_clip, read_clip, stylize, tmp_path
) -> None:
    rng = np.random.default_rng(3)
    noisy = [np.clip(rng.normal(120, 2, (48, 64, 3)), 0, 255).astype(np.uint8) for _ in range(12)]
    source = make_clip("clip.mkv", times=range(0, 480, 40), rgb=noisy, codec="ffv1", pixels="bgr0")
    changes = []
    for stabilize in (False, True):
        stylize(source, "out.mkv", codec="ffv1", stabilize=stabilize)
        painted = np.array(read_clip(tmp_path / "out.mkv").rgb[6:], float)
        changes.append(np.abs(np.diff(painted, axis=0)).mean())
    assert changes[1] < changes[0] / 3


class TestRefused:
    def test_the_source_is_not_overwritten(self, make_clip, stylize) -> None:
        source = make_clip()
        before = source.read_bytes()
        with pytest.raises(OptionError, match="is the video that is read"):
            stylize(source, "clip.mp4")
        assert source.read_bytes() == before

    def test_a_folder_that_can_not_be(self, make_clip, stylize) -> None:
        source = make_clip()
        with pytest.raises(OutputError):
            stylize(source, "clip.mp4/out.mp4")

    def test_a_full_disk(self, make_clip, stylizer, monkeypatch, tmp_path) -> None:
        from nstc.runtime.video import frame_writer

        def full(*_args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(frame_writer.Writer, "write", full)
        with pytest.raises(OutputError, match="No space left on device"):
            stylize_video(file_source(make_clip()), tmp_path / "out.mp4", stylizer)
        assert sorted(p.name for p in tmp_path.glob("*.mp4")) == ["clip.mp4"]


class Recording:
    """A progress that remembers what it was told."""

    def __init__(self):
        self.told = []

    def begin(self, title, steps, done):
        self.told.append((title, steps, done))

    def advance(self, step, losses):
        assert losses["fps"] > 0
        self.told.append(step)

    def note(self, message):
        self.told.append(message)


def test_progress_counts_frames_with_the_rate(make_clip, stylizer, tmp_path) -> None:
    recording = Recording()
    options = replace(VideoOptions(), limits=VideoLimits(frames=3))
    stylize_video(file_source(make_clip()), tmp_path / "o.mp4", stylizer, options, recording)
    assert recording.told == [("stylising frames", 3, 0), 1, 2, 3]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])  # of which one states a number
def test_all_frames_are_expected_of_a_film_that_states_no_number(
    make_clip, stylizer, tmp_path, name
) -> None:
    clip, recording = make_clip(name, times=(0, 40, 80, 120, 160)), Recording()
    stylize_video(file_source(clip), tmp_path / "o.mp4", stylizer, VideoOptions(), recording)
    assert recording.told[0] == ("stylising frames", 5, 0)
