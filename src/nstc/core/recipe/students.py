"""Students by name: the sizes there are, and the kinds of blocks."""

from collections.abc import Mapping
from typing import Any, Final

# With `skip`, channels at a quarter of the resolution, the blocks are at an eighth; `details` are
# convolutions behind them.
SIZES: Final[Mapping[str, Mapping[str, Any]]] = {
    "nano": {"width": 16, "blocks": 2, "block": "plain"},
    "tiny": {"width": 48, "blocks": 5, "head": "separable"},
    "small": {"width": 48, "blocks": 6},
    "fast": {"width": 64, "blocks": 4, "head": "separable", "skip": 32, "details": (48,)},
}
# Kinds of a student's blocks, as an entry point names them; other packages may add kinds.
BLOCKS: Final = {"separable": "nstc.models.student:SEPARABLE", "plain": "nstc.models.student:PLAIN"}
STUDENTS: Final = (*SIZES, *BLOCKS)
# Settings of a fresh student's shape, after its name; a student that is given has its own.
SHAPE: Final = ("width", "blocks", "inner", "scale", "norm", "head")
