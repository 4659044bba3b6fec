"""What a teacher is asked for: pictures of parts of photographs, and their flicker.

A teacher costs a hundred times its student, and its pictures never change: each part is stylised
once, whatever runs come later, and kept on disk.
"""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from torch import Tensor

from nstc.benchmarks.quality import picture_metrics
from nstc.compress.distillation.crops import Crops, Squares
from nstc.compress.distillation.teachers import Teacher
from nstc.core import Progress, errors
from nstc.core.decoding import DecodingError, decode, parse_json, read_file
from nstc.core.files import atomic_file, cache_folder, locked, write_text
from nstc.core.images import Pixels
from nstc.core.photos import PhotoSet
from nstc.core.recipe import DistillRecipe
from nstc.models import losses
from nstc.models.tensors import images_to_tensor, tensor_to_images

_PAIR, _FLICKER = ".npy", ".flicker.json"  # endings of files in the cache

# Least values of a teacher: what copies or never changes has next to none, and is divided by.
_LEAST_FLICKER: Final = 0.002
_LEAST_CHECKERBOARD: Final = 5e-6  # a tenth of photographs' own energy

_FEW: Final = 16  # pairs that means are over, for which each is stylised once more


class TeacherOutputs(Crops):
    """Pairs of a square of a photograph and the teacher's picture of it, kept on disk.

    The teacher's hash keeps pictures of others apart.
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
        super().__init__(photos, cut=cut, each=each)
        self.teacher = teacher
        self._checkerboards: dict[int, float] = {}
        self.folder = cache_folder("teacher-outputs") / teacher_sha256[:24]

    def file(self, index: int, ending: str = _PAIR) -> Path:
        """The file of a pair in the cache."""
        return self.folder / f"{self.name(index)[:32]}{ending}"

    def missing(self) -> list[int]:
        """Indices of the pairs that are not in the cache yet."""
        return [index for index in range(len(self)) if not self.file(index).is_file()]

    def make(self, index: int) -> None:
        """Stylise one square and keep the pair; `ImageError`, or `OutputError` of the cache."""
        square = self.square(index)
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
    recipe: DistillRecipe, teacher: Teacher | None, photos: PhotoSet, progress: Progress
) -> Crops:
    """What the stages of a distillation learn from; what is not in the cache yet is made.

    Without a teacher there is nothing to make. `Interrupted` if the user pressed Ctrl-C, what was
    made is kept; `OptionError` if the teacher takes no pictures of the recipe's size.
    """
    cut = Squares(
        size=recipe.size,
        seed=recipe.seed,
        jitter=recipe.color_jitter,
        extremes=recipe.extreme_crops,
    )
    if teacher is None:
        return Crops(photos, cut=cut, each=recipe.crops)
    pairs = TeacherOutputs(teacher.stylize, teacher.key, photos, cut=cut, each=recipe.crops)
    _fill("teacher outputs", pairs, pairs.missing, pairs.make, progress)
    return pairs


def judged_for(
    recipe: DistillRecipe, teacher: Teacher | None, photos: PhotoSet, progress: Progress
) -> TeacherOutputs | None:
    """Whole photographs with their flicker, where the recipe asks for a balance; as `crops_for`."""
    if teacher is None or not recipe.goals_in_balance:
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
