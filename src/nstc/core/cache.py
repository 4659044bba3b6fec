"""Where nstc keeps what it can make again: the user's cache folder, or `NSTC_CACHE`."""

import os
from pathlib import Path

import platformdirs


def cache_folder(kind: str) -> Path:
    """The folder for one kind of cached thing. It may not exist yet."""
    override = os.environ.get("NSTC_CACHE")
    base = Path(override) if override else Path(platformdirs.user_cache_dir("nstc"))
    return base / kind
