"""Where long work reports its progress. The CLI draws a bar; tests record."""

from collections.abc import Mapping


class Progress:
    """Receives progress updates: stages, steps and findings. Subclasses show what they use."""

    def begin(self, title: str, steps: int, done: int) -> None:
        """A stage of `steps` steps starts, of which an earlier run did `done`."""

    def advance(self, step: int, losses: Mapping[str, float]) -> None:
        """`step` steps are done."""

    def note(self, message: str) -> None:
        """One line for the user."""


class Silent(Progress):
    """A `Progress` that reports nothing."""
