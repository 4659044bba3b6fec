"""Optimised pictures of photographs in a bundle's style, kept in the user's cache.

They are what `nstc bench --against optimized` compares networks with.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec

from nstc.benchmarks.quality.optimized_pictures import OptimizedPhoto
from nstc.compress.export import export_model
from nstc.compress.optimization import inputs, optimize_picture, planning
from nstc.core import VERSION, Progress, Silent, errors, files
from nstc.core.decoding import DecodingError, decode, read_json
from nstc.core.images import Picture, Pixels, read_picture, write_picture
from nstc.core.photos import PhotoSet
from nstc.core.recipe import OptimizeRecipe
from nstc.models.style import StyleStatistics
from nstc.models.vgg import vgg_identity

# It changes where the same settings give other pictures, between two versions of nstc.
_METHOD: Final = "nstc.optimized/1"
_ADVICE: Final = "delete it, and the picture is made again"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Record:
    """What is kept beside a picture."""

    seconds: Annotated[float, msgspec.Meta(ge=0, le=1e9)]


def optimized_photos(
    photos: PhotoSet,
    style: StyleStatistics,
    *,
    size: int,
    steps: int,
    vgg: str = "shipped",
    progress: Progress | None = None,
) -> list[OptimizedPhoto]:
    """Optimise a picture of each photograph's centre square, by `nstc.optimize`'s usual settings.

    What was made before is read from the cache.

    Args:
        photos: The photographs.
        style: The style's Gram matrices; no painting is needed.
        size: Side of the pictures in px.
        steps: Optimizer steps for each picture.
        vgg: See `nstc.models.vgg.load_vgg`.
        progress: Receives the steps of all pictures that are to be made.

    Raises:
        OptionError: size or steps are out of range.
        Interrupted: the user pressed Ctrl-C; pictures that were finished are kept.
        DivergedError: a loss became infinite.
        CorruptBundleError: a record in the cache is damaged.
        OutputError: the cache can't be written.
    """
    progress = progress or Silent()
    recipe = OptimizeRecipe(size=size, steps=steps)
    scales = planning.scales(recipe, (size, size))
    of_one = sum(planning.shared_steps(steps, len(scales)))
    key = [_METHOD, VERSION, style.identity, vgg_identity(vgg), dataclasses.asdict(recipe)]
    targets = [_cached(key, square) for square in photos.squares(size)]
    missing = sum(_read(target) is None for target in targets)
    if missing:
        progress.begin("optimized pictures", missing * of_one, 0)
    made, found = 0, []
    for path, square, target in zip(photos, photos.squares(size), targets, strict=True):
        with files.locked(target):
            known = _read(target)
            if known is None:  # nor has another run made it meanwhile
                counted = _Counted(progress, made * of_one)
                try:
                    known = _optimized(square, style, target, recipe, vgg, counted)
                except errors.Interrupted as error:
                    raise errors.Interrupted(
                        f"the picture of {path.name} was not finished: {made} of {missing} are "
                        "made and kept in the cache. Run the same command again for the others."
                    ) from error
                made += 1
                progress.note(
                    f"{path.name} optimized in {known.seconds:.0f} s ({made}/{missing}): it is "
                    "kept in the cache"
                )
        found.append(known)
    return found


def _cached(key: Sequence[object], square: Pixels) -> Path:
    """Where the picture of a square is kept; it may not exist yet."""
    own = [*key, hashlib.sha256(square.tobytes()).hexdigest()]
    name = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()
    return files.cached("optimized", f"{name}.png")


def _read(target: Path) -> OptimizedPhoto | None:
    """A picture from the cache; None if it was not finished."""
    if not target.is_file():
        return None
    file = target.with_suffix(".json")
    kinds = errors.CorruptBundleError, errors.CorruptBundleError
    content = read_json(file, *kinds, advice=_ADVICE)
    try:
        record = decode(content, _Record)
    except DecodingError as error:
        raise errors.CorruptBundleError(
            f"{file} is of another form: {error}. Delete it and {target.name}, and the picture is "
            "made again."
        ) from error
    return OptimizedPhoto(rgb=read_picture(target).rgb, seconds=record.seconds)


def _optimized(
    square: Pixels,
    style: StyleStatistics,
    target: Path,
    recipe: OptimizeRecipe,
    vgg: str,
    progress: Progress,
) -> OptimizedPhoto:
    """Optimise the picture of a square, and keep it at `target`, with its record beside it."""
    given = inputs.known_style(square, style)
    with files.scratch_folder() as folder:  # where an unfinished picture goes
        made = optimize_picture.optimized(
            given, folder / target.name, recipe=recipe, vgg=vgg, progress=progress
        )
    record = dataclasses.asdict(_Record(seconds=made.seconds))
    files.write_text(target.with_suffix(".json"), json.dumps(record) + "\n")
    write_picture(target, Picture(rgb=made.rgb))  # last: it says that all is there
    return OptimizedPhoto(rgb=made.rgb, seconds=made.seconds)


class _Counted(Progress):
    """Adds the stages of one picture, its scales, to the one stage of all pictures."""

    def __init__(self, whole: Progress, done: int) -> None:
        """`done` are the steps before this picture."""
        self._whole, self._done = whole, done
        self._stage = 0  # steps of the scales before this one, and of this one

    def begin(self, title: str, steps: int, done: int) -> None:  # noqa: ARG002
        """A scale begins."""
        self._done, self._stage = self._done + self._stage, steps

    def advance(self, step: int, losses: Mapping[str, float]) -> None:
        """Report it among all steps."""
        self._whole.advance(self._done + step, losses)

    def note(self, message: str) -> None:
        """Pass it on."""
        self._whole.note(message)


bench = export_model.supplied(export_model.bench, __name__, optimize=optimized_photos)
