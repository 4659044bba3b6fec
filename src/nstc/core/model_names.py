"""Names of models: one door from what a user types to a folder or a file of this machine.

zoo:STYLE is included, hf:OWNER/NAME is a hub's, https://HOST/BUNDLE.zip#sha256=HASH a zip file's;
anything else is a path.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from nstc.core import zoo


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
    door = next((door for start, door in _DOORS.items() if text.startswith(start)), None)
    if door is not None:
        return door(text)
    path = Path(model)
    return path.absolute() if is_name(path) else path  # ./hf:mine is a folder, which Path shortens


def is_name(model: str | Path) -> bool:
    """Whether it is a name, of whichever kind, rather than a path."""
    return str(model).startswith(tuple(_DOORS))


def is_lasting(name: str) -> bool:
    """Whether it is a name that a file may hold for others to open: of the zoo, or a hub's commit.

    Files come from anybody: what they name must not lead to any address, nor to a branch, which
    its owner moves.
    """
    return name.startswith(zoo.PREFIX) or _OF_COMMIT.fullmatch(name) is not None


def name_of(path: Path) -> str | None:
    """The name by which others find an included bundle, or what a hub gave; None for other paths.

    A hub's names its commit.
    """
    included = zoo.zoo_name_of(path)
    if included is not None:
        return included
    from nstc.core.remote import hub  # after the zoo, which is asked for most

    return hub.name_of(path)
