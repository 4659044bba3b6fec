"""Cameras and videos that are stylised and shown as they come."""

import time
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from unplugged_cameras import unplug_after

pytest.importorskip("av", reason='not installed: pip install "nstc[video]"')


from nstc.core.errors import (
    DisplayError,
    Interrupted,
    OptionError,
    OutputError,
    VideoError,
)
from nstc.runtime.control import Control, blended
from nstc.runtime.video import frame_reader, live
from nstc.runtime.video.live import stylize_live
from nstc.runtime.video.overlap import overlap
from nstc.runtime.video.source import (
    SoundPacket,
    TimedFrame,
    VideoLimits,
    camera_source,
    file_source,
)
from nstc.runtime.video.stylizing import Stabilizer, VideoOptions

LOSSLESS = {"codec": "ffv1", "pixels": "bgr0"}
CAMERA = "lavfi:testsrc=size=64x48:rate=12"


class Display:
    """Keeps what it is shown; after so many frames it types what `typed` says, once."""

    def __init__(self, typed=None):
        self.shown, self.statuses, self.open = [], [], True
        self._typed = dict(typed or {})

    def show(self, rgb, status) -> None:
        self.shown.append(rgb.copy())
        self.statuses.append(status)

    def keys(self) -> str:
        return self._typed.pop(len(self.shown), "")

    def close(self) -> None:
        self.open = False


@pytest.fixture
def every_frame(monkeypatch) -> None:
    """Nothing is dropped and nothing waits, so that a test does not depend on the machine."""
    monkeypatch.setattr(
        live, "overlap", lambda *own, **how: overlap(*own, **how | {"newest": False})
    )
    monkeypatch.setattr(live, "_FASTER_THAN_SHOWN", ())


@pytest.fixture
def clip(make_clip):
    return file_source(make_clip("clip.mkv", **LOSSLESS))


@pytest.mark.usefixtures("every_frame")
class TestShown:
    def test_frames_are_stylised(self, clip, stylizer, frames) -> None:
        display = Display()
        outcome = stylize_live(clip, stylizer, [display])
        np.testing.assert_array_equal(display.shown, [255 - rgb for rgb in frames()])
        assert (outcome.frames, outcome.dropped, outcome.interrupted) == (10, 0, False)
        assert (outcome.damage, outcome.recording, outcome.pictures) == (None, None, ())
        assert outcome.frame_ms > 0

    def test_in_several_places(self, clip, stylizer) -> None:
        displays = [Display(), Display()]
        stylize_live(clip, stylizer, displays)
        np.testing.assert_array_equal(displays[0].shown, displays[1].shown)
        assert len(displays[0].shown) == 10

    def test_upright_and_without_sound(self, make_clip, stylizer) -> None:
        turned = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
        display = Display()
        stylize_live(file_source(make_clip(matrix=turned, sound="aac")), stylizer, [display])
        assert {rgb.shape for rgb in display.shown} == {(64, 48, 3)}
        assert len(display.shown) == 10

    def test_size_and_strength(self, clip, stylizer, frames) -> None:
        display = Display()
        control = Control(size=32, upscale_to_original=True, strength=0.0)
        stylize_live(clip, stylizer, [display], VideoOptions(control=control))
        np.testing.assert_array_equal(display.shown, frames())
        display = Display()
        stylize_live(clip, stylizer, [display], VideoOptions(control=Control(size=32)))
        assert display.shown[0].shape == (24, 32, 3)

    def test_held_where_still(self, clip, stylizer, frames) -> None:
        display, stabilizer = Display(), Stabilizer()
        stylize_live(clip, stylizer, [display], VideoOptions(stabilize=True))
        np.testing.assert_array_equal(
            display.shown, [stabilizer(rgb, 255 - rgb) for rgb in frames()]
        )

    def test_so_many_frames(self, clip, stylizer) -> None:
        display = Display()
        stylize_live(clip, stylizer, [display], VideoOptions(limits=VideoLimits(frames=4)))
        assert len(display.shown) == 4

    def test_what_is_printed(self, clip, stylizer) -> None:
        said = stylize_live(clip, stylizer, [Display()]).to_dict()
        assert (said["source"], said["frames"], said["recording"]) == (clip.name, 10, None)


