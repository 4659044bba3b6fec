"""Recordings joined end to end: nothing of them is left out without a word."""

from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("av", reason='not installed: pip install "nstc[video]"')

import av

from nstc.runtime.video.joins import TimeLine
from nstc.runtime.video.source import VideoLimits, file_source
from nstc.runtime.video.stylizing import VideoOptions, stylize_video

TIMES = tuple(range(0, 600, 40))
STEP = Fraction(1, 25)


@pytest.fixture
def join(make_clip, tmp_path):
    """Clips one after the other in one file; each is what `make_clip` takes."""

    def make(name, *clips):
        ending = name.rpartition(".")[2]
        parts = [
            make_clip(f"part-{number}.{ending}", **{"times": TIMES, **clip})
            for number, clip in enumerate(clips)
        ]
        (tmp_path / name).write_bytes(b"".join(part.read_bytes() for part in parts))
        return tmp_path / name

    return make


@pytest.fixture
def stylize(stylizer, tmp_path):
    def run(path, **options):
        place = file_source(path)
        return stylize_video(place, tmp_path / "out.mp4", stylizer, VideoOptions(**options))

    return run


@pytest.mark.parametrize("name", ["clip.ts", "clip.mpg", "clip.mkv", "clip.webm"])
def test_all_frames_come_out_and_time_goes_on(join, stylize, read_clip, tmp_path, name) -> None:
    codec = "libvpx-vp9" if name == "clip.webm" else "libx264"
    outcome = stylize(join(name, {"codec": codec}, {"codec": codec}))
    times = read_clip(tmp_path / "out.mp4").times_s
    assert (outcome.frames, outcome.damage) == (30, None)
    steps = {after - before for before, after in pairwise(times)}
    assert steps == {STEP} or (name == "clip.mpg" and len(steps) == 1)  # a container without rate
    assert "its clock jumps once" in outcome.notes[-1]


def test_three_of_them_with_their_sound(join, stylize, read_clip, tmp_path) -> None:
    outcome = stylize(join("clip.ts", *[{"sound": "aac"}] * 3))
    result = read_clip(tmp_path / "out.mp4")
    alone = len(read_clip(tmp_path / "part-0.ts").sound)
    assert outcome.frames == len(result.times_s) == 45
    assert len(result.sound) == 3 * alone
    steps = [after - before for before, after in pairwise(result.sound_s)]
    assert all(0 < step < Fraction(1, 10) for step in steps)
    assert abs(result.sound_s[-1] - result.times_s[-1]) < Fraction(1, 10)


def test_a_gap_of_hours_is_closed_where_clocks_may_jump(join, stylize, read_clip, tmp_path) -> None:
    late = {"options": {"output_ts_offset": "7200"}}
    outcome = stylize(join("clip.ts", {}, late))
    times = read_clip(tmp_path / "out.mp4").times_s
    assert outcome.frames == 30
    assert times[-1] - times[0] == 29 * STEP


def test_a_clock_that_wraps_around(join, stylize) -> None:
    """At 2**33 / 90000 s, in the middle of the second recording and of a group of pictures."""
    wrapping = {"options": {"output_ts_offset": "95443.4"}}
    outcome = stylize(join("clip.ts", {}, wrapping, {}))
    assert (outcome.frames, outcome.damage) == (45, None)


def test_another_codec_is_told(join, stylize) -> None:
    times = tuple(range(0, 1600, 40))
    clips = [{"times": times, "codec": "mpeg4"}, {"times": times}]
    outcome = stylize(join("clip.ts", *clips))
    assert 38 <= outcome.frames <= 40
    assert outcome.damage is not None


def test_sound_that_begins_with_the_second(join, stylize) -> None:
    assert stylize(join("clip.ts", {}, {"sound": "aac"})).sound == (("aac", True),)
    late = {"times": tuple(range(0, 2400, 40))}  # what lies so far behind is not looked at first
    outcome = stylize(join("clip-2.ts", late, {"sound": "aac"}))
    assert (outcome.frames, outcome.sound) == (75, ())
    assert "1 sound tracks that begin later than the video are left out" in outcome.notes


