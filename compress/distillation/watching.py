"""What looks at a student as it is distilled: for symptoms of what goes wrong, or for previews."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from torch import nn

from nstc.compress.distillation.teachers import Teacher
from nstc.compress.learning import logs
from nstc.compress.learning.symptoms import Examination
from nstc.core import Progress

PIXELS, PERCEPTUAL, ROUNDING = STAGES = ("pixels", "perceptual", "rounding")

# From a stage, its network and its steps to what is called after each step, if anything is.
Watch = Callable[[str, nn.Module, int], Callable[[int], None] | None]

_ADVICE: Final[Mapping[str, str]] = {
    "one colour": "Start again with a smaller perceptual_learning_rate in a recipe.",
    "grain": "Try a higher --checkerboard-weight, or more --steps.",
    "colours alone": "Try more --steps, or a higher --style-weight or --perceptual-size.",
}


def unwatched(_stage: str, _network: nn.Module, _steps: int) -> None:
    """Nothing is called."""


def examined(progress: Progress, teacher: Teacher) -> Watch:
    """Notes what is wrong with pictures of the later stages: after the first they are pale."""
    examination = Examination(_ADVICE, progress, teacher=teacher.stylize)
    return lambda stage, network, steps: (
        None if stage == PIXELS else functools.partial(examination.after, network, steps)
    )


def previewed(folder: Path, every: int) -> Watch:
    """Writes sheets of sample photographs and their pictures every so many steps."""
    return lambda stage, network, steps: (
        logs.Previews(network, folder, steps, (), every, f"{stage}-step").show
    )
