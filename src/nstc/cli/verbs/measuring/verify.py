"""nstc verify."""

from pathlib import Path
from typing import Annotated

import typer

from nstc.cli import options, output


@options.with_flags
def verify(
    models: Annotated[list[str], typer.Argument(help="Bundles or zoo names.", metavar="BUNDLE")],
    trust: options.TrustBundled = False,
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
    record: bool = options.flag(
        False,
        "First write check vectors, the output of each file for a known input, into the bundle, "
        "for a bundle that has none.",
    ),
    changed_files: bool = options.flag(
        False,
        "Take files instead of bundles, and check each bundle whose folder has one of them, as a "
        "pre-commit hook needs. Other files are left out. A folder that is a bundle is checked.",
    ),
    json_output: bool = options.flag(False, "Print the findings as JSON.", "--json"),
) -> None:
    """Check a bundle's hashes and the output of its files."""
    from nstc.core.bundle import bundles_with
    from nstc.runtime.verification import record as record_vectors
    from nstc.runtime.verification import verify as run

    if changed_files:
        models = list(map(str, bundles_with(map(Path, models))))
        if not models and not json_output:
            output.say("no bundle holds one of these files")
    checked = []
    for model in models:
        if record:
            record_vectors(model, trust=trust)
        found = run(model, trust=trust)
        if changed_files:
            found = found.shown_as(_from_here(model))
        checked.append(found)
        if not json_output:
            output.say(f"{found.model}: {found.summary}")
            rows = [(each.file, each.check, each.state, each.detail) for each in found.findings]
            output.print_list(("file", "check", "state"), (), rows, sentences=("found",))
    if json_output:
        output.say_json([found.to_dict() for found in checked])
    if errors := [error for found in checked for error in found.errors]:
        more = f" ({len(errors) - 1} more above)" if len(errors) > 1 else ""
        raise type(errors[0])(f"{errors[0]}{more}")


def _from_here(folder: str) -> str:
    """An absolute path as seen from the folder where nstc runs, if it lies there."""
    path, here = Path(folder), Path.cwd()
    return str(path.relative_to(here)) if here in path.parents else folder
