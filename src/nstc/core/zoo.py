"""Names of the models that ship: zoo:STYLE is a student, zoo:STYLE/teacher its teacher."""

from importlib import resources
from pathlib import Path
from typing import Final

from nstc.core.errors import BundleError

PREFIX: Final = "zoo:"
STUDENT: Final = "student"
TEACHER: Final = "teacher"


def zoo_folder() -> Path:
    """Where the shipped bundles lie."""
    return Path(str(resources.files("nstc.models") / "zoo"))


def zoo_names() -> tuple[str, ...]:
    """All zoo names, each style's student before its teacher."""
    names: list[str] = []
    if not zoo_folder().is_dir():
        return ()
    for style in sorted(p for p in zoo_folder().iterdir() if p.is_dir()):
        if (style / STUDENT / "manifest.json").is_file():
            names.append(f"{PREFIX}{style.name}")
        if (style / TEACHER / "manifest.json").is_file():
            names.append(f"{PREFIX}{style.name}/{TEACHER}")
    return tuple(names)


def zoo_students() -> tuple[str, ...]:
    """The zoo names of the students alone."""
    return tuple(name for name in zoo_names() if not name.endswith(f"/{TEACHER}"))


def resolve_model_path(model: str | Path) -> Path:
    """The folder of a zoo name, or the path itself.

    Raises:
        BundleError: it is a zoo name that nothing ships under.
    """
    text = str(model)
    if not text.startswith(PREFIX):
        return Path(model)
    style, _, role = text.removeprefix(PREFIX).partition("/")
    canonical = f"{PREFIX}{style}" + (f"/{role}" if role and role != STUDENT else "")
    if canonical not in zoo_names():
        raise BundleError(f"no {text} in the zoo; there is {', '.join(zoo_names()) or 'nothing'}.")
    return zoo_folder() / style / (role or STUDENT)


def zoo_name_of(path: Path) -> str | None:
    """The zoo name of a folder, or None if it does not ship."""
    for name in zoo_names():
        if resolve_model_path(name).resolve() == path.resolve():
            return name
    return None
