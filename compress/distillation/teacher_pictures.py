"""All that a teacher paints for a distillation, once and before anything is learned."""

import functools
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from nstc.compress.distillation.teacher_outputs import (
    CentreSquares,
    Cut,
    RandomCrops,
    TeacherFlicker,
    TeacherOutputs,
)
from nstc.compress.distillation.teachers import Teacher
from nstc.core.errors import Interrupted, OptionError
from nstc.core.files.locks import locked
from nstc.core.photos import PhotoSet
from nstc.core.progress import Progress
from nstc.core.recipe import DistillRecipe

JUDGED_SIZE = 512
"""In pixels, of photographs and paintings: what students are judged at."""

_JUDGED_PHOTOS = 32
"""At most so many of the photographs tell how the balance of what is judged stands."""

_Kept = TypeVar("_Kept", TeacherOutputs, TeacherFlicker)


class Judged(NamedTuple):
    """Whole photographs as students are judged on them."""

    pairs: TeacherOutputs  # with the teacher's pictures
    flicker: TeacherFlicker  # of those


@dataclass(frozen=True, kw_only=True)
class TeacherPictures:
    """What a teacher paints, made when it is first asked for."""

    teacher: Teacher  # who
    photos: PhotoSet  # of what
    recipe: DistillRecipe  # what a distillation needs
    progress: Progress  # told of every picture

    def make(self) -> None:
        """Make everything that the recipe's stages will ask for.

        Raises:
            Interrupted: the user pressed Ctrl-C; what was made is kept.
            OptionError: the teacher takes no pictures of the size that is asked for.
        """
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

    def _made(self, kept: _Kept, title: str = "teacher outputs") -> _Kept:
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
