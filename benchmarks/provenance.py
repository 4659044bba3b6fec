"""Where numbers come from: when they were taken, and of which commit."""

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from nstc.core import child_processes

GIT_TIMEOUT_S: Final = 10  # a repository on a disk that is slower than this goes unnamed
_COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")


def taken_now(folder: Path | None = None) -> dict[str, str | bool]:
    """When and of which commit a result is.

    Its date, ISO in UTC to the second. Where `folder`, the working folder unless given, is inside a
    git repository also its commit, a full hash, commit_date, and modified, whether tracked files
    differ from it.
    """

    def git(*arguments: str) -> str | None:
        """What git says; None if there is no git, no repository, or no answer in time."""
        command = ["git", "--no-optional-locks", *arguments]
        try:
            ran = child_processes.run_to_end(command, cwd=folder, timeout_s=GIT_TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return ran.output if ran.status == 0 else None

    taken: dict[str, str | bool] = {"date": datetime.now(UTC).isoformat(timespec="seconds")}
    head = git("log", "-1", "--no-show-signature", "--format=%H %cI")
    commit, _, commit_date = (head or "").strip().partition(" ")
    if _COMMIT.fullmatch(commit):
        changes = git("status", "--porcelain", "--untracked-files=no")
        modified = changes is None or bool(changes.strip())
        taken |= {"commit": commit, "commit_date": commit_date, "modified": modified}
    return taken
