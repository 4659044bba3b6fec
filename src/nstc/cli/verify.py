"""nstc verify."""

import json
from typing import Annotated

import typer


def verify(
    models: Annotated[list[str], typer.Argument(help="Bundles or zoo names.", metavar="BUNDLE")],
    json_output: Annotated[
        bool, typer.Option("--json", help="Print the files and their hashes as JSON.")
    ] = False,
) -> None:
    """Check a bundle's files against its manifest."""
    from nstc.core.bundle import open_bundle

    checked = []
    for model in models:
        bundle = open_bundle(model)
        for name in bundle.manifest.files:
            bundle.file(name)
        if not json_output:
            typer.echo(f"{model}: {len(bundle.manifest.files)} files are as written")
        hashes = {name: record.sha256 for name, record in bundle.manifest.files.items()}
        checked.append({"model": model, "identity": bundle.identity, "files": hashes})
    if json_output:
        typer.echo(json.dumps(checked, indent=1))
