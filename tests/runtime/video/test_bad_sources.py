"""Files and cameras that give no video, or only a part of one."""

import os

import numpy as np
import pytest

pytest.importorskip("av", reason='not installed: pip install "nstc[video]"')

import av

from nstc.core.errors import Interrupted, MissingExtraError, NstcError, OptionError, VideoError
from nstc.runtime.video.source import VideoLimits, camera_source, file_source
from nstc.runtime.video.stylizing import VideoOptions, stylize_video

FAST = {"movflags": "+faststart"}
LONG = tuple(range(0, 2000, 40))


def left(folder) -> list[str]:
    """Files but for the source, hidden ones among them."""
    return sorted(path.name for path in folder.iterdir() if "clip" not in path.name)


@pytest.fixture
def stylize(stylizer, tmp_path):
    def run(path, **options):
        place = file_source(path)
        return stylize_video(place, tmp_path / "out.mp4", stylizer, VideoOptions(**options))

    return run


class TestCutOff:
    @pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4", "clip.webm"])
    def test_what_was_read_is_kept_and_told(
        self, make_clip, read_clip, stylize, tmp_path, name
    ) -> None:
        codec = "libvpx-vp9" if name == "clip.webm" else "libx264"
        source = make_clip(
            name, times=LONG, codec=codec, options=FAST if name == "clip.mp4" else {}
        )
        source.write_bytes(source.read_bytes()[: source.stat().st_size * 6 // 10])
        outcome = stylize(source)
        assert outcome.damage is not None
        assert "it breaks off" in outcome.damage
        assert f"after {outcome.frames} frames" in outcome.damage
        assert 5 <= outcome.frames < 45
        painted = read_clip(tmp_path / "out.mp4")
        assert len(painted.rgb) == outcome.frames

    def test_with_sound(self, make_clip, stylize) -> None:
        source = make_clip("clip.mkv", times=LONG, sound="aac")
        source.write_bytes(source.read_bytes()[: source.stat().st_size * 7 // 10])
        assert "before its end" in (stylize(source).damage or "")

    def test_a_part_that_is_there_is_no_damage(self, make_clip, stylize) -> None:
        source = make_clip("clip.mkv", times=LONG)
        source.write_bytes(source.read_bytes()[: source.stat().st_size * 9 // 10])
        assert stylize(source, limits=VideoLimits(frames=5)).damage is None

    @pytest.mark.parametrize("sound", [None, "aac"])
    @pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4", "clip.mov", "clip.ts", "clip.flv"])
    def test_a_whole_file_is_not_damaged(self, make_clip, stylize, name, sound) -> None:
        assert stylize(make_clip(name, times=LONG[:30], sound=sound)).damage is None

    def test_an_index_that_is_gone(self, make_clip, stylize, tmp_path) -> None:
        source = make_clip(times=LONG)
        source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
        with pytest.raises(VideoError, match=r"clip\.mp4 can't be read as a video: Invalid data"):
            stylize(source)
        assert left(tmp_path) == ["negative"]


def test_damaged_bytes_are_painted_around_or_refused(
    make_clip, stylize, tmp_path, threads_left
) -> None:
    source = make_clip("clip.mkv", times=LONG[:12], sound="aac")
    whole = source.read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(12):
        spoilt = bytearray(whole)
        for place in rng.integers(0, len(whole), 40):
            spoilt[place] = rng.integers(256)
        source.write_bytes(bytes(spoilt))
        (tmp_path / "out.mp4").unlink(missing_ok=True)
        try:
            outcome = stylize(source)
        except NstcError:
            assert left(tmp_path) == ["negative"]
        else:
            assert outcome.frames > 0
            assert left(tmp_path) == ["negative", "out.mp4"]
        assert threads_left() == []


class TestNoVideo:
    def test_only_sound(self, make_clip, stylize) -> None:
        with pytest.raises(VideoError, match=r"clip\.m4a holds no video, only sound"):
            stylize(make_clip("clip.m4a", video=False, sound="aac"))

    def test_the_cover_of_a_record_is_no_film(self, make_clip, stylize, tmp_path) -> None:
        song = tmp_path / "clip.mp4"
        make_clip("voice-clip.m4a", video=False, sound="aac")
        with av.open(str(tmp_path / "voice-clip.m4a")) as voice, av.open(str(song), "w") as target:
            sound = target.add_stream_from_template(voice.streams.audio[0])
            cover = target.add_stream("mjpeg", rate=1)
            cover.width = cover.height = 32
            cover.pix_fmt = "yuvj420p"
            cover.disposition = av.stream.Disposition.attached_pic
            target.mux(cover.encode(av.VideoFrame(32, 32, "yuvj420p")))
            target.mux(cover.encode(None))
            for packet in voice.demux(audio=0):
                if packet.size:
                    packet.stream = sound
                    target.mux(packet)
        with av.open(str(song)) as container:
            assert container.streams.video
        with pytest.raises(VideoError, match="holds no video, only sound"):
            stylize(song)

    @pytest.mark.parametrize("content", [b"", b"hello", bytes(range(256)) * 40])
    def test_no_film_at_all(self, stylize, tmp_path, content) -> None:
        path = tmp_path / "clip.mp4"
        path.write_bytes(content)
        with pytest.raises(VideoError, match=r"clip\.mp4 can't be read as a video"):
            stylize(path)

    def test_no_file(self, tmp_path) -> None:
        with pytest.raises(VideoError, match="there is no such file"):
            file_source(tmp_path / "clip.mp4")
        with pytest.raises(VideoError, match="is not a file"):
            file_source(tmp_path)
        os.mkfifo(tmp_path / "pipe.mp4")
        with pytest.raises(VideoError, match="is not a file"):
            file_source(tmp_path / "pipe.mp4")

    def test_a_name_that_looks_like_an_address(self, make_clip, stylize, monkeypatch) -> None:
        source = make_clip()
        odd = source.with_name("http:clip.mp4")
        source.rename(odd)
        monkeypatch.chdir(odd.parent)
        assert stylize(odd.relative_to(odd.parent)).frames == 10


class TestCameras:
    @pytest.mark.parametrize("name", ["", "x", "-1", "0.5", "v4l2:", ":x"])
    def test_no_name_of_a_camera(self, name) -> None:
        with pytest.raises(VideoError, match="expected a number, or a device as FORMAT:NAME"):
            camera_source(name)

    @pytest.mark.parametrize(
        ("system", "format", "address"),
        [("linux", "v4l2", "/dev/video2"), ("darwin", "avfoundation", "2")],
    )
    def test_a_number_by_system(self, monkeypatch, system, format, address) -> None:
        monkeypatch.setattr("sys.platform", system)
        place = camera_source("2")
        assert (place.format, place.address, place.live) == (format, address, True)

    def test_a_number_by_name_on_windows(self, monkeypatch) -> None:
        class Device:
            def __init__(self, name, *kinds):
                self.name, self.media_types = name, list(kinds)

        devices = [Device("Microphone", "audio"), Device("Front", "video"), Device("Rear", "video")]
        monkeypatch.setattr("sys.platform", "win32")
        monkeypatch.setattr(av.device, "enumerate_input_devices", lambda _format: devices)
        assert camera_source("1").address == "video=Rear"
        with pytest.raises(VideoError, match="no camera 2: found Front, Rear"):
            camera_source("2")

    def test_one_that_is_not_there(self, stylizer, tmp_path) -> None:
        for name, told in [
            ("v4l2:/dev/video99", "No such file"),
            ("nope:0", "no container format 'nope'"),
        ]:
            with pytest.raises(VideoError, match=told):
                stylize_video(camera_source(name), tmp_path / "out.mp4", stylizer)


class TestInterrupted:
    @pytest.fixture(autouse=True)
    def _at_the_seventh_frame(self, stylizer, monkeypatch) -> None:
        run, count = stylizer.session.run, iter(range(10**6))

        def transfer(rgb):
            if next(count) == 6:
                raise KeyboardInterrupt
            return run(rgb)

        monkeypatch.setattr(stylizer, "transfer", transfer)

    def test_no_half_of_a_film_is_left(self, make_clip, stylize, tmp_path, threads_left) -> None:
        with pytest.raises(Interrupted, match=r"out\.mp4 is not written"):
            stylize(make_clip(times=LONG, sound="aac"))
        assert left(tmp_path) == ["negative"]
        assert threads_left() == []

    def test_what_stood_there_stays(self, make_clip, stylize, tmp_path) -> None:
        (tmp_path / "out.mp4").write_bytes(b"before")
        with pytest.raises(Interrupted):
            stylize(make_clip(times=LONG))
        assert (tmp_path / "out.mp4").read_bytes() == b"before"

    def test_of_a_camera_what_was_recorded_is_kept(
        self, read_clip, stylizer, tmp_path, threads_left
    ) -> None:
        camera = camera_source("lavfi:testsrc=size=64x48:rate=10")
        outcome = stylize_video(camera, tmp_path / "out.mp4", stylizer)
        assert (outcome.interrupted, outcome.frames) == (True, 6)
        assert len(read_clip(tmp_path / "out.mp4").rgb) == 6
        assert threads_left() == []


def test_an_encoder_that_is_not_there(make_clip, stylize, monkeypatch) -> None:
    source = make_clip()
    monkeypatch.setattr(av, "codecs_available", {"h264"})
    with pytest.raises(MissingExtraError, match="codec h264 needs libx264"):
        stylize(source)


@pytest.mark.parametrize("limits", [{"frames": 0}, {"seconds": 0.0}, {"seconds": float("nan")}])
def test_limits_that_leave_nothing(limits) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(limits))} is"):
        VideoLimits(**limits)