@pytest.mark.usefixtures("every_frame")
class TestKeys:
    @staticmethod
    def mixed(rgb, **control):
        return blended(rgb, 255 - rgb, Control(**control))

    def test_strength_and_colours_of_the_next_frame(self, clip, stylizer, frames) -> None:
        display = Display({2: "--", 4: "+", 6: "c", 8: "cQ?"})
        stylize_live(clip, stylizer, [display])
        clear = [
            *(255 - rgb for rgb in frames()[:2]),
            *(self.mixed(rgb, strength=0.8) for rgb in frames()[2:4]),
            *(self.mixed(rgb, strength=0.9) for rgb in frames()[4:6]),
            *(self.mixed(rgb, strength=0.9, preserve_color=True) for rgb in frames()[6:8]),
            *(self.mixed(rgb, strength=0.9) for rgb in frames()[8:]),
        ]
        np.testing.assert_array_equal(display.shown, clear)
        assert display.statuses[0].endswith(" ms, strength 1")
        assert display.statuses[2].endswith(" ms, strength 0.8")
        assert display.statuses[6].endswith(" ms, strength 0.9, colours kept")
        assert " frames/s, " in display.statuses[6]

    @pytest.mark.parametrize(("key", "last"), [("+", 3.0), ("-", -1.0), ("=", 3.0)])
    def test_strength_ends_where_the_option_does(self, clip, stylizer, frames, key, last) -> None:
        display = Display({1: key * 50})
        stylize_live(clip, stylizer, [display])
        np.testing.assert_array_equal(display.shown[1], self.mixed(frames()[1], strength=last))

    @pytest.mark.parametrize("key", ["q", "\x1b", "--q+"])
    def test_the_end(self, clip, stylizer, threads_left, key) -> None:
        display = Display({3: key})
        outcome = stylize_live(clip, stylizer, [display])
        assert (outcome.frames, outcome.interrupted, len(display.shown)) == (3, True, 3)
        assert threads_left() == []

    def test_a_frame_is_saved(self, clip, stylizer, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "stylised-0001.png").write_bytes(b"of before")
        display, told = Display({0: "s", 2: "s", 5: "ss"}), []
        outcome = stylize_live(clip, stylizer, [display], notify=told.append)
        names = [f"stylised-{number:04}.png" for number in (2, 3, 4)]
        assert outcome.pictures == tuple(names)
        assert told == ["there is no frame to save yet", *(f"saved {name}" for name in names)]
        for name, number in zip(names, (1, 4, 4), strict=True):
            with Image.open(tmp_path / name) as image:
                np.testing.assert_array_equal(np.asarray(image), display.shown[number])
        assert (tmp_path / "stylised-0001.png").read_bytes() == b"of before"

    def test_beside_the_recording(self, stylizer, tmp_path) -> None:
        output = tmp_path / "party.mp4"
        options = VideoOptions(limits=VideoLimits(frames=4))
        outcome = stylize_live(
            camera_source(CAMERA), stylizer, [Display({2: "s"})], options, output=output
        )
        assert outcome.pictures == (str(tmp_path / "party-0001.png"),)
        assert (tmp_path / "party-0001.png").is_file()

    def test_one_that_can_not_be_saved_ends_nothing(self, clip, stylizer, monkeypatch) -> None:
        def fail(path, _picture) -> None:
            raise OutputError(f"cannot write {path}: no room.")

        monkeypatch.setattr(live, "write_picture", fail)
        display, told = Display({2: "s"}), []
        outcome = stylize_live(clip, stylizer, [display], notify=told.append)
        assert told == ["cannot write stylised-0001.png: no room."]
        assert (outcome.frames, outcome.pictures) == (10, ())


class TestNewest:
    @pytest.fixture(autouse=True)
    def _unpaced(self, monkeypatch) -> None:
        monkeypatch.setattr(live, "_FASTER_THAN_SHOWN", ())

    def test_what_comes_while_the_network_runs_is_dropped_but_for_the_last(
        self, clip, stylizer, frames, threads_left
    ) -> None:
        class Slow(Display):
            def show(self, rgb, status) -> None:
                super().show(rgb, status)
                until = time.monotonic() + 300
                while "nstc-reader" in threads_left() and time.monotonic() < until:
                    time.sleep(0.002)

        display = Slow()
        outcome = stylize_live(clip, stylizer, [display])
        np.testing.assert_array_equal(display.shown[-1], 255 - frames()[-1])
        assert outcome.frames <= 2
        assert outcome.frames + outcome.dropped == 10

    def test_keys_work_while_no_frame_comes(
        self, clip, stylizer, monkeypatch, threads_left
    ) -> None:
        def hanging(reader, no_more, *, paced):
            yield next(reader.items())
            no_more.wait(300)

        monkeypatch.setattr(live, "_frames", hanging)
        outcome = stylize_live(clip, stylizer, [Display({1: "q"})])
        assert (outcome.frames, outcome.interrupted) == (1, True)
        assert threads_left() == []


