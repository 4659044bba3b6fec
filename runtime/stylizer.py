"""Pictures in a painting's style, from Python: arrays, Pillow images and files."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, Unpack, overload

import numpy as np
from PIL import Image

from nstc.core import images, zoo
from nstc.core.bundle import TILES_ARTIFACT, Bundle, artifact_file, artifact_name, open_bundle
from nstc.core.errors import OptionError
from nstc.core.images import Picture, Pixels, picture_files
from nstc.core.images.picture import contact_sheet, with_colors
from nstc.runtime import arrays, bounded, onnx_session
from nstc.runtime.control import PLAIN, Control, ControlOptions, controlled
from nstc.runtime.session import open_session, usual_artifact

DEFAULT_MODEL: Final = "zoo:starry-night"
PRECISIONS: Final = ("int8", "float")
_SHEET_SIDE: Final = 512  # pixels of the longer side of each picture of `write_zoo_sheet`


class Stylizer:
    """Stylises pictures with one model, whose session is opened once.

    A copy, or one that was pickled for another process, holds the model's path and the options,
    and opens the model there again.

    Args:
        model: A bundle, its path or its zoo name.
        precision: int8 or float; by default int8, of a bundle of weights alone float.
        artifact: Which of its files runs, where that is neither: ts, pte, int8.512x512.onnx.
        threads: Threads to compute with; None leaves it to the backend.
        provider: Where ONNX Runtime computes: cpu, cuda, or what else is installed.
        max_ram_bytes: What the process may hold, libraries and pictures included; None for any
            amount. Pictures that don't fit are cut into tiles.
        approximate_tiles: Whether a network that can't be cut exactly may be cut all the same.
        trust: Whether a program of the bundle, TorchScript or ExecuTorch, may be loaded.

    Attributes:
        session: The opened network.
        bounded: What keeps to `max_ram_bytes`; None without.

    Raises:
        NstcError: as `nstc.runtime.session.open_session`; `OptionError` where precision and
            artifact, or provider and limit, contradict.
    """

    def __init__(
        self,
        model: str | Path | Bundle = DEFAULT_MODEL,
        *,
        precision: str | None = None,
        artifact: str | None = None,
        threads: int | None = None,
        provider: str = onnx_session.CPU,
        max_ram_bytes: int | None = None,
        approximate_tiles: bool = False,
        trust: bool = False,
    ) -> None:
        if isinstance(model, Bundle):
            self._model: str | Path = model.path.absolute()
        else:  # a folder is called by another name from another working folder
            self._model = model if str(model).startswith(zoo.PREFIX) else Path(model).absolute()
        self._options: dict[str, Any] = {
            "precision": precision,
            "artifact": artifact,
            "threads": threads,
            "provider": provider,
            "max_ram_bytes": max_ram_bytes,
            "approximate_tiles": approximate_tiles,
            "trust": trust,
        }
        asked = artifact_of(precision, artifact)
        self._bundle = model if isinstance(model, Bundle) else open_bundle(model)
        artifact = asked or usual_artifact(self._bundle)
        self._tiles = max_ram_bytes if approximate_tiles else None
        self.bounded: bounded.BoundedStylizer | None = None
        self._judged = False
        opening: dict[str, Any] = {"artifact": artifact, "threads": threads, "trust": trust}
        if max_ram_bytes is None:
            self.session = open_session(self._bundle, provider=provider, **opening)
            return
        if provider.lower() != onnx_session.CPU:
            raise OptionError(
                f"--max-ram is of this machine's memory and provider is {provider}, which has its "
                "own: leave out one of the two."
            )
        self.bounded = bounded.bounded_stylizer(
            self._bundle, limit_bytes=max_ram_bytes, approximate=approximate_tiles, **opening
        )
        self.session = self.bounded.session
        self._judge()  # in tiles, of which many are of one colour

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[str | Path]]:
        return partial(type(self), **self._options), (self._model,)

    @property
    def identity(self) -> str:
        """Equal for two that give the same pictures, whatever limit they keep to."""
        name = self.session.artifact
        if name == TILES_ARTIFACT:  # the int8 network, to the bit
            name = artifact_name("int8")
        record = self._bundle.manifest.files.get(artifact_file(name))
        file = None if record is None else record.sha256
        return "|".join(map(str, (self._bundle.identity, name, file, self._tiles)))

    @overload
    def __call__(self, image: Pixels, **options: Unpack[ControlOptions]) -> Pixels: ...
    @overload
    def __call__(
        self, image: str | Path | Image.Image, **options: Unpack[ControlOptions]
    ) -> Image.Image: ...
    def __call__(
        self, image: str | Path | Image.Image | Pixels, **options: Unpack[ControlOptions]
    ) -> Image.Image | Pixels:
        """Stylise a file, of an animation the first frame, a Pillow image of any mode, or an array.

        Arrays are (H, W, 3) uint8, or (H, W, 4) with alpha. The options are those of
        `nstc.runtime.control.Control`.

        Returns:
            An array for an array, otherwise a Pillow image, RGBA if the picture has an alpha
            channel and RGB if not. Of the same size, unless `size` says otherwise.

        Raises:
            ImageError: it can't be read as a picture.
            MemoryLimitError: it does not fit into `max_ram_bytes`.
            OptionError: an option is out of range.
        """
        control = Control(**options)
        if control.warning is not None:  # a caller from Python sees no command line
            warnings.warn(control.warning, stacklevel=2)
        if isinstance(image, np.ndarray):
            alpha = image[:, :, 3] if image.ndim == 3 and image.shape[2] == 4 else None
            rgb = image if alpha is None else np.ascontiguousarray(image[:, :, :3])
            made = self.stylize(Picture(rgb=arrays.checked(rgb), alpha=alpha), control)
            return made.rgb if made.alpha is None else np.dstack([made.rgb, made.alpha])
        if isinstance(image, Image.Image):
            return self.stylize(images.picture_of(image), control).as_image()
        with picture_files.ImageFile(Path(image)) as file:
            return self.stylize_file(file, control).as_image()

    def stylize(self, picture: Picture, control: Control = PLAIN) -> Picture:
        """Stylise the colours; the alpha channel and the metadata are kept."""
        if self.bounded is None:
            stylized = controlled(picture.rgb, control, self.transfer)
        else:
            stylized = self.bounded.stylized(picture.rgb, control)
        return with_colors(picture, stylized)

    def stylize_file(
        self,
        file: picture_files.ImageFile,
        control: Control = PLAIN,
        *,
        output_format: str | None = None,
        piped: bool = False,
    ) -> Picture:
        """Decode and stylise a file; with a limit, see `BoundedStylizer.stylized_file`.

        `ImageError` if it is truncated or damaged; `MemoryLimitError` if it does not fit, and
        nothing was decoded.
        """
        if self.bounded is None:
            return self.stylize(file.picture(), control)
        return self.bounded.stylized_file(file, control, output_format=output_format, piped=piped)

    def transfer(self, rgb: Pixels) -> Pixels:
        """The network alone: (H, W, 3) uint8 to the same size. All that is stylised passes here.

        `UnusableModelError` if it gives values that are not finite, or one colour for any picture.
        """
        if self.bounded is not None:
            return self.bounded.stylized(rgb)
        stylized = self.session.run(rgb)
        if arrays.is_one_colour(stylized):
            self._judge()
        return stylized

    def _judge(self) -> None:
        """Refuse a model that has but one colour; asked once, where it may be the photograph's."""
        if not self._judged:
            size = getattr(self.session, "fixed_size", None)
            arrays.refuse_without_picture(self.session.run, self.session.path, size)
            self._judged = True


