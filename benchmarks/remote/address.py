"""The text behind a target's colon: options such as ?threads=2&python=/opt/venv/bin/python."""

import re
from collections.abc import Collection, Mapping
from typing import Final

from nstc.core.errors import OptionError
from nstc.runtime.session import MAX_THREADS

THREADS: Final = "threads"
PYTHON: Final = "python"
_PATH: Final = re.compile(r"[A-Za-z0-9/][A-Za-z0-9._/+-]*")
_NUMBER: Final = re.compile(r"[0-9]{1,4}")


def parse_options(target: str, text: str, known: Collection[str]) -> Mapping[str, str]:
    """The options of a target by name, `threads` and paths, checked.

    Args:
        target: The whole target, for messages.
        text: What stands behind the question mark.
        known: Names that this target takes.

    Raises:
        OptionError: an unknown or doubled name, threads out of range, or a path that holds more
            than letters, digits and . _ / + -
    """
    options: dict[str, str] = {}
    for part in text.split("&") if text else []:
        name, _, value = part.partition("=")
        if name not in known or name in options:
            raise OptionError(
                f"target {target!r}: no option {name!r}; it takes {', '.join(known)}, once each."
            )
        pattern = _NUMBER if name == THREADS else _PATH
        if pattern.fullmatch(value) is None:
            raise OptionError(
                f"target {target!r}: {name} is {value!r}: expected "
                + ("a number." if name == THREADS else "a path of letters, digits and . _ / + -")
            )
        options[name] = value
    if not 1 <= int(options.get(THREADS, "1")) <= MAX_THREADS:
        raise OptionError(f"target {target!r}: threads must be from 1 to {MAX_THREADS}.")
    return options
