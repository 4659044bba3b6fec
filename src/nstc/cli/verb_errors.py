"""What ends a verb from outside, as errors of nstc: Ctrl-C, and a missing optional dependency."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

from nstc.core import errors

GO_ON: Final = frozenset({"compress", "search", "zoo build"})
"""Verbs that go on from what an interrupted run of theirs left, and have no --resume for it."""


def reporting(verb: str, function: Callable[..., None]) -> Callable[..., None]:
    """The function of a verb, which raises `Interrupted` for Ctrl-C, `MissingExtraError` as well.

    What is finished when Ctrl-C comes is for a verb itself to say, if it goes on from there in
    another way than those of `GO_ON`, or than by --resume.
    """

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            raise errors.Interrupted(_told(verb, kwargs)) from interrupt
        except ModuleNotFoundError as error:
            from nstc.core.extras import MODULES

            extra = MODULES.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            raise errors.MissingExtraError(
                f'{error.name} is not installed: run  pip install "nstc[{extra}]"'
            ) from error

    return run


def _told(verb: str, arguments: Mapping[str, Any]) -> str:
    if verb not in GO_ON and "resume" not in arguments:
        return "stopped before it was done. The same command begins anew."
    # A run without --resume would begin anew, and delete what is kept.
    how = "again" if arguments.get("resume", True) else "with --resume"
    return f"stopped; what was finished is kept. Run the same command {how} to go on."
