"""Inputs of a graph besides the picture: the number of a style, weights of styles, a painting.

What they get is text, `GivenInput`, and is read by the type and shape that the graph declares. It
stays the same for all pictures.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from nstc.core import errors, files, images
from nstc.core.graph_form import LARGEST, NUMBERS_ALONE, GivenInput, Layout, form_of
from nstc.runtime.arrays import Array
from nstc.runtime.foreign.trial import DTYPES, NUMBERS, GraphValue, is_possible, shown

_MOST_NUMBERS: Final = 4096  # of an input
_FREE_SIDE: Final = 256  # of a painting whose size a graph leaves open
_LEAST_SIDE: Final = 8  # of what is taken for a picture: [1, 3, 1, 1] are three numbers
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
_SHOWN: Final = 60  # characters of a value or a name in a message


@dataclass(frozen=True)
class Painting:
    """A picture that an input gets besides the one to stylise."""

    rgb: images.Pixels  # (H, W, 3) uint8, of the size that is fed
    layout: Layout | None  # of the input; None where it may be either
    dtype: str  # of the input, see `DTYPES`


@dataclass(frozen=True)
class OtherInputs:
    """What they get: as flags say it, with paths made absolute and hashed, and read."""

    given: tuple[GivenInput, ...] | None = None  # None of a graph that has none
    numbers: Mapping[str, Array] = field(default_factory=dict, compare=False)  # by input
    paintings: Mapping[str, Painting] = field(default_factory=dict, compare=False)  # by input


NO_OTHERS: Final = OtherInputs()


def taken_apart(
    path: Path, inputs: Sequence[GraphValue], given: Sequence[GivenInput]
) -> tuple[GraphValue, OtherInputs]:
    """The input of a graph that takes the picture, and what its others get.

    The picture's is the one that nothing is given to. Where several are left, it is the one that
    has a picture's shape; nothing else of it is checked.

    Raises:
        TeacherError: an input is left without a value, or several may be the picture's; or a
            picture is another one than was recorded.
        OptionError: there is no input of a name, or a value does not fit it.
        ImageError: a picture can't be read.
    """
    by_name = {value.name: value for value in inputs}
    for own in given:
        if own.name not in by_name:
            near = errors.did_you_mean(own.name, {name: f"{name:.{_SHOWN}}" for name in by_name})
            raise errors.OptionError(
                f"input is {own!s:.{_SHOWN}}: {path} has no input {own.name:.{_SHOWN}}, "
                f"expected {_listed(inputs, 'or')}.{near}"
            )
    numbers: dict[str, Array] = {}
    paintings: dict[str, Painting] = {}
    read: list[GivenInput] = []
    for own in given:
        value = by_name[own.name]
        if _is_picture(value):
            paintings[own.name], known = _painting(path, own, value)
            read.append(known)
        else:
            numbers[own.name] = _numbers(path, own, value)
            read.append(own)
    taken = _picture_input(path, inputs, {own.name for own in given})
    known_inputs = form_of(inputs=tuple(read) or None).inputs  # whole paths may be too long for it
    return taken, OtherInputs(known_inputs, numbers, paintings)


def _picture_input(path: Path, inputs: Sequence[GraphValue], given: set[str]) -> GraphValue:
    left = [value for value in inputs if value.name not in given]
    if not left:
        raise errors.OptionError(
            f"input is given for all that {path} takes, {_listed(inputs, 'and')}: leave out the "
            "one for the photograph."
        )
    pictures = left if len(left) == 1 else [value for value in left if _is_picture(value)]
    if not pictures:
        raise errors.TeacherError(
            f"{path} takes {_listed(left, 'and')}: expected one picture among them, [1, 3, H, W] "
            "or [1, H, W, 3]."
        )
    if len(pictures) > 1:
        names = [value.name for value in pictures]
        likeliest = next((name for name in names if "style" in name.lower()), names[-1])
        raise errors.TeacherError(
            f"{path} takes {_listed(pictures, 'and')}, and each of them may be the photograph: "
            f"give the other one a picture, such as --input {likeliest:.{_SHOWN}}=painting.jpg."
        )
    [picture] = pictures
    if unset := [value for value in left if value is not picture]:
        raise errors.TeacherError(
            f"{path} also takes {_listed(unset, 'and')}, expected {_expected(unset[0])}: give "
            f"--input {unset[0].name:.{_SHOWN}}=VALUE."
        )
    return picture


def _described(value: GraphValue) -> str:
    """Name, type and shape for messages."""
    kind = NUMBERS.get(value.type, value.type)
    return f"{value.name:.{_SHOWN}} ({kind} {shown(value.shape):.{_SHOWN}})"


def _listed(values: Sequence[GraphValue], word: str) -> str:
    *first, last = map(_described, values)
    return f"{', '.join(first)} {word} {last}" if first else last


def _is_picture(value: GraphValue) -> bool:
    """Whether an input can take one picture, by its type and shape."""
    if value.type not in DTYPES or len(value.shape) != 4 or value.shape[0] == 0:
        return False
    one, *sides = value.shape
    is_one = not isinstance(one, int) or one == 1
    has_colours = 3 in (sides[0], sides[2]) or not any(isinstance(side, int) for side in sides)
    fixed = [side for side in sides if isinstance(side, int) and side != 3]
    return is_one and has_colours and all(side >= _LEAST_SIDE for side in fixed)


def _fixed(value: GraphValue) -> int:
    """How many numbers the axes hold that are not free."""
    return math.prod(side for side in value.shape if isinstance(side, int))


def _free_axes(value: GraphValue) -> list[int]:
    """Axes that can hold any number; the first of several is the number of pictures, one."""
    first = 1 if len(value.shape) > 1 else 0
    sides = enumerate(value.shape)
    return [axis for axis, side in sides if axis >= first and not isinstance(side, int)]


def _expected(value: GraphValue) -> str:
    """What an input takes, in words."""
    if _is_picture(value):
        return "the file of a picture"
    whole = "whole " if "int" in value.type else ""
    count = _fixed(value)
    if _free_axes(value):
        return f"{whole}numbers with commas between them"
    if count == 1:
        return f"a {whole}number"
    return (
        f"{count} {whole}numbers with commas between them, or one whole number from 0 to "
        f"{count - 1} for a 1 in its place and 0 in all others"
    )


def _numbers(path: Path, own: GivenInput, value: GraphValue) -> Array:
    """A value as numbers in an input's shape."""
    if value.type not in NUMBERS or not 1 <= _fixed(value) <= _MOST_NUMBERS:
        raise errors.TeacherError(
            f"{path} takes {_described(value)}: expected beside a picture at most {_MOST_NUMBERS} "
            f"numbers of {', '.join(dict.fromkeys(NUMBERS.values()))}, or one more picture. "
            "Export it again with that input fixed."
        )
    numbers = _parsed(own.value, np.dtype(NUMBERS[value.type]))
    fixed, free = _fixed(value), _free_axes(value)
    shape = [side if isinstance(side, int) else 1 for side in value.shape]
    if numbers is not None and free:
        shape[free[-1]] = len(numbers) // fixed
    elif numbers is not None and len(numbers) == 1 < fixed and _WHOLE.fullmatch(own.value):
        position = int(numbers[0])
        numbers = np.eye(fixed, dtype=numbers.dtype)[position] if 0 <= position < fixed else None
    if numbers is None or math.prod(shape) != len(numbers):
        raise errors.OptionError(
            f"input is {own!s:.{_SHOWN}}: {path} takes {_described(value)}, expected "
            f"{_expected(value)}."
        )
    return numbers.reshape(shape)


