"""Logs of a training: the losses of every step, as curves too, and previews."""

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from nstc.core import errors, files, photos
from nstc.core.decoding import DecodingError, as_readable, decode, parse_json, read_file
from nstc.core.images import Picture, Pixels, picture, write_picture
from nstc.models.tensors import images_to_tensor, mixed_precision, tensor_to_images

LOSSES_FILE: Final = "losses.jsonl"
MAX_BYTES: Final = 1024**3  # of a loss file; that of a million steps has some 150 MB
_WIDTH, _HEIGHT = 900, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 110, 24, 44
_SUPERSAMPLING: Final = 2
_POINTS: Final = 200
_FLOOR: Final = 1e-4
_COLORS: Final = ("#0b6e99", "#d9730d", "#448361", "#9065b0", "#c14c8a", "#787774")

# A line of a loss file a step: "step" and the terms' values, NaN where one was not finite.
Losses = Sequence[Mapping[str, float]]


def read_losses(path: Path) -> Losses:
    """The lines of a loss file of an `Optimisation`; `CorruptBundleError` if it is not one."""
    try:
        return [read_line(line) for line in read_file(path, MAX_BYTES).splitlines()]
    except (OSError, DecodingError) as error:
        raise errors.CorruptBundleError(
            f"{path} can't be read: {error}. Run again without --resume to start afresh."
        ) from error


def read_line(line: bytes) -> Mapping[str, float]:
    """A step and its terms by name; `DecodingError` if it is not a whole line of such a file."""
    losses = decode(parse_json(line), dict[str, float | None])
    if losses.get("step") is None:
        raise DecodingError("a line has no step")
    return {name: math.nan if value is None else value for name, value in losses.items()}


@contextlib.contextmanager
def loss_log(
    folder: Path, done: int, leads: bool
) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Append a line a step to the loss file, after the `done` steps that a checkpoint holds."""
    if not leads:
        yield lambda _step, _losses: None
        return
    path = folder / LOSSES_FILE

    def is_kept(line: bytes) -> bool:
        """Whether it is whole, and of a step that is not repeated: a killed run logs more."""
        try:
            return int(read_line(line)["step"]) < done
        except DecodingError:
            return False

    kept: list[bytes] = []
    if path.is_file():
        with files.reported_as_output_error(path):
            kept = path.read_bytes().splitlines(keepends=True)
    with files.atomic_file(path) as draft:
        draft.write_bytes(b"".join(line for line in kept if is_kept(line)))

    def write(step: int, losses: Mapping[str, float]) -> None:
        rounded = {name: round(value, 5) for name, value in losses.items()}
        with files.reported_as_output_error(path):
            stream.write((json.dumps(as_readable({"step": step, **rounded})) + "\n").encode())

    # Unbuffered: on a full disk what a buffer still holds would fail again as the file is closed.
    with path.open("ab", buffering=0) as stream:
        yield write


def last_losses(losses: Losses) -> dict[str, float]:
    """The mean of each term over the last tenth of the steps, at least one.

    Values that are not finite are left out, and so is a term that has no others.
    """
    last = losses[-max(1, len(losses) // 10) :]
    return {name: float(f"{np.mean(values):.4g}") for name, (_, values) in _finite(last).items()}


def loss_curves(losses: Losses) -> Pixels:
    """The terms over the steps as a picture (H, W, 3) uint8; there is at least one line.

    Medians of some steps each, on a logarithmic scale.
    """
    found = {name: (_smoothed(at), _smoothed(v)) for name, (at, v) in _finite(losses).items()}
    curves = {name: (at, curve) for name, (at, curve) in found.items() if max(curve) > _FLOOR}
    values = [max(v, _FLOOR) for _, curve in curves.values() for v in curve]
    low = math.floor(math.log10(min(values, default=0.1)))
    high = max(math.ceil(math.log10(max(values, default=1))), low + 1)
    steps = losses[-1]["step"] + 1

    def place(step: float, value: float) -> tuple[float, float]:
        up = (math.log10(max(value, _FLOOR)) - low) / (high - low)
        x = _LEFT + step / steps * (_WIDTH - _LEFT - _RIGHT)
        y = _TOP + (1 - up) * (_HEIGHT - _TOP - _BOTTOM)
        return x * _SUPERSAMPLING, y * _SUPERSAMPLING

    # Drawn large and scaled down, so that lines are smooth.
    image = Image.new("RGB", (_WIDTH * _SUPERSAMPLING, _HEIGHT * _SUPERSAMPLING), "white")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=15 * _SUPERSAMPLING)
    for value in (10.0**decade for decade in range(low, high + 1)):
        left, y = place(0, value)
        pen.line([(left, y), place(steps, value)], "#dddddd", 2)
        pen.text((left - 12, y), f"{value:g}", "#555555", font, anchor="rm")
    for step in (steps * part / 4 for part in range(5)):
        x, y = place(step, 10.0**low)
        pen.text((x, y + 12), f"{step:.0f}", "#555555", font, anchor="mt")
    labels: list[float] = []
    for (name, (at, curve)), color in zip(curves.items(), _COLORS, strict=False):
        points = [place(step, value) for step, value in zip(at, curve, strict=True)]
        pen.line(points, color, 2 * _SUPERSAMPLING, joint="curve")
        x, y = points[-1]
        while any(abs(y - other) < 16 * _SUPERSAMPLING for other in labels):
            y += 4 * _SUPERSAMPLING  # labels that would cover each other go down
        labels.append(y)
        pen.text((x + 12, y), name, color, font, anchor="lm")
    return np.asarray(image.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS))


def _finite(losses: Losses) -> dict[str, tuple[list[float], list[float]]]:
    """Of each term the steps, from 1, at which it was finite, and its values there."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for name in losses[0]:
        lines = [line for line in losses if math.isfinite(line[name])]
        if lines and name != "step":
            found[name] = [line["step"] + 1 for line in lines], [line[name] for line in lines]
    return found


