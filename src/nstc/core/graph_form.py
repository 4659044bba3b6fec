"""How a network made by others is fed, as flags, files and probing say it."""

import dataclasses
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypedDict, Unpack, get_args

from nstc.core import decoding
from nstc.core.errors import OptionError

Layout = Literal["NCHW", "NHWC"]
ValueRange = Literal[1, 255, -1]
Channels = Literal["rgb", "bgr"]
Triple = tuple[float, float, float]
Statistic = Triple | Literal["imagenet"]

LAYOUTS: Final[tuple[Layout, ...]] = get_args(Layout)
CHANNELS: Final[tuple[Channels, ...]] = get_args(Channels)
# The short name of a value range, as flags take it, and its ends.
RANGES: Final[Mapping[ValueRange, tuple[float, float]]] = {
    1: (0.0, 1.0),
    255: (0.0, 255.0),
    -1: (-1.0, 1.0),
}
NO_MEAN: Final[Triple] = (0.0, 0.0, 0.0)
NO_STD: Final[Triple] = (1.0, 1.0, 1.0)
# Of red, green and blue from 0 to 1, as torchvision's networks are fed.
IMAGENET_MEAN: Final[Triple] = (0.485, 0.456, 0.406)
IMAGENET_STD: Final[Triple] = (0.229, 0.224, 0.225)

