"""Students by name: sizes, and kinds of blocks, to which packages may add."""

from collections.abc import Mapping
from typing import Any, Final

from nstc.core.recipe import BLOCKS, SIZES
from nstc.models.student.blocks import ADDED
from nstc.models.student.family import StudentNetwork, refuse_unknown
from nstc.models.student.one_scale import Student
from nstc.models.student.two_scale import TwoScaleStudent

# What `nstc distill --student` takes: a size, or a kind of blocks, of other packages alike.
SHAPES: Final[Mapping[str, Mapping[str, Any]]] = {
    **SIZES,
    **{kind: {"width": 64, "blocks": 6, "block": kind} for kind in BLOCKS},
}


def student_named(name: str, *, learning: bool = False, **changes: Any) -> StudentNetwork:
    """A student with random weights by the name of its shape: `student_named("tiny")`.

    Args:
        name: Out of `SHAPES`, or of a kind of blocks of another package.
        learning: Whether it is for the first stage of distillation, with batch normalisation unless
            there is instance normalisation.
        changes: `blocks`, how many; `inner`, channels inside each, by default those of the trunk;
            and arguments of the class. None leaves what the name stands for.

    Raises:
        ValueError: there is no such name, or the shape can't be built.
    """
    known = {**SHAPES, **{kind: {**SHAPES["plain"], "block": kind} for kind in ADDED.names()}}
    refuse_unknown("student", name, known)
    given = {key: value for key, value in changes.items() if value is not None}
    shape: dict[str, Any] = {**known[name], **given}
    blocks, inner = shape.pop("blocks"), shape.pop("inner", shape["width"])
    if "skip" in shape:
        if shape.get("norm") == "none":  # as it is
            del shape["norm"]
        if unusable := sorted({"scale", "norm"} & shape.keys()):
            raise ValueError(f"{name} has two scales and no {' or '.join(unusable)} to choose")
        return TwoScaleStudent(inner=[inner] * blocks, batch_norm=learning, **shape)
    batch_norm = learning and shape.get("norm", "none") == "none"
    return Student(inner=[inner] * blocks, batch_norm=batch_norm, **shape)
