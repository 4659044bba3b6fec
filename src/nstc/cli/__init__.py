"""The command line: a function a verb, each without logic of its own."""

from nstc.cli.app import main

__all__ = ["main"]
