"""Whole copies of bundles: included bundles of one style share its statistics in one file."""

import shutil
from pathlib import Path

from nstc.core.bundle import STYLE_FILE, open_bundle


def whole_copy(model: str | Path, target: Path) -> Path:
    """Copy the folder of a bundle, by path or zoo name, with its style's statistics."""
    bundle = open_bundle(model)
    shutil.copytree(bundle.path, target)
    shutil.copyfile(bundle.file(STYLE_FILE), target / STYLE_FILE)
    return target
