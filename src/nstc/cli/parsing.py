"""What is wrong with a command line that can't be parsed, in one line and nstc's words.

Typer tells it by exceptions of click, or of its own copy of click since 0.22, in several lines.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

import typer

from nstc.core.errors import did_you_mean

UNREADABLE: Final = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""The base of all of them. Typer exports one of its kinds alone."""

UNREADABLE_CODE: Final = 2

_NUMBERS: Final = {"integer": "a whole number", "number": "a number", "float": "a number"}
"""What is expected, by the word that Typer's message has."""


def what_is_wrong(error: Any, arguments: Sequence[str]) -> str | None:
    """The line that follows "nstc: ".

    Args:
        error: One of `UNREADABLE`.
        arguments: The command line after the program's name.

    Returns:
        What was given, what was expected and where that is explained; None for a command line
        that names no verb, which is answered by its help.
    """
    kind = type(error).__name__
    context: Any = getattr(error, "ctx", None)
    words = [argument for argument in arguments if not argument.startswith("-")]
    # What was called; some errors don't know it.
    command = " ".join(["nstc", *words[:1]]) if context is None else context.command_path
    parameter = getattr(error, "param", None)
    if kind == "NoArgsIsHelpError":
        return None
    if kind == "NoSuchOption":
        given = error.option_name
        known = [
            name for own in context.command.params for name in (*own.opts, *own.secondary_opts)
        ]
        told = f"{command} has no option {given}.{_nearest(given, known)}"
    elif kind == "BadOptionUsage":
        told = _lower(error.message)
    elif kind == "MissingParameter" and parameter is not None:
        meaning = str(parameter.help or "").strip()
        meaning = _lower(meaning) if meaning[1:2].islower() else meaning.rstrip(".") + "."
        told = f"{command} needs {_name_of(parameter)}: {meaning}"
    elif parameter is not None:
        return _bad_value(error, parameter, arguments)
    elif context is not None and hasattr(context.command, "commands"):
        given = next(iter(words[len(command.split()) - 1 :]), "")  # after those understood
        nearest = _nearest(given, context.command.list_commands(context))
        told = f"{command} has no verb {given}.{nearest}"
    else:
        told = _lower(error.format_message())
    return f"{told} See {command} --help."


def _bad_value(error: Any, parameter: Any, arguments: Sequence[str]) -> str:
    given = None  # by the command line: Typer's error holds only that it is wrong
    for position, argument in enumerate(arguments):
        for name in parameter.opts:
            if argument == name and position + 1 < len(arguments):
                given = arguments[position + 1]
            elif argument.startswith(f"{name}=" if name.startswith("--") else name):
                given = argument[len(name) :].removeprefix("=")
    words = error.message.lower()
    expected = next((number for word, number in _NUMBERS.items() if word in words), None)
    what = f"expected {expected}." if expected else _lower(error.message)
    named = _name_of(parameter)
    return f"{named} is {given}: {what}" if given is not None else f"{named}: {what}"


def _name_of(parameter: Any) -> str:
    """A flag as it is typed, or an argument as help calls it."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper()).strip("[]{}.")
    return str(max(parameter.opts, key=len))


def _nearest(given: str, known: Iterable[str]) -> str:
    return did_you_mean(given.lstrip("-"), {name.lstrip("-"): name for name in known})


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".") + "."
