"""nstc baseline."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstc.cli import options, output
from nstc.core.errors import OptionError
from nstc.core.files import locked

if TYPE_CHECKING:
    from nstc.benchmarks.gate.keys import RowKey


@options.with_flags
def update(
    file: Annotated[Path, typer.Argument(help="The baseline.", metavar="FILE")],
    reason: Annotated[
        str, typer.Option(help="Why the new numbers are right; recorded in the baseline's log.")
    ],
    *,
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Bundles to measure; new ones are added. Default: all that the baseline names.",
            metavar="BUNDLE",
            show_default=False,
        ),
    ] = None,
    target: list[str] | None = options.flag(
        None,
        "Measure rows on this target alone, such as instructions, and add those that are missing. "
        "Repeatable.",
        shown=False,
    ),
    artifact: list[str] | None = options.flag(
        None,
        "File to measure on --target, such as int8. Repeatable. Default: those that the baseline "
        "has there, or else on other targets.",
        shown=False,
    ),
    rounds: int | None = options.flag(None, "Number of timed rounds.", shown="the baseline's"),
    hashes_only: bool = options.flag(False, "Keep all numbers, and add hashes of pictures."),
    anew: options.AnewFlags,
) -> None:
    """Measure the rows of a baseline again and accept the new numbers.

    Facts, quality, hashes of pictures, and the times and instructions of this class of machine are
    replaced; those of other classes stay.
    """
    from nstc.benchmarks.gate.baseline import save_baseline
    from nstc.benchmarks.gate.update import add_hashes, update_baseline
    from nstc.compress.export.export_model import made_artifact

    with locked(file), output.Bar() as bar:  # from reading it to writing it
        making = partial(made_artifact, notify=bar.note)
        common = {"store": making, "progress": bar, **anew.conditions()}
        if hashes_only:
            _refuse_in_vain({"--target": target, "--artifact": artifact, "--rounds": rounds})
            updated, result, without = add_hashes(models or (), file, reason, **common)
            said = _hashed(len(result.rows), without)
        else:
            updated, result = update_baseline(
                models or (),
                file,
                reason,
                targets=target or (),
                artifacts=artifact or (),
                rounds=rounds,
                **common,
            )
            said = f"{len(result.rows)} rows accepted"
        save_baseline(updated, file)
    output.print_result(result, costs=False)
    output.say(f"{file}: {said}")


def _hashed(rows: int, without: "Sequence[RowKey]") -> str:
    """How many of so many rows have a hash, and why those that are `without` have none."""
    from nstc.benchmarks.gate.update import NO_HASH

    if not without:
        return f"{rows} rows have a hash"
    names = ", ".join(map(str, without))
    return f"{rows - len(without)} of {rows} rows have a hash, and not {names}: {NO_HASH}"


def _refuse_in_vain(given: Mapping[str, object]) -> None:
    """Raise `OptionError` for a flag that says how numbers are measured, which stay."""
    for flag, value in given.items():
        if value:
            raise OptionError(f"--hashes-only keeps all numbers: leave {flag} out.")
