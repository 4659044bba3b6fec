"""A folder that runs on a board by itself, with Python and ONNX Runtime but without nstc."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nstc.compress.export import checking
from nstc.core import bundle as bundles
from nstc.core.bundle import artifact_file, artifact_name
from nstc.runtime.check_vectors import CHECKS_FILE, read_check_vectors, write_check_vectors

if TYPE_CHECKING:
    from nstc.compress.export.export_model import ExportSource

_INT8: Final = "int8.onnx"
_FLOAT: Final = artifact_name("float")
# Older than nstc itself asks for, since boards keep their Python for long. ONNX Runtime 1.18 is the
# first that reads files of ONNX IR version 10, which torch writes.
_BOARD_NEEDS: Final = ("numpy>=1.24", "pillow>=9.5", "onnxruntime>=1.18")


def write_board_folder(source: "ExportSource", output: Path) -> list[Path]:
    """Write the networks, their manifest and one script; returns the files.

    It is a bundle too, so that `nstc verify` can check it. Weights stay, since a bundle's identity
    is theirs; what only training, judging and showing need is left out.
    """
    run = [name for name in (_INT8, _FLOAT) if name in source.bundle.artifacts]
    kept = {bundles.WEIGHTS_FILE, bundles.CARD_FILE, *map(artifact_file, run)}
    known = read_check_vectors(source.bundle)
    with bundles.revised_bundle(source.bundle, output, source.bundle.manifest) as draft:
        for path in draft.iterdir():
            if path.name not in kept:
                path.unlink()
        if not run:
            run = [_FLOAT]
            checking.write_checked(draft / artifact_file(_FLOAT), source.onnx_of(None))
        shutil.copyfile(Path(__file__).with_name("board_stylize.py"), draft / "stylize.py")
        (draft / "requirements.txt").write_text("\n".join((*_BOARD_NEEDS, "")), encoding="utf-8")
        write_check_vectors(draft, [name for name in run if name not in known], known)
        names = sorted(path.name for path in draft.iterdir() if path.name != CHECKS_FILE)
    return [output / name for name in (*names, CHECKS_FILE)]