FORM_KEY: Final = "nstc.form"  # of an ONNX graph's metadata, where nstc writes its form
MOST_FORM_TEXT: Final = 8000  # characters of a form there
LARGEST: Final = 1e6  # number that a flag may give a graph
# Of a form in a file: what a value is that is not the path of a picture.
NUMBERS_ALONE: Final = re.compile(r"[-+0-9.eE, ]+")
_MOST_INPUTS: Final = 16
_MOST_INPUT_TEXT: Final = 1500  # characters of all inputs' names and values together
# Fields that mean something together only: a mean is in the units of its range.
_GROUPS: Final = (
    ("input_range", "mean", "std"),
    ("output_range", "output_mean", "output_std"),
    ("layout",),
    ("size_multiple",),
    ("channels",),
    ("inputs",),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GivenInput:
    """What an input of a graph gets besides the picture, such as the number of a style.

    What no input can have is a `ValueError`.
    """

    name: str  # of the graph's input
    value: str  # numbers with commas between them, or the path of a picture
    sha256: str | None = None  # of the picture's file, once it was opened

    def __post_init__(self) -> None:
        texts = (self.name, self.value) if self.sha256 is None else dataclasses.astuple(self)
        if not all(isinstance(own, str) and own and own.isprintable() for own in texts):
            raise ValueError(
                f"input is {str(self)!r:.80}: expected a name and a value, NAME=VALUE, such as "
                "style=7"
            )
        if self.sha256 is not None:
            decoding.refuse_other_than_sha256(self.sha256)

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


class GraphFlags(TypedDict, total=False):
    """The fields of a `GraphForm` as keywords; `value_range` is an older name of `input_range`."""

    layout: str | None
    input_range: int | None
    output_range: int | None
    size_multiple: int | None
    channels: str | None
    mean: Statistic | None
    std: Statistic | None
    output_mean: Statistic | None
    output_std: Statistic | None
    inputs: tuple[GivenInput, ...] | None
    value_range: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphForm:
    """How a graph is fed; None is what probing still has to find.

    The graph gets (picture in the input's range - mean) / std, channel by channel in its own order.
    Its output times the output's std, plus the output's mean, is a picture in the output's range.
    What is out of range is a `ValueError`.
    """

    layout: Layout | None = None  # "NCHW" or "NHWC", of the input
    # 1 for values from 0 to 1, 255 for 0 to 255, -1 for -1 to 1.
    input_range: ValueRange | None = None
    output_range: ValueRange | None = None  # likewise
    size_multiple: int | None = None  # heights and widths must be multiples of it
    channels: Channels | None = None  # "rgb" or "bgr", of the input and the output
    # In the units of the input's range and the order of the graph's channels, or "imagenet" for
    # ImageNet's in that range and order.
    mean: Statistic | None = None
    std: Statistic | None = None  # likewise
    # In the units of the output's range. Where it is None although the input has a mean, probing
    # finds whether the output has the same one taken off.
    output_mean: Statistic | None = None
    output_std: Statistic | None = None  # likewise
    # What its other inputs get, where it has more than the picture; each is named once.
    inputs: tuple[GivenInput, ...] | None = None

    def __post_init__(self) -> None:
        _one_of("layout", self.layout, LAYOUTS)
        _one_of("input-range", self.input_range, tuple(RANGES))
        _one_of("output-range", self.output_range, tuple(RANGES))
        _one_of("channels", self.channels, CHANNELS)
        multiple = self.size_multiple
        if multiple is not None and not (type(multiple) is int and 1 <= multiple <= 1024):
            raise ValueError(f"size-multiple is {multiple}: expected a whole number from 1 to 1024")
        _statistic("mean", self.mean, least=-LARGEST)
        _statistic("std", self.std, least=1 / LARGEST)
        _statistic("output-mean", self.output_mean, least=-LARGEST)
        _statistic("output-std", self.output_std, least=1 / LARGEST)
        _inputs(self.inputs or ())

    def keywords(self) -> dict[str, Any]:
        """The fields that are not None, without those of subclasses."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(GraphForm)}
        return {name: value for name, value in values.items() if value is not None}

    def completed_by(self, other: "GraphForm | None") -> "GraphForm":
        """The same, with missing fields of another, a range with its mean and std."""
        taken = {
            name: getattr(other, name)
            for group in _GROUPS
            if other is not None and all(getattr(self, name) is None for name in group)
            for name in group
        }
        return dataclasses.replace(self, **taken)

    def refuse_unhashed_pictures(self) -> None:
        """Raise `ValueError` for a form in a file if it names a picture without a hash.

        Else whoever made the file could have any picture of this machine read.
        """
        for own in self.inputs or ():
            if own.sha256 is None and not NUMBERS_ALONE.fullmatch(own.value):
                raise ValueError(
                    f"{own.name:.60} is {own.value:.60}: expected numbers or a SHA-256"
                )

    def flags(self) -> str:
        """As it is typed at the prompt."""
        typed = {
            name: shown_numbers(value) if isinstance(value, tuple) else value
            for name, value in self.keywords().items()
            if name != "inputs"
        }
        flags = [f"--{name.replace('_', '-')} {value}" for name, value in typed.items()]
        return " ".join([*flags, *(f"--input {own}" for own in self.inputs or ())])

    def to_json(self) -> str:
        """On one line; see `form_from_json`."""
        # not in ASCII, where a path of other letters takes six times as many characters
        return json.dumps(self.keywords(), sort_keys=True, default=vars, ensure_ascii=False)


def form_of(**given: Unpack[GraphFlags]) -> GraphForm:
    """A form of a user's values; `OptionError` if one of them is out of range."""
    fields: dict[str, Any] = dict(given)
    value_range = fields.pop("value_range", None)
    if value_range is not None and fields.get("input_range") not in (None, value_range):
        raise OptionError(
            f"value-range is {value_range} and input-range is {fields['input_range']}: both name "
            "the input's range, expected one of them."
        )
    for name in ("mean", "std", "output_mean", "output_std"):
        if isinstance(fields.get(name), list):
            fields[name] = tuple(fields[name])
    try:
        if value_range is not None:  # checked here, where it has the name that was typed
            _one_of("value-range", value_range, tuple(RANGES))
            fields["input_range"] = value_range
        return GraphForm(**fields)
    except ValueError as error:
        raise OptionError(f"{error}.") from error


def form_from_json(text: str) -> GraphForm:
    """Read what `GraphForm.to_json` wrote; anything else is an `OptionError`."""
    try:
        content = json.loads(text[: MOST_FORM_TEXT + 1])
        if content.get("inputs") is not None:
            content["inputs"] = tuple(GivenInput(**own) for own in content["inputs"])
    except (ValueError, TypeError, AttributeError, RecursionError):
        content = None
    known = {field.name for field in dataclasses.fields(GraphForm)}
    if not isinstance(content, dict) or not content.keys() <= known:
        raise OptionError(f"{FORM_KEY} is {text!r:.60}: expected what nstc writes there.")
    form = form_of(**content)
    try:
        form.refuse_unhashed_pictures()
    except ValueError as error:
        raise OptionError(f"{FORM_KEY} names an input that can't be: {error}.") from error
    return form


def read_inputs(texts: Sequence[str]) -> tuple[GivenInput, ...] | None:
    """Inputs of a graph as they are typed, NAME=VALUE each; None of none, or `OptionError`."""
    try:
        pairs = [text.partition("=") for text in texts]
        return tuple(GivenInput(name=name, value=value) for name, _, value in pairs) or None
    except ValueError as error:
        raise OptionError(f"{error}.") from error


def read_statistic(name: str, text: str | None) -> Statistic | None:
    """Three numbers as they are typed, or the word imagenet; else `OptionError`, with the name."""
    if text is None:
        return None
    if text == "imagenet":
        return "imagenet"
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(
            f"{name} is {text}: expected imagenet, or three numbers with commas between them, "
            "such as 0.485,0.456,0.406."
        ) from error
    return first, second, third


def mean_of(given: Statistic | None, value_range: ValueRange, channels: Channels) -> Triple:
    """A mean in numbers, in the units of a range."""
    if given != "imagenet":
        return given or NO_MEAN
    low, high = RANGES[value_range]
    red, green, blue = (low + (high - low) * one for one in IMAGENET_MEAN)
    return (red, green, blue) if channels == "rgb" else (blue, green, red)


def std_of(given: Statistic | None, value_range: ValueRange, channels: Channels) -> Triple:
    """A standard deviation in numbers, in the units of a range."""
    if given != "imagenet":
        return given or NO_STD
    low, high = RANGES[value_range]
    red, green, blue = ((high - low) * one for one in IMAGENET_STD)
    return (red, green, blue) if channels == "rgb" else (blue, green, red)


def shown_numbers(values: Sequence[float]) -> str:
    """Three numbers as flags take them."""
    return ",".join(f"{value:.6g}" for value in values)


def _one_of(name: str, value: Any, known: tuple[Any, ...]) -> None:
    # True == 1, and a list can't be looked up in a mapping.
    if value is not None and not (type(value) in (str, int) and value in known):
        listed = " or ".join(known) if len(known) == 2 else f"one of {', '.join(map(str, known))}"
        raise ValueError(f"{name} is {value}: expected {listed}")


def _statistic(name: str, value: Any, *, least: float) -> None:
    if value is None or value == "imagenet":
        return
    numbers = isinstance(value, tuple) and all(type(one) in (int, float) for one in value)
    # A comparison is false of NaN, and takes whole numbers that no float can hold.
    in_range = numbers and all(least <= one <= LARGEST for one in value)
    if not in_range or len(value) != 3:
        as_floats = numbers and all(abs(one) <= sys.float_info.max for one in value)
        given = shown_numbers(value) if as_floats else str(value)[:60]
        raise ValueError(
            f"{name} is {given}: expected imagenet, or three numbers from {least:g} to "
            f"{LARGEST:g}, one for each channel"
        )


def _inputs(inputs: tuple[GivenInput, ...]) -> None:
    names = [own.name for own in inputs]
    if len(inputs) > _MOST_INPUTS:
        raise ValueError(f"input is given {len(inputs)} times: expected at most {_MOST_INPUTS}")
    if (twice := next((name for name in names if names.count(name) > 1), None)) is not None:
        raise ValueError(f"input {twice:.60} is given twice: expected one value for each name")
    if (size := sum(len(str(own)) for own in inputs)) > _MOST_INPUT_TEXT:
        raise ValueError(
            f"input has {size} characters: expected at most {_MOST_INPUT_TEXT} in names and values"
        )
