"""Students by name: sizes with a place on the plane of speed and quality, and kinds of blocks."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Final, Literal

from nstc.models.blocks import KINDS, Block
from nstc.models.student import SCALE, Head, Student


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A student before it is built; see `Student` for what is meant.

    Attributes:
        width: Channels of the trunk.
        blocks: How many residual blocks.
        block: Of which kind.
        inner: Channels inside each of them; None for as many as the trunk has.
        scale: Pixels a side of a position of the trunk.
        norm: "none" or "instance".
        head: "plain" or "separable".
    """

    width: int
    blocks: int
    block: Block = "separable"
    inner: int | None = None
    scale: int = SCALE
    norm: Literal["none", "instance"] = "none"
    head: Head = "plain"

    def build(self, *, learning: bool = False) -> Student:
        """A student of this shape with random weights.

        Args:
            learning: Whether it is for the first stage of distillation, which learns with batch
                normalisation where there is no other.
        """
        hidden = self.width if self.inner is None else self.inner
        return Student(
            self.width,
            [hidden] * self.blocks,
            self.block,
            scale=self.scale,
            norm=self.norm,
            head=self.head,
            batch_norm=learning and self.norm == "none",
        )


SIZES: Final[dict[str, Shape]] = {
    "nano": Shape(width=16, blocks=2, block="plain"),
    "tiny": Shape(width=48, blocks=5, head="separable"),
    "small": Shape(width=48, blocks=6),
}
"""Under 20, 42 and 64 thousand parameters."""

SHAPES: Final[dict[str, Shape]] = {
    **SIZES,
    **{str(kind): Shape(width=64, blocks=6, block=kind) for kind in KINDS},
}
"""What `nstc distill --student` takes: a size, or a kind of blocks whose numbers are given."""


def shape_named(name: str, **changes: Any) -> Shape:
    """A shape by its name, changed where a change is given and not None.

    Raises:
        ValueError: there is no such name.
    """
    if name not in SHAPES:
        raise ValueError(f"student is {name!r}: expected one of {', '.join(SHAPES)}")
    given = {key: value for key, value in changes.items() if value is not None}
    return dataclasses.replace(SHAPES[name], **given)


def student_named(name: str, *, learning: bool = False, **changes: Any) -> Student:
    """A student by the name of its shape: `student_named("tiny")`.

    Args:
        name: Out of `SHAPES`.
        learning: See `Shape.build`.
        changes: Of the shape's attributes.

    Raises:
        ValueError: there is no such name, or the shape can't be built.
    """
    return shape_named(name, **changes).build(learning=learning)
