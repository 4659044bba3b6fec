"""What a manifest may ask to be built: the arguments of each architecture and their bounds.

They are looked at before anything is built, and without torch; `nstc.models.architectures` builds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from nstc.core.decoding import DecodingError, Name, decode
from nstc.core.errors import SchemaVersionError

Width = Annotated[int, Meta(ge=1, le=4096)]
"""Channels of a layer. Recipes ask for 1024 at most."""

Blocks = Annotated[tuple[Width, ...], Meta(max_length=64)]
"""Channels inside each residual block. Recipes ask for 32 blocks at most."""


@dataclass(frozen=True, kw_only=True)
class _Student:
    """See `nstc.models.student.Student`."""

    width: Width
    inner: Blocks
    block: Name = "separable"
    scale: Literal[4, 8] = 4
    norm: Literal["none", "instance"] = "none"
    head: Literal["plain", "separable"] = "plain"
    batch_norm: bool = False


@dataclass(frozen=True, kw_only=True)
class _Transformer:
    """See `nstc.models.transformer.TransformerNet`."""

    down: Annotated[tuple[Width, ...], Meta(min_length=3, max_length=3)] = (32, 64, 128)
    inner: Blocks = (128,) * 5
    up: Annotated[tuple[Width, ...], Meta(min_length=2, max_length=2)] = (64, 32)


_LAST_VERSION_WITH: Final = {
    ("block", "inverted"): "0.1.0",
    ("block", "large5"): "0.1.0",
    ("block", "large7"): "0.1.0",
    ("block", "reparameterised"): "0.1.0",
    ("finish", 3): "0.1.0",
    ("finish", 5): "0.1.0",
}
"""The last nstc that builds a student with an argument of this value."""

_SHAPES: Final[Mapping[str, type]] = {"student": _Student, "transformer": _Transformer}


def refuse_removed(architecture: str, arguments: Mapping[str, Any], where: str) -> None:
    """Refuse students with parts that nstc no longer has.

    Args:
        architecture: Its name.
        arguments: As a manifest has them.
        where: The manifest's path, for messages.

    Raises:
        SchemaVersionError: an older nstc has to read it.
    """
    for (name, value), version in _LAST_VERSION_WITH.items():
        if architecture == "student" and arguments.get(name) == value:
            raise SchemaVersionError(
                f"{where} is of a student with {name} {value}: nstc {version} was the last to read "
                "those. Open it with that version, or distill the student again."
            )


def refuse_arguments(architecture: str, arguments: Mapping[str, Any]) -> None:
    """Refuse arguments that an architecture does not have, or that no network is built with.

    Args:
        architecture: Its name; one that this nstc does not know has no bounds.
        arguments: As a manifest has them.

    Raises:
        DecodingError: an argument is of another type or out of its bounds.
    """
    if architecture in _SHAPES:
        try:
            decode(arguments, _SHAPES[architecture])
        except DecodingError as error:
            raise DecodingError(f"architecture.arguments: {error}") from error