class TestPace:
    """`_frames` by a clock that only waiting moves."""

    @pytest.fixture
    def run(self, monkeypatch):
        now, waits = [50.0], []

        def wait(seconds):
            waits.append(round(seconds, 6))
            now[0] += seconds
            return False

        monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: now[0]))
        rgb = np.zeros((2, 2, 3), np.uint8)

        def items():
            for pts in (500, 540, 600, 620, 700):
                yield TimedFrame(rgb=rgb, pts=pts, duration=0)
                yield SoundPacket(track=0, packet=None)

        reader = SimpleNamespace(items=items, time_base=Fraction(1, 1000))

        def frames(*, paced, took_s=0.0):
            times = []
            for frame in live._frames(reader, SimpleNamespace(wait=wait), paced=paced):
                times.append(frame.pts)
                now[0] += took_s
            assert times == [500, 540, 600, 620, 700]
            return waits

        return frames

    def test_a_file_is_shown_in_its_own_time(self, run) -> None:
        assert run(paced=True) == [0.0, 0.04, 0.06, 0.02, 0.08]

    def test_time_that_was_lost_is_caught_up(self, run) -> None:
        assert run(paced=True, took_s=0.05) == [0.0, 0.0, 0.0, 0.0, 0.0]

    def test_a_camera_waits_for_nothing(self, run) -> None:
        assert run(paced=False) == []

    @pytest.mark.parametrize(
        ("source", "paced"), [("file", True), (CAMERA, True), ("v4l2:/dev/video0", False)]
    )
    def test_who_is_paced(self, clip, stylizer, monkeypatch, source, paced) -> None:
        """A real camera brings its frames when they are due: its clock may run ahead of ours."""
        origin = clip if source == "file" else camera_source(source)
        asked = []
        reading = frame_reader.opened
        monkeypatch.setattr(frame_reader, "opened", lambda _origin: reading(clip))
        original = live._frames

        def frames(reader, no_more, *, paced):
            asked.append(paced)
            return original(reader, no_more, paced=False)

        monkeypatch.setattr(live, "_frames", frames)
        stylize_live(origin, stylizer, [Display()])
        assert asked == [paced]

    @pytest.mark.parametrize("far_ms", [3_600_000, 2**52])
    def test_the_end_does_not_wait_for_a_frame_far_off(
        self, make_clip, stylizer, threads_left, far_ms
    ) -> None:
        """Recordings of screens stand still for minutes, damaged files for ages: nothing passes."""
        source = make_clip("clip.mkv", times=(0, 40, far_ms), **LOSSLESS)
        outcome = stylize_live(file_source(source), stylizer, [Display({1: "q", 2: "q"})])
        assert outcome.interrupted
        assert threads_left() == []


