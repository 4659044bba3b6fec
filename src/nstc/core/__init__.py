"""What every part of nstc stands on: errors, bundles, recipes, images. Imports no torch."""

from collections.abc import Mapping
from typing import Final

VERSION: Final = "0.2.0.dev0"


class Progress:
    """Receives progress updates: stages, steps and findings. The CLI draws a bar; tests record."""

    def begin(self, title: str, steps: int, done: int) -> None:
        """A stage of `steps` steps starts, of which an earlier run did `done`."""

    def advance(self, step: int, losses: Mapping[str, float]) -> None:
        """`step` steps are done."""

    def note(self, message: str) -> None:
        """One line for the user."""

    def show_link(self, link: str) -> None:
        """A link that was noted is for another device: a terminal may show it as a QR code."""


class Silent(Progress):
    """A `Progress` that reports nothing."""
