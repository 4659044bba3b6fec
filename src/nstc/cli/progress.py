"""A progress bar with the time left, or a line now and then where there is no terminal."""

import time
from collections.abc import Mapping
from typing import Final, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from nstc.cli.output import tell
from nstc.core.terminal import one_line, plain_console

_SECONDS_BETWEEN_LINES: Final = 15.0


class Bar:
    """A `nstc.core.progress.Progress` on standard error.

    A context manager: whatever ends the work also takes the bar off the screen and gives the
    terminal its cursor back.
    """

    def __init__(self) -> None:
        self._console = plain_console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._title = ""
        self._steps = 0
        self._first = 0
        self._started = 0.0
        self._last_line = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def begin(self, title: str, steps: int, done: int) -> None:
        """Start a bar, or a line, for a stage."""
        self.close()
        self._title, self._steps, self._first = one_line(title), steps, done
        self._started = self._last_line = time.monotonic()
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[losses]}", markup=False),
                console=self._console,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=steps, completed=done, losses="")
        else:
            self._line(f"{self._title}: {steps} steps" + (f", {done} done before" if done else ""))

    def advance(self, step: int, losses: Mapping[str, float]) -> None:
        """Show how far it is."""
        shown = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=step, losses=shown)
        elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            each = (self._last_line - self._started) / max(1, step - self._first)
            left = round(each * (self._steps - step))
            self._line(f"{self._title}: {step}/{self._steps}, {left} s left  {shown}")
        if step >= self._steps:
            self.close()

    def note(self, message: str) -> None:
        """Print one line."""
        self._line(message)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()
            self._bar, self._task = None, None

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(one_line(text))
        else:
            tell(text)