class TestRecording:
    @pytest.mark.usefixtures("every_frame")
    def test_what_is_shown_is_written_at_the_cameras_times(
        self, read_clip, stylizer, tmp_path
    ) -> None:
        output, display = tmp_path / "out.mkv", Display()
        options = VideoOptions(limits=VideoLimits(frames=9), codec="ffv1")
        outcome = stylize_live(camera_source(CAMERA), stylizer, [display], options, output=output)
        written = read_clip(output)
        assert [round(time_s * 12, 1) for time_s in written.times_s] == [*range(9)]
        np.testing.assert_array_equal(written.rgb, display.shown)
        assert outcome.recording is not None
        assert (outcome.recording.frames, outcome.recording.output) == (9, str(output))
        assert outcome.to_dict()["recording"]["codec"] == "ffv1"

    def test_frames_that_are_dropped_leave_times_out(
        self, read_clip, stylizer, tmp_path, monkeypatch
    ) -> None:
        monkeypatch.setattr(live, "_FASTER_THAN_SHOWN", ())
        output, display = tmp_path / "out.mkv", Display()
        options = VideoOptions(limits=VideoLimits(frames=40), codec="ffv1")
        outcome = stylize_live(camera_source(CAMERA), stylizer, [display], options, output=output)
        written = read_clip(output)
        assert outcome.frames + outcome.dropped == 40
        assert len(written.rgb) == outcome.frames == len(display.shown)
        assert round(written.times_s[-1] * 12, 1) == 39
        assert written.times_s == sorted(set(written.times_s))

    @pytest.mark.usefixtures("every_frame")
    def test_the_end_keeps_what_was_recorded(self, read_clip, stylizer, tmp_path) -> None:
        output = tmp_path / "out.mp4"
        outcome = stylize_live(camera_source(CAMERA), stylizer, [Display({3: "q"})], output=output)
        assert outcome.interrupted
        assert len(read_clip(output).rgb) == 3

    def test_no_frame_no_file(self, stylizer, tmp_path, threads_left) -> None:
        output = tmp_path / "out.mp4"
        with pytest.raises(Interrupted, match=r"out\.mp4 is not written"):
            stylize_live(camera_source(CAMERA), stylizer, [Display({0: "q"})], output=output)
        assert [path.name for path in tmp_path.iterdir()] == ["negative"]
        assert threads_left() == []

    @pytest.mark.usefixtures("every_frame")
    def test_ctrl_c_ends_it_like_q(self, read_clip, stylizer, tmp_path, monkeypatch) -> None:
        run, count = stylizer.session.run, iter(range(10**6))

        def transfer(rgb):
            if next(count) == 6:
                raise KeyboardInterrupt
            return run(rgb)

        monkeypatch.setattr(stylizer, "transfer", transfer)
        output = tmp_path / "out.mp4"
        outcome = stylize_live(camera_source(CAMERA), stylizer, [], output=output)
        assert (outcome.interrupted, outcome.frames) == (True, 6)
        assert len(read_clip(output).rgb) == 6


class TestBad:
    def test_a_file_is_shown_or_written(self, clip, stylizer, tmp_path) -> None:
        with pytest.raises(OptionError, match="with -o, or watch it with --show, not both"):
            stylize_live(clip, stylizer, [Display()], output=tmp_path / "out.mp4")

    @pytest.mark.parametrize("how", [{"codec": "h264"}, {"crf": 20}])
    def test_a_codec_of_nothing(self, clip, stylizer, how) -> None:
        with pytest.raises(OptionError, match="codec and crf are of a recording"):
            stylize_live(clip, stylizer, [Display()], VideoOptions(**how))

    def test_no_camera(self, stylizer) -> None:
        with pytest.raises(VideoError, match=r"video99 can't be opened: No such .* name another"):
            stylize_live(camera_source("v4l2:/dev/video99"), stylizer, [Display()])

    def test_an_ending_is_refused_before_the_camera_is_opened(self, stylizer, tmp_path) -> None:
        camera = camera_source("v4l2:/dev/video99")
        with pytest.raises(OptionError, match=r"ends in \.mp4"):
            stylize_live(camera, stylizer, [Display()], output=tmp_path / "out.png")

    @pytest.mark.usefixtures("every_frame")
    def test_a_camera_that_is_unplugged(
        self, read_clip, stylizer, tmp_path, monkeypatch, threads_left
    ) -> None:
        unplug_after(5, monkeypatch)
        output = tmp_path / "out.mp4"
        outcome = stylize_live(camera_source(CAMERA), stylizer, [Display()], output=output)
        assert outcome.damage == "it breaks off: No such device after 5 frames"
        assert (outcome.frames, outcome.interrupted) == (5, False)
        assert len(read_clip(output).rgb) == 5
        assert threads_left() == []

    def test_a_window_that_goes_takes_the_recording_with_it(
        self, stylizer, tmp_path, threads_left
    ) -> None:
        class Gone(Display):
            def show(self, rgb, status) -> None:
                raise DisplayError("the window is gone.")

        output = tmp_path / "out.mp4"
        with pytest.raises(DisplayError, match="the window is gone"):
            stylize_live(camera_source(CAMERA), stylizer, [Gone()], output=output)
        assert [path.name for path in tmp_path.iterdir()] == ["negative"]
        assert threads_left() == []
