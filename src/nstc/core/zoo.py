"""Names of the models that ship: zoo:STYLE is a student, zoo:STYLE/teacher its teacher.

zoo:STYLE/pruned-teacher is that teacher with fewer channels, a full-size network all the same.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import resources
from pathlib import Path
from typing import Final

from nstc.core import errors
from nstc.core.errors import BundleError, OutputError

PREFIX: Final = "zoo:"
STUDENT: Final = "student"
TEACHER: Final = "teacher"
PRUNED_TEACHER: Final = "pruned-teacher"
ROLES: Final = (STUDENT, TEACHER, PRUNED_TEACHER)

_NEAR: Final = 0.75
"""How alike a name must be, of 1, to be asked about."""

_WITHIN: Final = (
    rf"[/\\](?P<style>[\w-]+)[/\\](?P<role>{'|'.join(ROLES)})\b"
    r"(?:[/\\](?P<file>[\w.-]*\w))?"
)
"""What follows the zoo's folder in the path of a bundle, or of a file in one."""


def installed_zoo() -> Path:
    """The folder of the package that holds the shipped bundles, which nothing may write into."""
    return Path(str(resources.files("nstc.models") / "zoo"))


def zoo_folder() -> Path:
    """Where zoo names are looked up."""
    return installed_zoo()


def zoo_names() -> tuple[str, ...]:
    """All zoo names, each style's in the order of `ROLES`."""
    return tuple(
        zoo_name(style, role) for style in _styles() for role in ROLES if _is_there(style, role)
    )


def _styles() -> list[str]:
    return sorted(p.name for p in zoo_folder().iterdir()) if zoo_folder().is_dir() else []


def _is_there(style: str, role: str) -> bool:
    return (zoo_folder() / style / role / "manifest.json").is_file()


def zoo_students() -> tuple[str, ...]:
    """The zoo names of the students alone."""
    return tuple(name for name in zoo_names() if "/" not in name)


def zoo_name(style: str, role: str) -> str:
    """What ships of a style in one of the `ROLES`, whether it does or not."""
    return f"{PREFIX}{style}" + ("" if role == STUDENT else f"/{role}")


def resolve_model_path(model: str | Path) -> Path:
    """The folder of a zoo name, or the path itself; `BundleError` if nothing ships of that name."""
    text = str(model)
    if not text.startswith(PREFIX):
        return Path(model)
    style, _, role = text.removeprefix(PREFIX).partition("/")
    role = role or STUDENT
    if not _ships(style, role):
        raise BundleError(
            f"no {text} in the zoo; there is {', '.join(zoo_names()) or 'nothing'}."
            f"{did_you_mean(text)}"
        )
    return zoo_folder() / style / role


def _ships(style: str, role: str) -> bool:
    """By the folder's own list of names: some file systems find `Udnie` where `udnie` lies."""
    return role in ROLES and style in _styles() and _is_there(style, role)


def zoo_name_of(path: Path) -> str | None:
    """The zoo name of a folder, or None if it does not ship."""
    place, zoo = path.resolve(), zoo_folder().resolve()
    if place.parent.parent != zoo or not _ships(place.parent.name, place.name):
        return None
    return zoo_name(place.parent.name, place.name)


def did_you_mean(model: str | Path) -> str:
    """A question after the zoo name that is nearest to what was given, or nothing if none is."""
    wanted = re.sub(r"[\s_]+", "-", str(model).lower()).removeprefix(PREFIX).removeprefix("zoo/")
    known = {name.removeprefix(PREFIX): name for name in zoo_names()}
    return errors.did_you_mean(wanted, known, least=_NEAR)


def named(path: Path) -> str:
    """How messages call a folder or a file: by its zoo name if it ships, else by its path."""
    return with_zoo_names(str(path))


def with_zoo_names(text: str) -> str:
    """A message with the zoo names of shipped bundles in place of where they are installed."""

    def name_of(match: re.Match[str]) -> str:
        name = zoo_name(match["style"], match["role"])
        return name if match["file"] is None else f"{match['file']} of {name}"

    for folder in {str(zoo_folder()), str(zoo_folder().resolve())}:
        if folder in text:
            text = re.sub(re.escape(folder) + _WITHIN, name_of, text)
    return text


_SHIPPING: ContextVar[bool] = ContextVar("shipping", default=False)


@contextmanager
def shipping() -> Iterator[None]:
    """Let shipped bundles be written in this block. For the scripts that ship them alone."""
    token = _SHIPPING.set(True)
    try:
        yield
    finally:
        _SHIPPING.reset(token)


def refuse_shipped(target: Path, advice: str = "choose another --output.") -> None:
    """Raise `OutputError`, with advice, if a path lies where shipped bundles do: read-only."""
    if not _SHIPPING.get() and target.resolve().is_relative_to(installed_zoo().resolve()):
        raise OutputError(f"{named(target)} ships with nstc and is read-only: {advice}")
