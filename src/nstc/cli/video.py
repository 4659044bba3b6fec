"""Videos and cameras of `nstc stylize`: their flags, and what is written or shown of them."""

from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nstc.cli.options import flag
from nstc.cli.output import Bar, say, say_json, tell
from nstc.core import errors

if TYPE_CHECKING:
    from nstc.runtime.files.batch import BatchOptions
    from nstc.runtime.stylizer import Stylizer
    from nstc.runtime.video.displays import Display
    from nstc.runtime.video.live import LiveOutcome
    from nstc.runtime.video.source import VideoSource
    from nstc.runtime.video.stylizing import VideoOptions, VideoOutcome


@dataclass(frozen=True, kw_only=True)
class VideoFlags:
    """What only videos have."""

    camera: str | None = flag(
        None, "Camera to stylise: its number, or FORMAT:NAME in FFmpeg's notation."
    )
    show: bool = flag(
        False,
        "Show a camera, or a video, live in a window; q ends it, + and - change the strength.",
    )
    virtual_camera: bool = flag(
        False, "Send a camera or a video, stylised live, to a virtual camera for other programs."
    )
    frames: int | None = flag(None, "Most frames of a video.")
    seconds: float | None = flag(None, "Most seconds of a video.")
    stabilize: bool = flag(False, "Reduce flicker in a video: keep still parts still.")
    codec: str | None = flag(None, "Video codec: h264, hevc, vp9, av1 or ffv1.", shown="h264")
    crf: int | None = flag(
        None, "Constant rate factor of the video codec: 0 is best, more is smaller.", shown="18"
    )

    @property
    def live(self) -> bool:
        """Whether frames are shown as they come, and need not be written."""
        return self.show or self.virtual_camera


def is_video(inputs: list[str], output: str | None, flags: VideoFlags) -> bool:
    """Whether a video is asked for: by a camera, or by the name of the input or output."""
    from nstc.runtime.files.picture_jobs import is_folder
    from nstc.runtime.video.containers import CONTAINERS, is_video_name

    if flags.camera is not None or any(map(is_video_name, inputs)):
        return True
    if output is None:
        return not inputs  # a picture is not shown live; what is missing is a video
    return Path(output).suffix.lower() in CONTAINERS and not is_folder(output)


def write_or_show_video(
    inputs: list[str],
    output: str | None,
    stylizer: "Stylizer",
    pictures: "BatchOptions",
    flags: VideoFlags,
    asked: Mapping[str, object],
    json_output: bool,
) -> None:
    """Stylise a video and print a line about it; raise last if the source is damaged."""
    from nstc.runtime.files.picture_jobs import is_folder, refuse_painting
    from nstc.runtime.video.source import VideoLimits
    from nstc.runtime.video.stylizing import VideoOptions, stylize_video

    options = VideoOptions(
        control=pictures.control,
        limits=VideoLimits(frames=flags.frames, seconds=flags.seconds),
        stabilize=flags.stabilize,
        codec=flags.codec,
        crf=flags.crf,
        max_pixels=pictures.max_pixels,
        keep_metadata=pictures.keep_metadata,
    )
    place = _place_of(inputs, flags.camera)
    if output == "-":
        raise errors.OptionError("-o - works for pictures only: give a file name for a video.")
    target = None if output is None else Path(output)
    if target is not None:
        if is_folder(target) and not (flags.live or place.live):  # where it keeps the source's name
            target /= Path(place.name).name
        refuse_painting(target, pictures.painting)
    if flags.live or target is None:
        live = _shown_live(place, target, stylizer, options, flags)
        _report_live(live, asked, options, json_output)
        return
    with Bar() as bar:
        outcome = stylize_video(place, target, stylizer, options, bar)
    if json_output:
        shown = {"stabilized": options.stabilize} | outcome.to_dict()
        say_json({"schema": "nstc.stylize-video/1", **asked, **shown})
    _report_written(outcome, quiet=json_output)
    if outcome.damage is not None:
        raise errors.DamagedVideoError(
            f"{outcome.source} is damaged: {outcome.damage}. The {outcome.frames} frames that "
            f"could be read are in {outcome.output}."
        )


def _report_written(outcome: "VideoOutcome", *, quiet: bool) -> None:
    for note in outcome.notes:
        tell(f"{outcome.output}: {note}")
    if not quiet:
        rate = f"{outcome.rate_fps:.4g} fps" if outcome.rate_fps else "1 frame"
        say(
            f"{outcome.output}  {outcome.width}x{outcome.height}  {outcome.frames} frames at {rate}"
            f"  {outcome.codec}  {outcome.elapsed_s:.2f} s, {outcome.painted_fps:.3g} frames a "
            "second"
        )


def _shown_live(
    place: "VideoSource",
    target: Path | None,
    stylizer: "Stylizer",
    options: "VideoOptions",
    flags: VideoFlags,
) -> "LiveOutcome":
    from nstc.runtime.video.displays import VirtualCamera, Window
    from nstc.runtime.video.live import KEYS, stylize_live

    with ExitStack() as opened:
        displays: list[Display] = []
        if flags.show:
            displays.append(opened.enter_context(closing(Window())))
            tell(f"keys in the window: {KEYS}")
        if flags.virtual_camera:
            displays.append(opened.enter_context(closing(VirtualCamera(tell))))
        if not flags.show:
            tell("Ctrl-C ends it")
        return stylize_live(place, stylizer, displays, options, output=target, notify=tell)


def _report_live(
    outcome: "LiveOutcome",
    asked: Mapping[str, object],
    options: "VideoOptions",
    json_output: bool,
) -> None:
    """Print what was shown and recorded; `DamagedVideoError` if the source ended early."""
    recording = outcome.recording
    if json_output:
        shown = {"stabilized": options.stabilize} | outcome.to_dict()
        say_json({"schema": "nstc.stylize-live/1", **asked, **shown})
    else:
        say(
            f"{outcome.source}  {outcome.frames} frames shown, {outcome.shown_fps:.3g} a second  "
            f"{outcome.frame_ms:.3g} ms each  {outcome.dropped} dropped"
        )
    if recording is not None:
        _report_written(recording, quiet=json_output)
    for note in outcome.notes if recording is None else ():  # of a recording they are told with it
        tell(f"{outcome.source}: {note}")
    if outcome.damage is not None:
        kept = "" if recording is None else f" and recorded in {recording.output}"
        raise errors.DamagedVideoError(
            f"{outcome.source}: {outcome.damage}. What came before was shown{kept}."
        )


def _place_of(inputs: list[str], camera: str | None) -> "VideoSource":
    from nstc.core.remote.fetching import is_address
    from nstc.runtime.files.picture_jobs import STANDARD_STREAM
    from nstc.runtime.video.source import camera_source, file_source

    if camera is not None:
        if inputs:
            raise errors.OptionError(f"--camera and {inputs[0]} were both given: choose one.")
        return camera_source(camera)
    if not inputs:
        raise errors.OptionError("no video was given: name a file, or give --camera.")
    if len(inputs) > 1:
        raise errors.OptionError(
            f"{len(inputs)} inputs with a video among them: give one video at a time."
        )
    name = inputs[0]
    if name == STANDARD_STREAM or is_address(name):
        raise errors.OptionError(f"{name}: a video must be a file. Save it first.")
    return file_source(Path(name))
