"""What verbs print: lines for people, as text whatever is in them, and JSON for programs."""

import json
from typing import Any

import typer

from nstc.core.terminal import one_line, shown


def say(text: str, *, err: bool = False) -> None:
    """Print a line on standard output.

    Args:
        text: In which a newline, as in a file's name, is shown as an escape.
        err: Whether it goes to standard error instead.
    """
    typer.echo(shown(text), err=err)


def tell(message: str) -> None:
    """Print a message on standard error, in one line."""
    typer.echo(one_line(message), err=True)


def say_json(content: Any) -> None:
    """Print JSON on standard output; what a terminal would obey is escaped in it as JSON has it."""
    typer.echo(json.dumps(content, indent=1))
