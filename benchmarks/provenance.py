"""When a result was taken, and at which commit of the repository that it was run in."""

import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from nstc.core.child_processes import run_to_end

TIMEOUT_S: Final = 10
"""A repository on a disk that is slower than this goes unnamed."""

_COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")

Taken = Mapping[str, str | bool]


def taken_now(folder: Path | None = None) -> Taken:
    """What a result says of where in time it stands.

    Args:
        folder: Inside the repository; the working folder unless given.

    Returns:
        date, ISO in UTC to the second. Inside a git repository also commit, its full hash,
        commit_date, and modified, whether tracked files differ from it.
    """
    taken: dict[str, str | bool] = {"date": datetime.now(UTC).isoformat(timespec="seconds")}
    head = _git(folder, "log", "-1", "--no-show-signature", "--format=%H %cI")
    commit, _, commit_date = (head or "").strip().partition(" ")
    if not _COMMIT.fullmatch(commit):
        return taken
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {
        **taken,
        "commit": commit,
        "commit_date": commit_date,
        "modified": changes is None or bool(changes.strip()),
    }


def _git(folder: Path | None, *arguments: str) -> str | None:
    """What git says; None if there is no git, no repository, or no answer in time."""
    command = ["git", "--no-optional-locks", *arguments]
    try:
        ran = run_to_end(command, cwd=folder, timeout_s=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ran.output if ran.status == 0 else None
