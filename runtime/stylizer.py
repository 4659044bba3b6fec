"""Pictures in a painting's style, from Python: arrays, Pillow images and files."""

import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, Unpack, overload

import numpy as np
from PIL import Image

from nstc.core import images, zoo
from nstc.core.bundle import (
    NO_WEIGHTS,
    TILES_ARTIFACT,
    Bundle,
    artifact_file,
    artifact_name,
    open_bundle,
)
from nstc.core.errors import ArtifactError, OptionError
from nstc.core.images import Picture, Pixels, picture_files
from nstc.core.images.picture import contact_sheet, with_colors
from nstc.runtime import arrays, bounded, onnx_session
from nstc.runtime.control import PLAIN, Control, ControlOptions, controlled
from nstc.runtime.foreign.trial import TrialLimits, limited_to
from nstc.runtime.packs.any_painting import (
    Painting,
    ReadPainting,
    digest_of_painting,
    is_for_any,
    open_for_any,
)
from nstc.runtime.packs.blending import Blend
from nstc.runtime.packs.style_pack import Pack, open_pack
from nstc.runtime.session import Session, open_session, usual_artifact

# Of a pack a name, or weights by name; of a bundle for any painting a picture of it.
StyleOrBlend = Mapping[str, float] | Painting

DEFAULT_MODEL: Final = "zoo:starry-night"
PRECISIONS: Final = ("int8", "float")
_MOST_OPEN: Final = 8  # styles and mixtures of a pack, each of which has a network in memory
_SHEET_SIDE: Final = 512  # pixels of the longer side of each picture of `write_zoo_sheet`


