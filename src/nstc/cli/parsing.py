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
    command = _command_of(arguments) if context is None else context.command_path
    if kind == "NoArgsIsHelpError":
        return None
    if kind == "NoSuchOption":
        given = error.option_name
        known = [
            name for own in context.command.params for name in (*own.opts, *own.secondary_opts)
        ]
        return f"{command} has no option {given}.{_nearest(given, known)}{_help(command)}"
    if kind == "BadOptionUsage":
        return f"{_lower(error.message)}{_help(command)}"
    parameter = getattr(error, "param", None)
    if kind == "MissingParameter" and parameter is not None:
        return f"{command} needs {_name_of(parameter)}: {_meaning(parameter)}{_help(command)}"
    if parameter is not None:
        return _bad_value(error, parameter, arguments)
    if context is not None and hasattr(context.command, "commands"):
        verbs = context.command.list_commands(context)
        given = _word_after(command, arguments)
        return f"{command} has no verb {given}.{_nearest(given, verbs)}{_help(command)}"
    return f"{_lower(error.format_message())}{_help(command)}"


def _bad_value(error: Any, parameter: Any, arguments: Sequence[str]) -> str:
    given = _value_of(parameter, arguments)
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


def _meaning(parameter: Any) -> str:
    text = str(parameter.help or "").strip()
    return (text[:1].lower() + text[1:] if text[1:2].islower() else text).rstrip(".") + "."


def _value_of(parameter: Any, arguments: Sequence[str]) -> str | None:
    """What the command line gives for a flag; Typer's error holds only that it is wrong."""
    found = None
    for position, argument in enumerate(arguments):
        for name in parameter.opts:
            if argument == name and position + 1 < len(arguments):
                found = arguments[position + 1]
            elif argument.startswith(f"{name}=" if name.startswith("--") else name):
                found = argument[len(name) :].removeprefix("=")
    return found


def _word_after(command: str, arguments: Sequence[str]) -> str:
    """The first word after the verbs that were understood, flags left out."""
    words = [argument for argument in arguments if not argument.startswith("-")]
    understood = len(command.split()) - 1
    return words[understood] if understood < len(words) else ""


def _command_of(arguments: Sequence[str]) -> str:
    """What was called, of errors that don't know it."""
    return " ".join(["nstc", *[word for word in arguments if not word.startswith("-")][:1]])


def _nearest(given: str, known: Iterable[str]) -> str:
    return did_you_mean(given.lstrip("-"), {name.lstrip("-"): name for name in known})


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".") + "."


def _help(command: str) -> str:
    return f" See {command} --help."
