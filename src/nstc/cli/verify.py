"""nstc verify."""

from typing import Annotated

import typer


def verify(
    models: Annotated[list[str], typer.Argument(help="Bundles or zoo names.", metavar="BUNDLE...")],
) -> None:
    """Check every file of a bundle against its manifest."""
    from nstc.core.bundle import open_bundle

    for model in models:
        bundle = open_bundle(model)
        for name in bundle.manifest.files:
            bundle.file(name)
        typer.echo(f"{model}: {len(bundle.manifest.files)} files are as written")