class Stylizer:
    """Stylises pictures with one model, whose session is opened once.

    A copy, or one that was pickled for another process, holds the model's path and the options,
    and opens the model there again; of a painting it holds the pixels.

    Args:
        model: A bundle or an opened pack, its path or its zoo name.
        style: Of a pack of styles: one of its names, or weights by name for a mixture, which are
            divided by their sum. Of a bundle for any painting: a picture of it, a file, a Pillow
            image or an array. None: the first style, or a bundle that has but one.
        precision: int8 or float; by default int8, of a bundle of weights alone float.
        artifact: Which of its files runs, where that is neither: ts, pte, int8.512x512.onnx.
        threads: Threads to compute with; None leaves it to the backend.
        provider: Where ONNX Runtime computes: cpu, cuda, or what else is installed.
        max_ram_bytes: What the process may hold, libraries and pictures included; None for any
            amount. Pictures that don't fit are cut into tiles.
        tile: Side in pixels of the tiles that pictures are cut into, from 64 to 8192, where there
            is no such limit; None for whole pictures. A student's int8 pictures are the same.
        approximate_tiles: Whether a network that can't be cut exactly may be cut all the same.
        trust: Whether a program of the bundle, such as TorchScript, may be loaded.

    Attributes:
        session: The opened network.
        bounded: What cuts pictures into tiles; None without a limit or a side.

    Raises:
        NstcError: as `nstc.runtime.session.open_session`; `OptionError` where precision and
            artifact, or provider and limit, contradict, and as `use`.
    """

    def __init__(
        self,
        model: str | Path | Bundle | Pack = DEFAULT_MODEL,
        *,
        style: StyleOrBlend | None = None,
        precision: str | None = None,
        artifact: str | None = None,
        threads: int | None = None,
        provider: str = onnx_session.CPU,
        max_ram_bytes: int | None = None,
        tile: int | None = None,
        approximate_tiles: bool = False,
        trust: bool = False,
    ) -> None:
        self._pack = model if isinstance(model, Pack) else None  # open once a style was asked for
        if isinstance(model, Pack):
            model = model.bundle
        self._options: dict[str, Any] = {
            "style": style,
            "precision": precision,
            "artifact": artifact,
            "threads": threads,
            "provider": provider,
            "max_ram_bytes": max_ram_bytes,
            "tile": tile,
            "approximate_tiles": approximate_tiles,
            "trust": trust,
        }
        self._opened: OrderedDict[object, _Opened] = OrderedDict()  # the last that was used last
        self._given = model if isinstance(model, Bundle) else open_bundle(model)
        if isinstance(model, str) and model.startswith(zoo.PREFIX):
            self._model: str | Path = model
        else:  # a folder is called by another name from another working folder
            self._model = self._given.path.absolute()
        self._artifact = artifact_of(precision, artifact)
        self._tiles = (tile or max_ram_bytes) if approximate_tiles else None
        if tile is not None and provider.lower() != onnx_session.CPU:
            raise OptionError(
                f"tile is {tile} and provider is {provider}: tiles are of the provider cpu. Leave "
                "out one of the two."
            )
        if tile is not None and max_ram_bytes is not None:
            raise OptionError(
                f"tile is {tile} and max_ram_bytes is {max_ram_bytes}: tiles of one side keep to "
                "no limit. Leave out one of the two."
            )
        if max_ram_bytes is not None and provider.lower() != onnx_session.CPU:
            raise OptionError(
                f"--max-ram is of this machine's memory and provider is {provider}, which has its "
                "own: leave out one of the two."
            )
        self._take(style)

    def use(self, style: StyleOrBlend) -> None:
        """Stylise in another style of a pack from now on, a mixture by weights, or of a painting.

        The eight that were used last stay open: choosing one of them again takes no time.

        Raises:
            OptionError: the model has but one style, or not this one; weights can't be a mixture;
                a painting has no style.
            ImageError: a painting can't be read.
            BundleError: and its kinds, if the pack or what predicts styles is damaged.
        """
        self._take(style)

    def _take(self, style: StyleOrBlend | None) -> None:
        """Make a style's network the one that runs; it is opened where it was not used before."""
        if style is not None and is_for_any(self._given):
            style = ReadPainting.of(style)
            key: object = digest_of_painting(style.pixels)
        elif style is None or isinstance(style, str | Mapping):
            key = _key_of(style)
        else:  # an array or an image has no key
            pack = open_pack(self._pack or self._given)
            raise OptionError(
                f"{zoo.named(pack.bundle.path)} is a pack of styles, which takes no painting: give "
                f"one of {', '.join(pack.names)}."
            )
        if key not in self._opened:
            self._opened[key] = (
                self._open_for(style) if isinstance(style, ReadPainting) else self._open(style)
            )
            if len(self._opened) > _MOST_OPEN:
                self._opened.popitem(last=False)
        self._opened.move_to_end(key)
        self._current = self._opened[key]
        self._options["style"] = style  # a file is called by another name in another folder
        self.session, self.bounded = self._current.session, self._current.cut

    def _open(self, style: str | Mapping[str, float] | None) -> "_Opened":
        if style is None:
            return self._opened_bundle(self._given)
        pack = open_pack(self._pack or self._given)
        blend = Blend.of(style)
        self._pack = pack
        if blend.warning is not None:  # a caller from Python sees no command line
            warnings.warn(blend.warning, stacklevel=4)
        with pack.as_bundle(blend) as made:
            try:
                return self._opened_bundle(made, pack.shown(blend))
            except ArtifactError as error:  # which is of a bundle that nobody knows
                raise ArtifactError(
                    f"the styles of {zoo.named(pack.bundle.path)} have no {error.artifact}; they "
                    f"have {', '.join(made.artifacts)}.",
                    NO_WEIGHTS,
                ) from error

    def _open_for(self, painting: ReadPainting) -> "_Opened":
        opened = open_for_any(self._given)
        with opened.as_bundle(painting.pixels, painting.name) as made:
            try:
                return self._opened_bundle(made, opened.shown(painting.name))
            except ArtifactError as error:  # which is of a bundle that nobody knows
                raise ArtifactError(
                    f"{zoo.named(self._given.path)} has no {error.artifact} for a painting: only "
                    f"{', '.join(made.artifacts)} are made for one. Choose one of these, or leave "
                    "the painting out."
                ) from error

    def _opened_bundle(self, bundle: Bundle, shown: str | None = None) -> "_Opened":
        options = self._options
        limit, tile = options["max_ram_bytes"], options["tile"]
        artifact = self._artifact or usual_artifact(bundle)
        opening = {
            "artifact": artifact,
            "threads": options["threads"],
            "trust": options["trust"],
            "shown": shown,
        }
        if limit is None and tile is None:
            session = open_session(bundle, provider=options["provider"], **opening)
            return _Opened(bundle, session, shown)
        cut = bounded.bounded_stylizer(
            bundle,
            limit_bytes=sys.maxsize if limit is None else limit,
            tile=tile,
            approximate=options["approximate_tiles"],
            **opening,
        )
        opened = _Opened(bundle, cut.session, shown, cut)
        opened.judge(cut.session)  # in tiles, of which many are of one colour
        return opened

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[str | Path]]:
        return partial(type(self), **self._options), (self._model,)

    @property
    def identity(self) -> str:
        """Equal for two that give the same pictures, whatever limit they keep to."""
        name = self.session.artifact
        if name == TILES_ARTIFACT:  # the int8 network, to the bit
            name = artifact_name("int8")
        bundle = self._current.bundle
        record = bundle.manifest.files.get(artifact_file(name))
        file = None if record is None else record.sha256
        return "|".join(map(str, (bundle.identity, name, file, self._tiles)))

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
            self._current.judge(self.session)
        return stylized


def _key_of(style: str | Mapping[str, float] | None) -> object:
    """What tells the styles of a pack apart."""
    return tuple(sorted(style.items())) if isinstance(style, Mapping) else style


@dataclass
class _Opened:
    """The network of a style, or of a bundle that has but one."""

    bundle: Bundle
    session: Session
    shown: str | None = None  # the style in messages, where the bundle is nobody's
    cut: bounded.BoundedStylizer | None = None
    judged: bool = False

    def judge(self, session: Session) -> None:
        """Refuse a model that has but one colour; asked once, where it may be the photograph's."""
        if not self.judged:
            size = getattr(session, "fixed_size", None)
            arrays.refuse_without_picture(session.run, self.shown or session.path, size)
            self.judged = True


@dataclass(frozen=True, kw_only=True)
class Opening:
    """How a model is opened, which other processes can be told.

    `options` are the keywords of `Stylizer`; `limits` those of trying a file made by others.
    """

    model: str | Path | Bundle | Pack
    options: Mapping[str, Any]
    limits: TrialLimits

    def opened(self, **options: Any) -> Stylizer:
        """Open it, with other options in the place of its own; raises what `Stylizer` does."""
        limits = self.limits
        with limited_to(max_ram_bytes=limits.max_ram_bytes, timeout_s=limits.timeout_s):
            return Stylizer(self.model, **{**self.options, **options})


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
