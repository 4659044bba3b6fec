"""Where long work reports to. The CLI draws a bar; tests record."""

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Told of stages, steps and findings."""

    def begin(self, title: str, steps: int, done: int) -> None:
        """A stage of `steps` steps starts, of which `done` were made by an earlier run."""

    def advance(self, step: int, losses: Mapping[str, float]) -> None:
        """`step` steps are done."""

    def note(self, message: str) -> None:
        """One line worth telling."""


class Silent:
    """A `Progress` that reports nothing."""

    def begin(self, title: str, steps: int, done: int) -> None:
        """Say nothing."""

    def advance(self, step: int, losses: Mapping[str, float]) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Say nothing."""
