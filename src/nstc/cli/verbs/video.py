"""The part of `nstc stylize` that stylises videos and cameras."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nstc.cli.options import flag
from nstc.cli.output import Bar, say, say_json, tell
from nstc.core.errors import DamagedVideoError, OptionError

if TYPE_CHECKING:
    from nstc.runtime.files.batch import BatchOptions
    from nstc.runtime.stylizer import Stylizer
    from nstc.runtime.video.source import VideoSource


@dataclass(frozen=True, kw_only=True)
class VideoFlags:
    """The options of `nstc stylize` that only videos have, as they were typed."""

    camera: str | None = flag(
        None, "Camera to stylise: its number, or FORMAT:NAME in FFmpeg's notation."
    )
    frames: int | None = flag(None, "Most frames of a video.")
    seconds: float | None = flag(None, "Most seconds of a video.")
    stabilize: bool = flag(False, "Reduce flicker in a video: keep still parts still.")
    codec: str | None = flag(None, "Video codec: h264, hevc, vp9, av1 or ffv1.", shown="h264")
    crf: int | None = flag(
        None, "Constant rate factor of the video codec: 0 is best, more is smaller.", shown="18"
    )

    @property
    def given(self) -> list[str]:
        """Names of those that were given."""
        return [f"--{name}" for name, value in vars(self).items() if _was_given(value)]


def _was_given(value: object) -> bool:
    """Whether a flag's value was typed: 0 was, although it equals False."""
    return value is not None and value is not False


def is_video(inputs: list[str], output: str, flags: VideoFlags) -> bool:
    """Whether a video is asked for: by a camera, or by the name of the input or output."""
    from nstc.runtime.files.picture_jobs import is_folder
    from nstc.runtime.video.containers import CONTAINERS, is_video_name

    if flags.camera is not None or any(map(is_video_name, inputs)):
        return True
    return Path(output).suffix.lower() in CONTAINERS and not is_folder(output)


def refuse_on_videos(options: dict[str, object]) -> None:
    """Raise `OptionError` if options of pictures, by name, were given for a video."""
    given = [f"--{name}" for name, value in options.items() if _was_given(value)]
    if given:
        raise OptionError(f"{', '.join(given)} applies to pictures only: leave it out for a video.")


def stylize_one(
    inputs: list[str],
    output: str,
    stylizer: "Stylizer",
    pictures: "BatchOptions",
    flags: VideoFlags,
    model: str,
    json_output: bool,
) -> None:
    """Stylise a video and print a line about it; raise last if the source is damaged.

    What videos share with pictures, such as strength, is taken from the options for pictures.
    """
    from nstc.runtime.files.picture_jobs import is_folder
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
        raise OptionError("-o - works for pictures only: give a file name for a video.")
    target = Path(output)
    if is_folder(output) and not place.live:  # where it keeps the source's name
        target /= Path(place.name).name
    with Bar() as bar:
        outcome = stylize_video(place, target, stylizer, options, bar)
    for note in outcome.notes:
        tell(f"{outcome.output}: {note}")
    if json_output:
        shown = {"stabilized": options.stabilize} | outcome.to_dict()
        say_json({"schema": "nstc.stylize-video/1", "model": model, **shown})
    else:
        rate = f"{outcome.rate_fps:.4g} fps" if outcome.rate_fps else "1 frame"
        say(
            f"{outcome.output}  {outcome.width}x{outcome.height}  {outcome.frames} frames at {rate}"
            f"  {outcome.codec}  {outcome.elapsed_s:.2f} s, {outcome.painted_fps:.3g} frames a "
            "second"
        )
    if outcome.damage is not None:
        raise DamagedVideoError(
            f"{outcome.source} is damaged: {outcome.damage}. The {outcome.frames} frames that "
            f"could be read are in {outcome.output}."
        )


def _place_of(inputs: list[str], camera: str | None) -> "VideoSource":
    from nstc.runtime.files.fetching import is_address
    from nstc.runtime.files.picture_jobs import STANDARD_STREAM
    from nstc.runtime.video.source import camera_source, file_source

    if camera is not None:
        if inputs:
            raise OptionError(f"--camera and {inputs[0]} were both given: choose one.")
        return camera_source(camera)
    if not inputs:
        raise OptionError("no video was given: name a file, or give --camera.")
    if len(inputs) > 1:
        raise OptionError(
            f"{len(inputs)} inputs with a video among them: give one video at a time."
        )
    name = inputs[0]
    if name == STANDARD_STREAM or is_address(name):
        raise OptionError(f"{name}: a video must be a file. Save it first.")
    return file_source(Path(name))
