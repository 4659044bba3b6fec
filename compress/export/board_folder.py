"""A folder that runs on a board by itself: the networks, their manifest and one script."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nstc.compress.export import board_stylize
from nstc.core.bundle import (
    CARD_FILE,
    WEIGHTS_FILE,
    Bundle,
    artifact_file,
    artifact_name,
    revised_bundle,
)
from nstc.runtime.check_vectors import CHECKS_FILE, read_check_vectors, write_check_vectors

SCRIPT: Final = "stylize.py"
REQUIREMENTS: Final = "requirements.txt"

_NEEDED: Final = ("numpy>=1.24", "pillow>=9.5", "onnxruntime>=1.18")
"""Older than nstc itself asks for, since boards keep their Python for long. ONNX Runtime 1.18 is
the first that reads files of ONNX IR version 10, which torch writes."""

_FLOAT: Final = artifact_name("float")
_RUN: Final = (artifact_name("int8"), _FLOAT)


def write_board_folder(
    bundle: Bundle, output: Path, write_float: Callable[[Path], None]
) -> list[Path]:
    """Write the folder; it is a bundle too, so that `nstc verify` can check it.

    Weights stay, since they are what a bundle is known by; what only training, judging and
    showing need is left out. `write_float` fills a path with the float ONNX file, if the bundle
    holds nothing that ONNX Runtime runs.

    Returns:
        The files that were written.

    Raises:
        OutputError: the place can't be written, or holds something that is no bundle.
        BundleError: and its kinds, if the bundle is damaged.
    """
    run = [name for name in _RUN if name in bundle.artifacts]
    kept = {WEIGHTS_FILE, CARD_FILE, *map(artifact_file, run)}
    known = read_check_vectors(bundle)
    with revised_bundle(bundle, output, bundle.manifest) as draft:
        for path in draft.iterdir():
            if path.name not in kept:
                path.unlink()
        if not run:
            write_float(draft / artifact_file(_FLOAT))
        shutil.copyfile(board_stylize.__file__, draft / SCRIPT)
        (draft / REQUIREMENTS).write_text("\n".join((*_NEEDED, "")), encoding="utf-8")
        write_check_vectors(draft, [name for name in run or [_FLOAT] if name not in known], known)
        names = sorted(path.name for path in draft.iterdir() if path.name != CHECKS_FILE)
    return [output / name for name in (*names, CHECKS_FILE)]
