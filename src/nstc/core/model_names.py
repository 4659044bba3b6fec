"""Names of models: one door from what a user types to a folder or a file of this machine.

zoo:STYLE is included, hf:OWNER/NAME is a hub's, https://HOST/BUNDLE.zip#sha256=HASH a zip file's;
anything else is a path.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from nstc.core import zoo
from nstc.core.errors import BundleError


def _of_hub(name: str) -> Path:
    from nstc.core.remote import hub

    return hub.local_path(name)


def _of_zip(name: str) -> Path:
    from nstc.core.remote import zipped_bundles

    return zipped_bundles.local_path(name)


_DOORS: Final[Mapping[str, Callable[[str], Path]]] = {
    zoo.PREFIX: zoo.resolve_model_path,
    "hf:": _of_hub,
    "https://": _of_zip,
    "http://": _of_zip,  # of this machine alone
}
"""Where names lead, by how they begin. What they need is imported when such a name is asked for."""

_OF_COMMIT: Final = re.compile(r"hf:[^@]+@[0-9a-f]{40}")


def local_path(model: str | Path) -> Path:
    """The folder of a bundle, or the file, that a name leads to; a path is itself.

    What is not on this machine yet is fetched, checked and kept.

    Raises:
        BundleError: and its kinds, for a name that leads to nothing, or to what is no bundle.
        FetchError: it can't be fetched.
        MissingExtraError: a hub's model that is not kept yet, where huggingface_hub is missing.
    """
    text = str(model)
    door = _door_of(text)
    if door is not None:
        return door(text)
    path = Path(model)
    return path.absolute() if is_name(path) else path  # ./hf:mine is a folder, which Path shortens


def _door_of(text: str) -> Callable[[str], Path] | None:
    return next((door for start, door in _DOORS.items() if text.startswith(start)), None)


def is_name(model: str | Path) -> bool:
    """Whether it is a name, of whichever kind, rather than a path."""
    return str(model).startswith(tuple(_DOORS))


def is_lasting(name: str) -> bool:
    """Whether it is a name that a file may hold for others to open: of the zoo, or a hub's commit.

    Files come from anybody: what they name must not lead to any address, nor to a branch, which
    its owner moves.
    """
    return name.startswith(zoo.PREFIX) or _OF_COMMIT.fullmatch(name) is not None


def path_in_file(name: str) -> Path:
    """As `local_path`, of a name that a file from anybody holds, which must not lead elsewhere.

    `BundleError` for a name that is not lasting, but of a zip file that is kept here.
    """
    if not is_name(name) or is_lasting(name):
        return local_path(name)
    from nstc.core.remote import zipped_bundles

    kept = zipped_bundles.kept_path(name)
    if kept is None:
        raise BundleError(
            f"{shown_name(name)} is not kept here, and what a file names is not fetched: fetch it "
            "first, as by nstc verify."
        )
    return kept


def shown_name(model: str | Path) -> str:
    """A name or a path, which was opened, as results have it: without what may be a token."""
    text = str(model)
    if _door_of(text) is not _of_zip:
        return text
    from nstc.core.remote import zipped_bundles

    return zipped_bundles.shown_name(text)


def result_name(path: Path) -> str:
    """How results call the model at a path: by its name, as `name_of` or a zip file's, if any."""
    known = name_of(path)
    if known is None:
        from nstc.core.remote import zipped_bundles

        known = zipped_bundles.name_of(path)
    return known or str(path)


def name_of(path: Path) -> str | None:
    """The name by which others find an included bundle, or what a hub gave; None for other paths.

    A hub's names its commit.
    """
    included = zoo.zoo_name_of(path)
    if included is not None:
        return included
    from nstc.core.remote import hub  # after the zoo, which is asked for most

    return hub.name_of(path)
