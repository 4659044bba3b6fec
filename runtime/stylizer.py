"""Pictures in a painting's style: arrays, Pillow images and files."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, overload

import numpy as np
from PIL import Image

from nstc.core.bundle import Bundle
from nstc.core.errors import ImageError, NstcError, OptionError, OutputError
from nstc.core.images import (
    FORMATS,
    Picture,
    Pixels,
    format_of,
    picture_of,
    read_picture,
    write_picture,
)
from nstc.runtime.session import DEFAULT_ARTIFACT, open_session

DEFAULT_MODEL: Final = "zoo:starry-night"
_ENDING_FOR_THE_REST: Final = ".png"


class Stylizer:
    """Paints pictures with one model.

    Args:
        model: A bundle, its path or its zoo name.
        artifact: Which of its files runs: int8, float, ts, pte.
        threads: Threads to compute with; None leaves it to the backend.

    Raises:
        NstcError: of the kinds that `nstc.runtime.session.open_session` names.
    """

    def __init__(
        self,
        model: str | Path | Bundle = DEFAULT_MODEL,
        *,
        artifact: str = DEFAULT_ARTIFACT,
        threads: int | None = None,
    ) -> None:
        self.session = open_session(model, artifact=artifact, threads=threads)

    @overload
    def __call__(self, image: Pixels) -> Pixels: ...
    @overload
    def __call__(self, image: str | Path | Image.Image) -> Image.Image: ...
    def __call__(self, image: str | Path | Image.Image | Pixels) -> Image.Image | Pixels:
        """Stylise a picture.

        Args:
            image: A file, a Pillow image of any mode, or an array (H, W, 3) uint8.

        Returns:
            The same kind and size: an array for an array, otherwise a Pillow image, RGBA if the
            picture has an alpha channel and RGB if not.

        Raises:
            ImageError: it can't be read as a picture.
        """
        if isinstance(image, np.ndarray):
            return self.session.run(image)
        painted = self.paint(_opened(image))
        result = Image.fromarray(painted.rgb)
        if painted.alpha is not None:
            result.putalpha(Image.fromarray(painted.alpha))
        return result

    def paint(self, picture: Picture) -> Picture:
        """Stylise the colours and keep the alpha channel."""
        return Picture(rgb=self.session.run(picture.rgb), alpha=picture.alpha)


def _opened(image: str | Path | Image.Image) -> Picture:
    return picture_of(image) if isinstance(image, Image.Image) else read_picture(Path(image))


@dataclass(frozen=True, kw_only=True)
class Stylized:
    """A finished file.

    Attributes:
        photo: What it was made from.
        output: Where it lies.
        width: In pixels.
        height: In pixels.
        seconds: From reading the photograph to the written file.
    """

    photo: Path
    output: Path
    width: int
    height: int
    seconds: float


def stylize_files(
    photos: Sequence[Path],
    stylizer: Stylizer,
    output: Path,
    on_done: Callable[[Stylized], None] | None = None,
) -> list[Path]:
    """Stylise files to files.

    A photograph that can't be read does not keep the others from being done.

    Args:
        photos: The files.
        stylizer: What paints them.
        output: For one photograph a file; for several, or where it is a folder or has no ending of
            a picture, a folder for files of the same names.
        on_done: Called after each file.

    Returns:
        The files written.

    Raises:
        OptionError: two photographs would land on one name, or one would be overwritten.
        OutputError: the place can't be written.
        ImageError: photographs could not be stylised; the message names them all.
    """
    written: list[Path] = []
    failures: list[NstcError] = []
    for photo, target in zip(photos, output_paths(photos, output), strict=True):
        start = time.perf_counter()
        try:
            painted = stylizer.paint(read_picture(photo))
        except (ImageError, OptionError) as error:
            failures.append(error)
            continue
        write_picture(target, painted)
        written.append(target)
        if on_done is not None:
            height, width = painted.rgb.shape[:2]
            seconds = time.perf_counter() - start
            on_done(
                Stylized(photo=photo, output=target, width=width, height=height, seconds=seconds)
            )
    if failures and len(photos) == 1:
        raise failures[0]
    if failures:
        raise ImageError(
            f"{len(failures)} of {len(photos)} photographs could not be stylised: "
            + " ".join(map(str, failures))
        )
    return written


def output_paths(photos: Sequence[Path], output: Path) -> list[Path]:
    """Where each photograph's picture goes; see `stylize_files`.

    Raises:
        OptionError: two photographs would land on one name, or one would be overwritten.
        OutputError: a folder is needed where there is a file.
    """
    if not photos:
        raise OptionError("no photographs were given: name at least one.")
    if len(photos) == 1 and not output.is_dir() and _is_picture_name(output):
        format_of(output)
        targets = [output]
    else:
        _refuse_as_folder(output, len(photos))
        targets = [output / _file_name(photo) for photo in photos]
    _refuse_collisions(photos, targets)
    return targets


def _is_picture_name(path: Path) -> bool:
    return path.suffix.lower() in Image.registered_extensions()


def _refuse_as_folder(output: Path, count: int) -> None:
    if output.is_dir():
        return
    if output.exists():
        raise OutputError(f"cannot write into {output}: it is a file. Give the name of a folder.")
    if _is_picture_name(output):
        raise OptionError(
            f"output is {output}, one picture, for {count} photographs: give the name of a folder."
        )


def _file_name(photo: Path) -> str:
    ending = photo.suffix if photo.suffix.lower() in FORMATS else _ENDING_FOR_THE_REST
    return photo.stem + ending


def _refuse_collisions(photos: Sequence[Path], targets: Sequence[Path]) -> None:
    sources = {photo.resolve() for photo in photos}
    taken: dict[str, Path] = {}
    for photo, target in zip(photos, targets, strict=True):
        if target.resolve() in sources:
            raise OptionError(f"{target} is one of the photographs: choose another --output.")
        other = taken.setdefault(os.path.normcase(target), photo)
        if other is not photo:
            raise OptionError(
                f"{other} and {photo} would both be written to {target}: rename one of them, or "
                "stylise them into two folders."
            )