def artifact_of(precision: str | None, artifact: str | None) -> str | None:
    """Which file is asked for by `--precision` or `--artifact`; None leaves it to the bundle.

    `OptionError` if there is no such precision, or the two contradict.
    """
    if precision is None:
        return artifact
    if precision not in PRECISIONS:
        raise OptionError(f"precision is {precision}: expected {' or '.join(PRECISIONS)}.")
    if artifact is not None and artifact != precision:
        raise OptionError(f"precision is {precision} and artifact {artifact}: give one of the two.")
    return precision


def write_zoo_sheet(photo: Path, output: Path) -> tuple[str, ...]:
    """Write a photograph, scaled to 512 pixels, and the picture that each student of the zoo gives.

    Returns the students' names in the order of the sheet.

    Raises:
        ImageError: the photograph can't be read.
        OptionError: the two are one file, or the ending is not a picture's.
        OutputError: the output can't be written.
        BundleError: a student is damaged.
    """
    if photo.resolve() == output.resolve():
        raise OptionError(f"{output} is the photograph itself: name another output.")
    picture = images.resize_longer_side(images.read_picture(photo).rgb, _SHEET_SIDE)
    names = zoo.zoo_students()
    shown = [picture, *(Stylizer(name)(picture) for name in names)]
    labels = ("photograph", *(name.removeprefix(zoo.PREFIX) for name in names))
    images.write_picture(output, Picture(rgb=contact_sheet([shown], labels)))
    return names
