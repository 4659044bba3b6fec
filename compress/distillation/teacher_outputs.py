"""What a teacher is asked for: pictures of parts of photographs, their flicker and their losses.

A teacher costs a hundred times its student, and its pictures never change: each part is stylised
once, whatever runs come later, and kept on disk.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from nstc.benchmarks.quality.picture_metrics import flicker
from nstc.compress.distillation.teachers import Teacher
from nstc.compress.learning.processes import mixed_precision
from nstc.core.decoding import DecodingError, decode, parse_json, read_file
from nstc.core.errors import CorruptBundleError, Interrupted, OptionError
from nstc.core.files import atomic_file, sha256_of
from nstc.core.files.atomic import locked
from nstc.core.files.cache import cache_folder
from nstc.core.images import Pixels, centre_square, read_picture
from nstc.core.photos import PhotoSet, random_crop
from nstc.core.progress import Progress
from nstc.core.recipe import DistillRecipe
from nstc.models.losses import (
    CONTENT_LAYERS,
    SHAKES,
    STYLE_LAYERS,
    ContentLoss,
    StyleLoss,
    checkerboard_energy,
    unsteadiness,
)
from nstc.models.tensors import images_to_tensor, tensor_to_images
from nstc.models.vgg import VggFeatures


@dataclass(frozen=True, kw_only=True)
class RandomCrops:
    """Crops at random places and scales."""

    size: int  # side of a crop in pixels
    jitter: float  # of their colours, see `random_crop`
    seed: int  # of the places

    def text(self, photo_sha256: str, number: int) -> str:
        """All that the crop `number` of a photograph depends on: what is cut otherwise, differs."""
        return f"crop-2|{photo_sha256}|{self.size}|{number}|{self.jitter}|{self.seed}"

    def __call__(self, path: Path, seed: int) -> Pixels:
        """A crop (size, size, 3) of a photograph; what is random in it comes from the seed."""
        rng = np.random.default_rng(seed)
        return random_crop(path, self.size, rng, zoom=2.0, enlarged=1.5, jitter=self.jitter)


@dataclass(frozen=True, kw_only=True)
class CentreSquares:
    """The largest squares in the middle, as students are judged on; used like `RandomCrops`."""

    size: int  # what their side is made, in pixels

    def text(self, photo_sha256: str, number: int) -> str:
        """See `RandomCrops.text`."""
        return f"centre-1|{photo_sha256}|{self.size}|{number}"

    def __call__(self, path: Path, _seed: int) -> Pixels:
        """A square (size, size, 3); nothing in it is random."""
        return centre_square(read_picture(path).rgb, self.size)


Cut = RandomCrops | CentreSquares
"""How squares are cut out of photographs."""


class TeacherOutputs:
    """Pairs of a square of a photograph and the teacher's picture of it, kept on disk.

    Args:
        teacher: From (size, size, 3) uint8 to the same.
        teacher_sha256: Of the teacher; pictures of another one are never mixed in.
        photos: Where squares are cut.
        cut: How.
        each: How many of each photograph.
    """

    def __init__(
        self,
        teacher: Callable[[Pixels], Pixels],
        teacher_sha256: str,
        photos: PhotoSet,
        *,
        cut: Cut,
        each: int = 1,
    ) -> None:
        self.teacher = teacher
        self._cut = cut
        self.folder = cache_folder("teacher-outputs") / teacher_sha256[:24]
        hashes = [sha256_of(path) for path in photos]
        self._entries = [
            (path, hashlib.sha256(cut.text(digest, number).encode()).hexdigest())
            for number in range(each)
            for path, digest in zip(photos, hashes, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._entries)

    def missing(self) -> list[int]:
        """Indices of the pairs that are not in the cache yet."""
        return [index for index in range(len(self)) if not self.file(index).is_file()]

    def name(self, index: int) -> str:
        """What a pair is known by: its photograph, place and size, for this teacher."""
        return self._entries[index][1]

    def file(self, index: int, ending: str = ".npy") -> Path:
        """Where a pair is kept, or with another ending what else is known of it."""
        return self.folder / f"{self.name(index)[:32]}{ending}"

    def make(self, index: int) -> None:
        """Stylise one square and keep the pair.

        Raises:
            ImageError: the photograph can't be decoded.
            OutputError: the cache can't be written.
        """
        path, key = self._entries[index]
        square = self._cut(path, int(key[:16], 16))
        pair = np.stack([square, self.teacher(square)])
        with atomic_file(self.file(index)) as draft, draft.open("wb") as stream:
            np.save(stream, pair, allow_pickle=False)

    def __getitem__(self, index: int) -> tuple[Pixels, Pixels]:
        """A square and its stylised picture, both (size, size, 3) uint8.

        Raises:
            CorruptBundleError: the cached file is damaged.
        """
        file = self.file(index)
        try:
            with file.open("rb") as stream:
                pair = np.lib.format.read_array(stream, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise damaged(file) from error
        if pair.dtype != np.uint8 or pair.shape != (2, self._cut.size, self._cut.size, 3):
            raise damaged(file)
        return pair[0], pair[1]


_LEAST_FLICKER: Final = 0.002
"""Of a teacher: pictures that never change are nothing to divide by."""


class TeacherFlicker:
    """How much each of a teacher's pictures flickers, kept on disk beside them.

    The pictures that are asked about must be made.
    """

    def __init__(self, pairs: TeacherOutputs) -> None:
        self._pairs = pairs
        self.folder = pairs.folder

    def __len__(self) -> int:
        return len(self._pairs)

    def _file(self, index: int) -> Path:
        return self._pairs.file(index, ".flicker.json")

    def missing(self) -> list[int]:
        """Indices of those that are not known yet."""
        return [index for index in range(len(self)) if not self._file(index).is_file()]

    def make(self, index: int) -> None:
        """Ask the teacher for four more pictures, see `quality.flicker`, and keep it.

        Raises:
            OutputError: the cache can't be written.
        """
        found = flicker(self._pairs.teacher, *self._pairs[index])
        with atomic_file(self._file(index)) as draft:
            draft.write_text(json.dumps(found), encoding="utf-8")

    def __getitem__(self, index: int) -> float:
        """From 0.002 to 1.

        Raises:
            CorruptBundleError: the cached file is damaged.
        """
        file = self._file(index)
        try:
            return max(decode(parse_json(read_file(file)), float), _LEAST_FLICKER)
        except (OSError, DecodingError) as error:
            raise damaged(file) from error


def damaged(file: Path) -> CorruptBundleError:
    """What to raise of a file in the cache."""
    return CorruptBundleError(f"{file} in the cache is damaged: delete it and run again.")


JUDGED_SIZE = 512
"""In pixels, of photographs and paintings: what students are judged at."""

_JUDGED_PHOTOS = 32
"""At most so many of the photographs tell how the balance of what is judged stands."""

Kept = TypeVar("Kept", TeacherOutputs, TeacherFlicker)


class Judged(NamedTuple):
    """Whole photographs as students are judged on them."""

    pairs: TeacherOutputs  # with the teacher's pictures
    flicker: TeacherFlicker  # of those


@dataclass(frozen=True, kw_only=True)
class TeacherPictures:
    """What a teacher's students learn from and are balanced on, made when it is first asked for.

    Raises:
        Interrupted: the user pressed Ctrl-C; what was made is kept.
        OptionError: the teacher takes no pictures of the size that is asked for.
    """

    teacher: Teacher
    photos: PhotoSet  # what it is asked about
    recipe: DistillRecipe  # what a distillation needs
    progress: Progress  # told of every picture

    def make(self) -> None:
        """Make everything that the recipe's stages will ask for."""
        _ = self.crops
        if self.recipe.steps:
            _ = self.judged

    @functools.cached_property
    def crops(self) -> TeacherOutputs:
        """What the stages learn from."""
        recipe = self.recipe
        cut = RandomCrops(size=recipe.size, jitter=recipe.color_jitter, seed=recipe.seed)
        return self._made(self._outputs(self.photos, cut, each=recipe.crops))

    @functools.cached_property
    def judged(self) -> Judged | None:
        """Whole photographs, where the recipe asks for a balance."""
        if not self.recipe.goals_in_balance:
            return None
        few = self.photos.take(_JUDGED_PHOTOS)
        try:
            pairs = self._made(self._outputs(few, CentreSquares(size=JUDGED_SIZE)))
            return Judged(pairs, self._made(TeacherFlicker(pairs), "teacher flicker"))
        except OptionError as error:
            raise OptionError(
                f"{error} Balancing the losses asks for {JUDGED_SIZE}x{JUDGED_SIZE} pictures: "
                "give --no-balance to do without."
            ) from error

    def _outputs(self, photos: PhotoSet, cut: Cut, each: int = 1) -> TeacherOutputs:
        return TeacherOutputs(self.teacher.stylize, self.teacher.key, photos, cut=cut, each=each)

    def _made(self, kept: Kept, title: str = "teacher outputs") -> Kept:
        """What is kept on disk; what is missing is made now."""
        if not kept.missing():
            return kept
        with locked(kept.folder):  # another run may be asking the same teacher
            missing = kept.missing()
            done = len(kept) - len(missing)
            self.progress.begin(title, len(kept), done)
            try:
                for index in missing:
                    kept.make(index)
                    done += 1
                    self.progress.advance(done, {})
            except KeyboardInterrupt as interrupt:
                raise Interrupted(
                    f"stopped, {done} of {len(kept)} pictures of the teacher are kept. "
                    "Run the same command again to go on."
                ) from interrupt
        return kept