def test_half_a_packet_of_sound_where_one_breaks_off(make_clip, join, stylize) -> None:
    path = join("clip.ts", {"sound": "aac"}, {"sound": "aac"})
    whole = path.with_name("part-0.ts").read_bytes()
    for kept in range(len(whole) // 2, len(whole) // 2 + 1500, 300):
        path.write_bytes(whole[:kept] + whole)
        assert stylize(path).frames > 15


def test_a_still_of_a_minute_stays_one(make_clip, stylize, read_clip, tmp_path) -> None:
    outcome = stylize(make_clip("clip.mkv", times=(0, 40, 60_000, 60_040)))
    assert read_clip(tmp_path / "out.mp4").times_s[-1] == Fraction(60_040, 1000)
    assert outcome.notes == ()


def test_a_part_of_it(join, stylize) -> None:
    assert stylize(join("clip.ts", {}, {}), limits=VideoLimits(frames=20)).frames == 20
    assert stylize(join("clip-2.ts", {}, {}), limits=VideoLimits(seconds=0.78)).frames == 20


class TestAnotherSize:
    def test_shapes_keep_their_aspect_between_black_bars(
        self, join, stylize, read_clip, tmp_path
    ) -> None:
        """A tall frame of 48x96 in the middle of 96x48: 24 wide, 36 black on either side."""
        clips = [{"size": (96, 48)}, {"size": (48, 96)}]
        outcome = stylize(join("clip.ts", *clips))
        result = read_clip(tmp_path / "out.mp4")
        assert outcome.frames == 30
        assert "15 frames come in another size" in outcome.notes[-1]
        assert all(picture.shape == (48, 96, 3) for picture in result.rgb)
        assert result.rgb[5][:, :30].mean() > 60
        assert result.rgb[25][:, :32].mean() < 8 > result.rgb[25][:, 64:].mean()
        assert result.rgb[25][:, 40:56].mean() > 60

    def test_there_and_back(self, join, stylize, read_clip, tmp_path) -> None:
        clips = [{"size": (96, 48)}, {"size": (192, 96)}, {"size": (96, 48)}]
        outcome = stylize(join("clip.ts", *clips))
        result = read_clip(tmp_path / "out.mp4")
        assert outcome.frames == 45
        difference = np.abs(result.rgb[2].astype(int) - result.rgb[17])
        assert difference.mean() < 25  # the same picture, scaled, fills the frame

    def test_pixels_of_another_width(self, join, stylize, read_clip, tmp_path) -> None:
        """Of pixels twice as wide, 48x48 is shown as wide as 96x48, which it fills."""
        clips = [{"size": (96, 48)}, {"size": (48, 48), "aspect": Fraction(2)}]
        stylize(join("clip.ts", *clips))
        assert read_clip(tmp_path / "out.mp4").rgb[25][:, :20].mean() > 60


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov", "clip.flv"])
def test_what_is_not_read_is_told(join, stylize, name) -> None:
    """These containers end where their first film does."""
    outcome = stylize(join(name, {}, {}))
    assert outcome.frames == 15
    assert "another recording is joined to its end" in (outcome.damage or "")


@pytest.mark.parametrize("name", ["clip.mp4", "clip.flv", "clip.mkv", "clip.ts", "clip.avi"])
def test_a_single_one_has_nothing_joined(make_clip, stylize, name) -> None:
    outcome = stylize(make_clip(name, times=TIMES, codec="mpeg4" if "avi" in name else "libx264"))
    assert (outcome.damage, outcome.notes) == (None, ())


def test_frames_of_one_time_are_shown_one_after_the_other(
    make_clip, stylize, read_clip, tmp_path
) -> None:
    even = make_clip("clip-even.mkv", times=(0, 40, 80, 120), codec="mjpeg", pixels="yuvj420p")
    with av.open(str(even)) as source, av.open(str(tmp_path / "clip.mkv"), "w") as target:
        film = target.add_stream_from_template(source.streams.video[0])
        for packet, time in zip(source.demux(video=0), (0, 40, 40, 80), strict=False):
            packet.stream, packet.pts, packet.dts = film, time, time
            target.mux(packet)
    outcome = stylize(tmp_path / "clip.mkv")
    assert (outcome.frames, outcome.damage) == (4, None)
    assert len(set(read_clip(tmp_path / "out.mp4").times_s)) == 4


def test_one_of_the_same_time_is_left_out_where_times_are_as_coarse_as_frames(
    make_clip, stylize, tmp_path
) -> None:
    even = make_clip("clip-even.mkv", times=(0, 40, 80, 120), codec="mjpeg", pixels="yuvj420p")
    coarse = {"video_track_timescale": "25"}
    with (
        av.open(str(even)) as source,
        av.open(tmp_path / "clip.mp4", "w", options=coarse) as target,
    ):
        film = target.add_stream_from_template(source.streams.video[0])
        times = zip(source.demux(video=0), (0, 2, 2, 3), range(4), strict=False)
        for packet, shown, decoded in times:
            packet.stream, packet.time_base = film, Fraction(1, 25)
            packet.pts, packet.dts, packet.duration = shown, decoded, 1
            target.mux(packet)
    outcome = stylize(tmp_path / "clip.mp4")
    assert outcome.frames == 3
    assert "1 frames whose time lies before another's are left out" in outcome.damage


class TestClock:
    """With packets of a film (stream 0) and of sound (1) by hand, in thousandths of a second."""

    @staticmethod
    def packet(index, dts, place, key=True):
        return SimpleNamespace(
            stream=SimpleNamespace(index=index),
            dts=dts,
            pts=dts,
            time_base=Fraction(1, 1000),
            duration=40,
            pos=place,
            is_keyframe=key,
        )

    def moved(self, *packets, closes_gaps=True):
        clock = TimeLine(0, STEP, closes_gaps=closes_gaps)
        result = [each for packet in packets for each in clock.moved(self.packet(*packet))]
        result += clock.rest()
        return [(each.stream.index, each.pts) for each in result], clock.joins

    def test_sound_of_the_next_recording_waits_for_its_film(self) -> None:
        packets = [(0, 0, 0), (1, 0, 1), (0, 40, 2), (1, 40, 3)]
        second = [(1, -100, 4), (1, -60, 5), (0, -100, 6), (0, -60, 7), (1, -20, 8)]
        expected = [
            (0, 0),
            (1, 0),
            (0, 40),
            (1, 40),
            (0, 80),
            (0, 120),
            (1, 80),
            (1, 120),
            (1, 160),
        ]
        assert self.moved(*packets, *second) == (expected, 1)

    def test_sound_of_the_last_recording_that_comes_late_stays_with_it(self) -> None:
        packets = [(0, 500, 0), (1, 500, 1), (0, 540, 2), (0, 0, 9), (1, 540, 3), (1, 0, 10)]
        expected = [(0, 500), (1, 500), (0, 540), (0, 580), (1, 540), (1, 580)]
        assert self.moved(*packets) == (expected, 1)

    def test_sound_that_jumps_alone_goes_on(self) -> None:
        packets = [(0, 0, 0), (1, 5000, 1), (1, 0, 2), (0, 40, 3)]
        assert self.moved(*packets) == ([(0, 0), (1, 5000), (0, 40), (1, 5040)], 0)

    def test_a_frame_of_a_little_earlier_is_no_recording(self) -> None:
        packets = [(0, 0, 0), (0, 80, 1), (0, 40, 2, False), (0, 120, 3)]
        assert self.moved(*packets) == ([(0, 0), (0, 80), (0, 40), (0, 120)], 0)

    def test_a_gap_where_clocks_do_not_jump_stays(self) -> None:
        packets = [(0, 0, 0), (0, 99_000, 1)]
        assert self.moved(*packets, closes_gaps=False) == ([(0, 0), (0, 99_000)], 0)
        assert self.moved(*packets) == ([(0, 0), (0, 40)], 1)