def _parsed(text: str, dtype: np.dtype[Any]) -> Array | None:
    """Numbers with commas between them; None if one is no number, or none of that type."""
    if NUMBERS_ALONE.fullmatch(text) is None:  # float() takes 1_0 too, and other scripts' digits
        return None
    parts = [part.strip() for part in text.split(",")]
    if dtype.kind != "f":
        whole = [int(part) for part in parts if _WHOLE.fullmatch(part)]
        limits = np.iinfo(dtype)
        fits = len(whole) == len(parts) and all(limits.min <= one <= limits.max for one in whole)
        return np.array(whole, dtype) if fits else None
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return None
    largest = min(LARGEST, float(np.finfo(dtype).max))
    return np.array(numbers, dtype) if all(abs(one) <= largest for one in numbers) else None


def _painting(path: Path, own: GivenInput, value: GraphValue) -> tuple[Painting, GivenInput]:
    """A picture in an input's size, and its absolute path and hash."""
    file = Path(own.value)
    if not file.is_file():
        raise errors.OptionError(
            f"input is {own!s:.{_SHOWN}}: {path} takes {_described(value)}, expected "
            f"{_expected(value)}, and there is no such file."
        )
    if not is_possible(value.shape):
        raise errors.TeacherError(
            f"{path} takes {_described(value)}, which is larger than pictures are: export it with "
            "free sizes."
        )
    sha256 = files.sha256_of(file)
    if own.sha256 not in (None, sha256):
        raise errors.TeacherError(
            f"{file} is not the picture that {own.name:.{_SHOWN}} was given before, it was changed "
            "since: give --input again to take it nonetheless."
        )
    _, second, third, last = value.shape
    layouts: dict[tuple[bool, bool], Layout] = {(True, False): "NCHW", (False, True): "NHWC"}
    layout = layouts.get((second == 3, last == 3))
    sides = (second, third) if layout == "NHWC" else (third, last)
    height, width = (side if isinstance(side, int) else _FREE_SIDE for side in sides)
    rgb = images.resize(images.read_picture(file).rgb, height, width)
    try:
        known = GivenInput(name=own.name, value=str(file.resolve()), sha256=sha256)
    except ValueError as error:
        raise errors.OptionError(
            f"input is {own!s:.{_SHOWN}}: its whole path is {str(file.resolve())!r:.200}, expected "
            "one without control characters: copy the picture elsewhere."
        ) from error
    return Painting(rgb, layout, DTYPES[value.type]), known
