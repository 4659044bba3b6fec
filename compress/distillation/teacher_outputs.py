"""What a teacher is asked for: pictures of parts of photographs, their flicker and their losses.

A teacher costs a hundred times its student, and its pictures never change: each part is stylised
once, whatever runs come later, and kept on disk.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nstc.benchmarks.quality import picture_metrics
from nstc.compress.distillation.teachers import Teacher
from nstc.compress.learning.balance import typical_energies
from nstc.compress.learning.named_losses import Targets
from nstc.core import Progress, errors
from nstc.core.decoding import DecodingError, decode, parse_json, read_file
from nstc.core.files import atomic_file, cache_folder, locked, sha256_of, write_text
from nstc.core.images import Pixels, centre_square, read_picture
from nstc.core.photos import PhotoSet, random_crop
from nstc.core.recipe import DistillRecipe
from nstc.models import losses
from nstc.models.tensors import images_to_tensor, mixed_precision, tensor_to_images
from nstc.models.vgg import VggFeatures


@dataclass(frozen=True, kw_only=True)
class Squares:
    """How squares are cut out of photographs: at random, or the largest one in the middle."""

    size: int  # side in pixels
    seed: int | None = None  # of random positions and scales; None for the middle
    jitter: float = 0.0  # of the colours of random crops, see `random_crop`
    extremes: float = 0.0  # share of random crops that are extreme, see `extreme_crop`

    def text(self, photo_sha256: str, number: int) -> str:
        """All that the square `number` of a photograph depends on: its key in the cache."""
        if self.seed is None:
            return f"centre-1|{photo_sha256}|{self.size}|{number}"
        extremes = f"|{self.extremes}" if self.extremes else ""
        return f"crop-2|{photo_sha256}|{self.size}|{number}|{self.jitter}|{self.seed}{extremes}"

    def __call__(self, path: Path, seed: int) -> Pixels:
        """A square (size, size, 3) of a photograph; what is random in it comes from `seed`."""
        rgb = read_picture(path).rgb
        if self.seed is None:
            return centre_square(rgb, self.size)
        rng = np.random.default_rng(seed)
        crop = functools.partial(
            random_crop, rgb, self.size, rng, zoom=2.0, enlarged=1.5, jitter=self.jitter
        )
        if self.extremes and rng.random() < self.extremes:
            return extreme_crop(crop, rng)
        return crop()


_CANDIDATES: Final = 8
_EXTREMES: Final[Sequence[Callable[[Pixels], float]]] = (  # of which the least is taken
    lambda crop: float(crop.std(axis=(0, 1)).mean()),  # flat
    lambda crop: float(crop.mean()),  # dark
    lambda crop: -float(crop.mean()),  # light
)


def extreme_crop(crop: Callable[[], Pixels], rng: np.random.Generator) -> Pixels:
    """The flattest, the darkest or the lightest of eight crops.

    Skies, walls and nights are where a student differs most from its teacher, and a crop at random
    is seldom full of one.
    """
    least = _EXTREMES[int(rng.integers(len(_EXTREMES)))]
    return min((crop() for _ in range(_CANDIDATES)), key=least)


_PAIR, _FLICKER = ".npy", ".flicker.json"  # endings of files in the cache

# Least values of a teacher: what copies or never changes has next to none, and is divided by.
_LEAST_FLICKER: Final = 0.002
_LEAST_CHECKERBOARD: Final = 5e-6  # a tenth of photographs' own energy

_FEW: Final = 16  # pairs that means are over, for which each is stylised once more


class TeacherOutputs:
    """Pairs of a square of a photograph and the teacher's picture of it, kept on disk.

    `each` squares are cut of each photograph. The teacher's hash keeps pictures of others apart.
    """

    def __init__(
        self,
        teacher: Callable[[Pixels], Pixels],
        teacher_sha256: str,
        photos: PhotoSet,
        *,
        cut: Squares,
        each: int = 1,
    ) -> None:
        self.teacher = teacher
        self._cut = cut
        self._checkerboards: dict[int, float] = {}
        self.folder = cache_folder("teacher-outputs") / teacher_sha256[:24]
        hashes = [sha256_of(path) for path in photos]
        self._entries = [
            (path, hashlib.sha256(cut.text(digest, number).encode()).hexdigest())
            for number in range(each)
            for path, digest in zip(photos, hashes, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._entries)

    def name(self, index: int) -> str:
        """Key of a pair: a hash of its photograph, position and size, for this teacher."""
        return self._entries[index][1]

    def file(self, index: int, ending: str = _PAIR) -> Path:
        """The file of a pair in the cache."""
        return self.folder / f"{self.name(index)[:32]}{ending}"

    def missing(self) -> list[int]:
        """Indices of the pairs that are not in the cache yet."""
        return [index for index in range(len(self)) if not self.file(index).is_file()]

    def make(self, index: int) -> None:
        """Stylise one square and keep the pair; `ImageError`, or `OutputError` of the cache."""
        path, key = self._entries[index]
        square = self._cut(path, int(key[:16], 16))
        pair = np.stack([square, self.teacher(square)])
        with atomic_file(self.file(index)) as draft, draft.open("wb") as stream:
            np.save(stream, pair, allow_pickle=False)

    def __getitem__(self, index: int) -> tuple[Pixels, Pixels]:
        """A square and its stylised picture, (size, size, 3) uint8, or `CorruptBundleError`."""
        file = self.file(index)
        try:
            with file.open("rb") as stream:
                pair = np.lib.format.read_array(stream, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise damaged(file) from error
        if pair.dtype != np.uint8 or pair.shape != (2, self._cut.size, self._cut.size, 3):
            raise damaged(file)
        return pair[0], pair[1]

    def without_flicker(self) -> list[int]:
        """Indices of the pairs whose flicker is not in the cache yet."""
        return [index for index in range(len(self)) if not self.file(index, _FLICKER).is_file()]

    def make_flicker(self, index: int) -> None:
        """Measure `picture_metrics.flicker`, of four more pictures, and keep it."""
        found = picture_metrics.flicker(self.teacher, *self[index])
        write_text(self.file(index, _FLICKER), json.dumps(found))

    def flicker(self, index: int) -> float:
        """How much the teacher's picture flickers, from 0.002 to 1, or `CorruptBundleError`."""
        file = self.file(index, _FLICKER)
        try:
            return max(decode(parse_json(read_file(file)), float), _LEAST_FLICKER)
        except (OSError, DecodingError) as error:
            raise damaged(file) from error

    @functools.cached_property
    def mean_flicker(self) -> float:
        """How far pictures of some pairs change beyond the photographs, from 0.002.

        The mean of `flicker_map`, in units of the picture.
        """

        def stylised(images: Tensor) -> Tensor:
            return images_to_tensor([self.teacher(pixels) for pixels in tensor_to_images(images)])

        few, shifts, found = self._few(), losses.SHIFTS, []
        for turn in range(max(len(few), len(shifts))):
            index, axes = few[turn % len(few)], shifts[turn % len(shifts)]
            photograph, target = (images_to_tensor([pixels]) for pixels in self[index])
            rng = np.random.default_rng(index)
            changes = losses.flicker_map(stylised, photograph, target, axes, rng)
            found.append(float(changes.mean()))
        return max(float(np.mean(found)), _LEAST_FLICKER)

    def mean_checkerboard(self, period: int) -> float:
        """The `checkerboard_energy` of the teacher's pictures, from 0.000005."""
        if period not in self._checkerboards:
            pictures = (images_to_tensor([self[index][1]]) for index in self._few())
            found = [float(losses.checkerboard_energy(picture, period)) for picture in pictures]
            self._checkerboards[period] = max(float(np.mean(found)), _LEAST_CHECKERBOARD)
        return self._checkerboards[period]

    def _few(self) -> range:
        return range(0, len(self), -(-len(self) // _FEW))


def damaged(file: Path) -> errors.CorruptBundleError:
    """What to raise of a file in the cache."""
    return errors.CorruptBundleError(f"{file} in the cache is damaged: delete it and run again.")


JUDGED_SIZE = 512  # in pixels, of photographs and paintings: what students are judged at
_JUDGED_PHOTOS = 32  # at most so many of the photographs are judged on while a student learns


def crops_for(
    recipe: DistillRecipe, teacher: Teacher, photos: PhotoSet, progress: Progress
) -> TeacherOutputs:
    """What the stages of a distillation learn from; what is not in the cache yet is made.

    `Interrupted` if the user pressed Ctrl-C, what was made is kept; `OptionError` if the teacher
    takes no pictures of the recipe's size.
    """
    cut = Squares(
        size=recipe.size,
        seed=recipe.seed,
        jitter=recipe.color_jitter,
        extremes=recipe.extreme_crops,
    )
    pairs = TeacherOutputs(teacher.stylize, teacher.key, photos, cut=cut, each=recipe.crops)
    _fill("teacher outputs", pairs, pairs.missing, pairs.make, progress)
    return pairs


def judged_for(
    recipe: DistillRecipe, teacher: Teacher, photos: PhotoSet, progress: Progress
) -> TeacherOutputs | None:
    """Whole photographs with their flicker, where the recipe asks for a balance; as `crops_for`."""
    if not recipe.goals_in_balance:
        return None
    few, cut = photos.take(_JUDGED_PHOTOS), Squares(size=JUDGED_SIZE)
    pairs = TeacherOutputs(teacher.stylize, teacher.key, few, cut=cut)
    try:
        _fill("teacher outputs", pairs, pairs.missing, pairs.make, progress)
        _fill("teacher flicker", pairs, pairs.without_flicker, pairs.make_flicker, progress)
    except errors.OptionError as error:
        raise errors.OptionError(
            f"{error} Balancing the losses asks for {JUDGED_SIZE}x{JUDGED_SIZE} pictures: "
            "give --no-balance to do without."
        ) from error
    return pairs


def _fill(
    title: str,
    pairs: TeacherOutputs,
    missing: Callable[[], Sequence[int]],
    make: Callable[[int], None],
    progress: Progress,
) -> None:
    if not missing():
        return
    with locked(pairs.folder):  # another run may be asking the same teacher
        indices = missing()
        done = len(pairs) - len(indices)
        progress.begin(title, len(pairs), done)
        try:
            for index in indices:
                make(index)
                done += 1
                progress.advance(done, {})
        except KeyboardInterrupt as interrupt:
            raise errors.Interrupted(
                f"stopped, {done} of {len(pairs)} pictures of the teacher are kept. "
                "Run the same command again to go on."
            ) from interrupt


class ComparedLosses(NamedTuple):
    """Losses (N,) of a student's pictures, and those of the teacher's, which are at least 0.05."""

    style: Tensor
    content: Tensor
    teacher_style: Tensor
    teacher_content: Tensor
    photographs: Mapping[str, Tensor]  # features (N, C, h, w) of each content layer

    @property
    def ratios(self) -> tuple[Tensor, Tensor]:
        """Style and content loss (N,), each over the teacher's."""
        return self.style / self.teacher_style, self.content / self.teacher_content


_LEAST_LOSS = 0.05  # of a teacher: what copies a photograph or a painting has next to none


class TeacherLosses:
    """Style and content losses of a teacher's pictures, to which its student's are relative.

    Each is computed once, on the device of `vgg`. `grams` are the painting's Gram matrix (C, C) of
    each style layer, `targets` those of more losses that compare with it (`named_losses`).
    """

    def __init__(
        self, vgg: VggFeatures, grams: Mapping[str, Tensor], targets: Targets | None = None
    ) -> None:
        self.vgg = vgg
        self.device = next(vgg.parameters()).device
        painted = {name: gram[None].float().to(self.device) for name, gram in grams.items()}
        self.painted: Targets = {"gram": painted, **(targets or {})}
        self.style = losses.StyleLoss(grams).to(self.device)
        self.content = losses.ContentLoss()
        self._known: dict[str, tuple[float, float]] = {}

    def of(
        self, names: Sequence[str], targets: Tensor, photographs: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The style and the content loss (N,) of the teacher's pictures, at least 0.05.

        `names` are keys of the pairs, or parts of them; targets the teacher's pictures (N, 3, H, W)
        in [0, 1]; `photographs` features (N, C, h, w) of each content layer.
        """
        for index, name in enumerate(names):
            if name not in self._known:
                one = slice(index, index + 1)
                own = self.features(targets[one], losses.STYLE_LAYERS)
                photograph = {layer: features[one] for layer, features in photographs.items()}
                self._known[name] = float(self.style(own)), float(self.content(own, photograph))
        found = torch.tensor([self._known[name] for name in names], device=self.device)
        style, content = found.clamp_min(_LEAST_LOSS).unbind(1)
        return style, content

    def compare(
        self,
        names: Sequence[str],
        outputs: Mapping[str, Tensor],
        targets: Tensor,
        photographs: Mapping[str, Tensor],
        grams: Mapping[str, Tensor] | None = None,
    ) -> ComparedLosses:
        """The losses of a student's pictures and of the teacher's, see `of`.

        `outputs` are all style features of the student's; `photographs` are those of the content
        layers, and of others. `grams` are what the student's style is compared with, (N, C, C) or
        (1, C, C) by layer, in the place of the painting's.
        """
        content = {layer: photographs[layer] for layer in losses.CONTENT_LAYERS}
        style_targets = self.painted["gram"] if grams is None else grams
        return ComparedLosses(
            losses.layer_losses(losses.GRAM, outputs, style_targets),
            self.content(outputs, content),
            *self.of(names, targets, content),
            content,
        )

    def ratios(
        self,
        names: Sequence[str],
        outputs: Mapping[str, Tensor],
        targets: Tensor,
        photographs: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Style and content loss (N,) of a student's pictures over the teacher's, as `compare`.

        The photographs are (N, 3, H, W).
        """
        own = self.features(photographs, losses.CONTENT_LAYERS)
        return self.compare(names, outputs, targets, own).ratios

    @functools.cached_property
    def typical(self) -> Mapping[str, float]:
        """The energies that a style's strength is relative to, see `content_levels`."""
        return typical_energies(self.vgg, losses.CONTENT_LAYERS)

    def features(self, images: Tensor, layers: Collection[str]) -> Mapping[str, Tensor]:
        """Features of images that nothing is learned through."""
        with torch.no_grad(), mixed_precision(self.device):
            found: Mapping[str, Tensor] = self.vgg(images, layers)
        return found
