"""Clips of a few frames, made with PyAV, and what was made of them, read back."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nstc.runtime.stylizer import Stylizer

MILLISECOND = Fraction(1, 1000)
EVEN = tuple(range(0, 400, 40))


@dataclass(frozen=True)
class Clip:
    """A film, read back packet by packet and frame by frame."""

    times_s: list[Fraction]
    rgb: list[np.ndarray]
    matrix: tuple[int, ...] | None
    aspect: Fraction | None
    codec: str
    stored: tuple[int, int]
    sound: list[bytes]
    sound_codec: str | None
    sound_s: list[Fraction]
    language: str | None
    metadata: dict[str, str]


@pytest.fixture
def stylizer(bundle: Any) -> Stylizer:
    """Gives the negative of a frame."""
    return Stylizer(bundle, threads=1)


@pytest.fixture
def frames() -> Callable[..., list[np.ndarray]]:
    """Smooth frames in which a bright bar moves, so that no two are alike."""

    def make(count: int = len(EVEN), size: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
        width, height = size
        ramp = np.linspace(40, 200, width * height).reshape(height, width)
        clip = []
        for number in range(count):
            rgb = np.stack([ramp, ramp[::-1], np.full_like(ramp, 90)], axis=2).astype(np.uint8)
            rgb[:, number : number + 4] = 230
            clip.append(rgb)
        return clip

    return make


@pytest.fixture
def make_clip(tmp_path: Path, frames: Callable[..., list[np.ndarray]]) -> Callable[..., Path]:
    """Writes a film; times are in thousandths of a second."""
    import av

    def make(
        name: str = "clip.mp4",
        *,
        times: Sequence[int] = EVEN,
        rgb: Sequence[np.ndarray] | None = None,
        size: tuple[int, int] = (64, 48),
        codec: str = "libx264",
        pixels: str = "yuv420p",
        matrix: Sequence[int] | None = None,
        aspect: Fraction | None = None,
        sound: str | None = None,
        options: dict[str, str] | None = None,
        metadata: dict[str, str] | None = None,
        video: bool = True,
    ) -> Path:
        path = tmp_path / name
        clip = frames(len(times), size) if rgb is None else rgb
        with av.open(str(path), "w", options=options or {}) as container:
            container.metadata.update(metadata or {})
            if video:
                stream = container.add_stream(codec, rate=25)
                stream.height, stream.width = clip[0].shape[:2]
                stream.pix_fmt = pixels
                stream.codec_context.time_base = MILLISECOND
                stream.codec_context.gop_size = 5
                if aspect is not None:
                    stream.codec_context.sample_aspect_ratio = aspect
                if matrix is not None:
                    stream.set_display_matrix(matrix)
            if sound is not None:
                voice = container.add_stream(sound, rate=48000)
                voice.metadata["language"] = "ger"
            if video:
                for time, picture in zip(times, clip, strict=True):
                    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                    frame.pts, frame.time_base = time, MILLISECOND
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
            if sound is not None:
                for block in tones((max(times) + 40) * 48):
                    container.mux(voice.encode(block))
                container.mux(voice.encode(None))
        return path

    def tones(samples: int) -> list[Any]:
        blocks = []
        for start in range(0, samples, 1024):
            wave = np.sin(np.arange(start, start + 1024) / 20).astype(np.float32)
            block = av.AudioFrame.from_ndarray(
                np.stack([wave, wave / 2]), format="fltp", layout="stereo"
            )
            block.sample_rate, block.pts, block.time_base = 48000, start, Fraction(1, 48000)
            blocks.append(block)
        return blocks

    return make


@pytest.fixture
def read_clip() -> Callable[[Path], Clip]:
    """Reads a film as a player would, without turning it."""
    import av

    from nstc.runtime.video.source import matrix_of, to_pixels

    def read(path: Path) -> Clip:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            voices = container.streams.audio
            decoded = list(container.decode(stream))
            clip = {
                "times_s": [frame.pts * frame.time_base for frame in decoded],
                "rgb": [to_pixels(frame) for frame in decoded],
                "matrix": matrix_of(decoded[0]),
                "aspect": stream.sample_aspect_ratio,
                "codec": stream.codec_context.name,
                "stored": (stream.width, stream.height),
                "sound_codec": voices[0].codec_context.name if voices else None,
                "language": voices[0].language if voices else None,
                "metadata": dict(container.metadata),
            }
        packets = []
        if voices:
            with av.open(str(path)) as container:
                packets = [p for p in container.demux(audio=0) if p.size]
                clip["sound"] = [bytes(p) for p in packets]
                clip["sound_s"] = [p.pts * p.time_base for p in packets]
        return Clip(**{"sound": [], "sound_s": [], **clip})

    return read


@pytest.fixture
def threads_left() -> Callable[[], list[str]]:
    """Names of threads of the pipeline that still run."""

    def left() -> list[str]:
        return [t.name for t in threading.enumerate() if t.name.startswith("nstc-")]

    return left