_LEAST_LOSS = 0.05  # of a teacher: what copies a photograph or a painting has next to none
_LEAST_CHANGE = 0.002  # of its pictures' values, likewise
_LEAST_GRID = 5e-6  # of their checkerboard energy, a tenth of photographs' own

_FEW = 16
"""Pictures whose mean its unsteadiness, for which each is stylised once more, and its grid are."""


class TeacherLosses:
    """What a teacher itself reaches in what its student is judged by: the units of that.

    Style and content losses of its pictures, each asked of VGG once; change and grid.

    Args:
        vgg: The feature network; its device is where the work is done.
        grams: The painting's Gram matrix (C, C) of each style layer.
    """

    def __init__(self, vgg: VggFeatures, grams: Mapping[str, Tensor]) -> None:
        self.vgg = vgg
        self.device = next(vgg.parameters()).device
        self.style = StyleLoss(grams).to(self.device)
        self.content = ContentLoss()
        self._known: dict[str, tuple[float, float]] = {}
        self._changes: dict[str, float] = {}
        self._grids: dict[tuple[str, int], float] = {}

    def of(
        self, names: Sequence[str], targets: Tensor, photographs: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The style and the content loss (N,) of pictures, at least 0.05.

        Args:
            names: What each pair, and the part of it that is looked at, is known by.
            targets: The teacher's pictures (N, 3, H, W) in [0, 1].
            photographs: Features (N, C, h, w) of what it made them of, of each content layer.
        """
        for place, name in enumerate(names):
            if name not in self._known:
                one = slice(place, place + 1)
                seen = self.look(targets[one], STYLE_LAYERS)
                photograph = {layer: features[one] for layer, features in photographs.items()}
                style, content = self.style(seen), self.content(seen, photograph)
                self._known[name] = float(style), float(content)
        losses = torch.tensor([self._known[name] for name in names], device=self.device)
        style, content = losses.clamp_min(_LEAST_LOSS).unbind(1)
        return style, content

    def ratios(
        self,
        names: Sequence[str],
        seen: Mapping[str, Tensor],
        targets: Tensor,
        photographs: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The style and the content loss (N,) of a student's pictures over those of `of`.

        Args:
            names: See `of`.
            seen: Features of the student's pictures, of all style layers.
            targets: See `of`.
            photographs: What both were made of, (N, 3, H, W) in [0, 1].
        """
        features = self.look(photographs, CONTENT_LAYERS)
        style, content = self.of(names, targets, features)
        return self.style(seen) / style, self.content(seen, features) / content

    def change(self, pairs: TeacherOutputs) -> float:
        """How far its pictures of some pairs change beyond the photographs, from 0.002.

        See `unsteadiness`; worked out once for all steps, as is `grid`.
        """

        def stylised(images: Tensor) -> Tensor:
            return images_to_tensor([pairs.teacher(p) for p in tensor_to_images(images)])

        known_as = pairs.name(0)
        if known_as not in self._changes:
            few, found = _few_of(pairs), []
            for turn in range(max(len(few), len(SHAKES))):
                index, axes = few[turn % len(few)], SHAKES[turn % len(SHAKES)]
                photograph, target = (images_to_tensor([pixels]) for pixels in pairs[index])
                rng = np.random.default_rng(index)
                found.append(float(unsteadiness(stylised, photograph, target, axes, rng).mean()))
            self._changes[known_as] = max(float(np.mean(found)), _LEAST_CHANGE)
        return self._changes[known_as]

    def grid(self, pairs: TeacherOutputs, period: int) -> float:
        """The energy in its pictures of a grid of some period in pixels, from 0.000005.

        See `checkerboard_energy`.
        """
        known_as = pairs.name(0), period
        if known_as not in self._grids:
            few = (images_to_tensor([pairs[index][1]]) for index in _few_of(pairs))
            found = [float(checkerboard_energy(picture, period)) for picture in few]
            self._grids[known_as] = max(float(np.mean(found)), _LEAST_GRID)
        return self._grids[known_as]

    def look(self, images: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        """Features of images that nothing is learned through."""
        with torch.no_grad(), mixed_precision(self.device):
            found: Mapping[str, Tensor] = self.vgg(images, layers)
        return found


def _few_of(pairs: TeacherOutputs) -> range:
    return range(0, len(pairs), -(-len(pairs) // _FEW))
