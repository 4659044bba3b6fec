"""What a picture really takes within a limit, by the peak of a process of its own.

Run as a module this file is that process.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from nstc.core.child_processes import run_to_end
from nstc.core.errors import MemoryLimitError
from nstc.runtime.files.batch import stylize_files
from nstc.runtime.footprint import peak_bytes, resident_bytes
from nstc.runtime.stylizer import Stylizer

_TIME_LIMIT_S: Final = 1800


@dataclass(frozen=True, kw_only=True)
class WithinLimit:
    """A picture stylised within a limit.

    Attributes:
        height: Of the picture, in pixels.
        width: Likewise.
        tiles: Into which it was cut.
        predicted_bytes: What the process was expected to hold at most.
        peak_bytes: What it did, interpreter and libraries included.
        held_bytes: Of that, what it held before the picture.
    """

    height: int
    width: int
    tiles: int
    predicted_bytes: int
    peak_bytes: int
    held_bytes: int


def measure_within(
    photo: Path, target: Path, model: str | Path, *, limit_bytes: int, threads: int = 1
) -> WithinLimit:
    """Stylise a file in a fresh process that is held to a limit.

    Args:
        photo: The photograph.
        target: The picture to write.
        model: A bundle's path or zoo name.
        limit_bytes: What the process may hold.
        threads: To compute with.

    Raises:
        MemoryLimitError: the process refused, or failed for another reason.
    """
    arguments = [str(each) for each in (photo, target, model, limit_bytes, threads)]
    ran = run_to_end(
        [sys.executable, "-m", "lab.device_memory", *arguments],
        timeout_s=_TIME_LIMIT_S,
    )
    if ran.status != 0:
        raise MemoryLimitError(f"{photo} was not stylised: {ran.last_words()}", limit_bytes)
    return WithinLimit(**json.loads(ran.output))


def _main(photo: str, target: str, model: str, limit_bytes: str, threads: str) -> None:
    import rich.table  # noqa: F401  (`nstc stylize` holds these too)
    import typer  # noqa: F401

    stylizer = Stylizer(model, threads=int(threads), max_ram_bytes=int(limit_bytes))
    held_bytes = resident_bytes()
    (outcome,) = stylize_files([photo], target, stylizer)
    if outcome.error is not None:
        raise outcome.error
    plan = None if stylizer.bounded is None else stylizer.bounded.last_plan
    if plan is None or plan.peak_bytes is None:
        raise RuntimeError("a stylizer with a limit made no plan")
    done = WithinLimit(
        height=outcome.height,
        width=outcome.width,
        tiles=plan.tiling.count,
        predicted_bytes=plan.peak_bytes,
        peak_bytes=peak_bytes(),
        held_bytes=held_bytes,
    )
    sys.stdout.write(json.dumps(asdict(done)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