def _smoothed(values: Sequence[float]) -> list[float]:
    """Medians of at most `_POINTS` equal parts: single steps jump with their crops."""
    parts = np.array_split(np.asarray(values, dtype=float), min(_POINTS, len(values)))
    return [float(np.median(part)) for part in parts]


def refuse_preview_interval(every: int | None) -> None:
    """Raise `OptionError` for steps between previews that are fewer than one."""
    if every is not None and every < 1:
        raise errors.OptionError(
            f"preview-every is {every}: expected a whole number of at least 1."
        )


FIRST_PREVIEWS: Final = (10, 30)
PREVIEW_EVERY: Final = 100


@dataclass(frozen=True)
class Previews:
    """Sheets of sample photographs above their stylised pictures, as files `step-00030.jpg`."""

    network: nn.Module
    folder: Path
    last: int  # step after which training ends
    first: Sequence[int] = FIRST_PREVIEWS
    every: int = PREVIEW_EVERY
    name: str = "step"

    def show(self, finished: int) -> None:
        """Write a sheet if one is due after so many steps."""
        if finished in self.first or finished % self.every == 0 or finished == self.last:
            sheet = preview_sheet(self.network, list(photos.sample_photos().take(4).squares(256)))
            write_picture(self.folder / f"{self.name}-{finished:05d}.jpg", Picture(rgb=sheet))


def preview_sheet(network: nn.Module, squares: list[Pixels]) -> Pixels:
    """Photographs (S, S, 3) uint8 above their stylised pictures."""
    return picture.contact_sheet([squares, stylised_squares(network, squares)])


def stylised_squares(network: nn.Module, squares: list[Pixels]) -> list[Pixels]:
    """A network's pictures of photographs (S, S, 3) uint8, in the mode it is in."""
    device = next(network.parameters()).device
    with torch.inference_mode(), mixed_precision(device):
        return tensor_to_images(network(images_to_tensor(squares).to(device)))
