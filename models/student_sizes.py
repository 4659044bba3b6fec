"""Students by name: sizes with a place on the plane of speed and quality, and kinds of blocks."""

from collections.abc import Mapping
from typing import Any, Final

from nstc.models.blocks import KINDS
from nstc.models.student import Student

SIZES: Final[Mapping[str, Mapping[str, Any]]] = {
    "nano": {"width": 16, "blocks": 2, "block": "plain"},
    "tiny": {"width": 48, "blocks": 5, "head": "separable"},
    "small": {"width": 48, "blocks": 6},
}
"""Under 20, 42 and 64 thousand parameters."""

SHAPES: Final[Mapping[str, Mapping[str, Any]]] = {
    **SIZES,
    **{kind: {"width": 64, "blocks": 6, "block": kind} for kind in KINDS},
}
"""What `nstc distill --student` takes: a size, or a kind of blocks whose numbers are given."""


def student_named(name: str, *, learning: bool = False, **changes: Any) -> Student:
    """A student with random weights by the name of its shape: `student_named("tiny")`.

    Args:
        name: Out of `SHAPES`.
        learning: Whether it is for the first stage of distillation, which learns with batch
            normalisation where there is no other.
        changes: `blocks`, how many; `inner`, channels inside each of them, as many as the trunk has
            otherwise; and arguments of `Student`. None leaves what the name stands for.

    Raises:
        ValueError: there is no such name, or the shape can't be built.
    """
    if name not in SHAPES:
        raise ValueError(f"student is {name!r}: expected one of {', '.join(SHAPES)}")
    given = {key: value for key, value in changes.items() if value is not None}
    shape: dict[str, Any] = {**SHAPES[name], **given}
    blocks, inner = shape.pop("blocks"), shape.pop("inner", shape["width"])
    batch_norm = learning and shape.get("norm", "none") == "none"
    return Student(inner=[inner] * blocks, batch_norm=batch_norm, **shape)
