"""Opening files and cameras, with one error a thing that can be wrong."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import av
import av.device
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream

from nstc.core.errors import VideoError

_SECONDS_FOR_A_CAMERA: Final = 10.0
_STILL: Final = Disposition.attached_pic | Disposition.timed_thumbnails
# Else FFmpeg takes a colon in a name for the end of a protocol, such as http.
FILE_PREFIX: Final = "file:"


@dataclass(frozen=True, kw_only=True)
class FilmSource:
    """Where frames come from."""

    name: str  # as the user knows it
    address: str  # what FFmpeg opens
    format: str | None = None  # of the device, or None for a file, whose format is found out
    options: Mapping[str, str] = field(default_factory=dict)  # of the device
    live: bool = False  # whether it goes on until it is stopped


def file_place(path: Path) -> FilmSource:
    """A file.

    Raises:
        VideoError: it is none.
    """
    if not path.exists():
        raise VideoError(f"{path}: there is no such file.")
    if not path.is_file():
        raise VideoError(f"{path} is no file: a video is read from one.")
    return FilmSource(name=str(path), address=FILE_PREFIX + str(path))


def camera_place(camera: str) -> FilmSource:
    """A camera by its number, or a device as FORMAT:NAME.

    Args:
        camera: 0 for the first camera, by v4l2 on Linux, avfoundation on macOS and dshow on
            Windows; or a device format of FFmpeg's and what it opens, such as v4l2:/dev/video2 or
            lavfi:testsrc2=size=640x360:rate=25, a test picture.

    Raises:
        VideoError: there is no such camera.
    """
    kind, colon, address = camera.partition(":")
    if colon and kind and address:
        return FilmSource(name=f"camera {camera}", address=address, format=kind, live=True)
    if not (camera.isascii() and camera.isdigit()):
        raise VideoError(
            f"camera is {camera}: expected a number, or a device as FORMAT:NAME such as "
            "v4l2:/dev/video0."
        )
    number = int(camera)
    name = f"camera {number}"
    if sys.platform == "darwin":
        rate = {"framerate": "30"}  # its own default is 29.97, which many cameras refuse
        return FilmSource(
            name=name, address=str(number), format="avfoundation", options=rate, live=True
        )
    if sys.platform == "win32":
        cameras = [
            device.name
            for device in av.device.enumerate_input_devices("dshow")
            if "video" in device.media_types
        ]
        if number >= len(cameras):
            raise VideoError(f"there is no {name}: found {', '.join(cameras) or 'none'}.")
        return FilmSource(name=name, address=f"video={cameras[number]}", format="dshow", live=True)
    return FilmSource(name=name, address=f"/dev/video{number}", format="v4l2", live=True)


@contextlib.contextmanager
def told_of(name: str) -> Iterator[None]:
    """Turn an error of FFmpeg's into one that names the source."""
    try:
        yield
    except FFmpegError as error:
        raise VideoError(f"{name} can't be read as a video: {error.strerror}.") from error


def open_place(place: FilmSource) -> InputContainer:
    """Open it and read its header.

    Raises:
        VideoError: it is not there, in use, no film, or a format that this FFmpeg has not.
    """
    try:
        with told_of(place.name):
            return av.open(
                place.address,
                "r",
                format=place.format,
                options=dict(place.options),
                metadata_errors="replace",
                timeout=_SECONDS_FOR_A_CAMERA if place.live else None,
            )
    except ValueError as error:  # of PyAV itself: no such format
        raise VideoError(
            f"{place.name} can't be opened: {error}. Name a device as FORMAT:NAME."
        ) from error


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The film of a file, leaving out the pictures of albums in files of music.

    Raises:
        VideoError: there is none, or this FFmpeg can't decode it.
    """
    films = [stream for stream in container.streams.video if not stream.disposition & _STILL]
    if not films:
        only = "only sound" if container.streams.audio else "neither video nor sound"
        raise VideoError(f"{name} holds no video, {only}: name a file with a video in it.")
    if films[0].codec_context is None:
        raise VideoError(f"{name} holds a video in a codec that this PyAV can't decode.")
    return films[0]
