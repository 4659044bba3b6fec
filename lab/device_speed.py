"""From file to file: decoding, painting and encoding with one network beside another."""

from functools import partial
from pathlib import Path
from typing import Final

from nstc.benchmarks.timing.latency import Run, RunClock, Timings, alternate
from nstc.runtime.files.batch import stylize_files
from nstc.runtime.stylizer import Stylizer

ROUNDS: Final = 9


def file_to_file(
    photo: Path,
    *,
    model: str,
    teacher: str,
    rounds: int = ROUNDS,
    seed: int = 0,
    clock: RunClock | None = None,
) -> Timings:
    """Time two networks from a photograph's file to the result's, in alternating rounds.

    Both are opened once, in this process and on one thread: threads of one would spin into the
    other's turn. Results are written beside the photograph and in its format.

    Args:
        photo: The file.
        model: A bundle or zoo name, run as int8.
        teacher: Likewise, run as float: the reference.
        rounds: At least 1.
        seed: Of their orders.
        clock: Real time unless given.

    Raises:
        NstcError: one can't be opened, or the photograph can't be stylised.
    """
    reference = Stylizer(teacher, precision="float", threads=1)
    candidate = Stylizer(model, precision="int8", threads=1)
    return alternate(
        _run_of(photo, reference, "reference"),
        [_run_of(photo, candidate, "candidate")],
        rounds=rounds,
        seed=seed,
        clock=clock,
    )


def _run_of(photo: Path, stylizer: Stylizer, name: str) -> Run:
    return partial(_stylize, photo, photo.with_stem(f"{photo.stem}-{name}"), stylizer)


def _stylize(photo: Path, target: Path, stylizer: Stylizer) -> None:
    (outcome,) = stylize_files([str(photo)], str(target), stylizer)
    if outcome.error is not None:
        raise outcome.error
