"""nstc import."""

from pathlib import Path
from typing import Annotated

import typer

from nstc.cli import options
from nstc.cli.output import say


def import_(
    checkpoint: Annotated[
        Path, typer.Argument(help="A .pth or .model state dict of pytorch/examples' network.")
    ],
    output: options.Output,
    name: options.Name = None,
    style: options.Style = None,
    credit: options.Credit = None,
    vgg: options.Vgg = "shipped",
) -> None:
    """Make a bundle of a fast_neural_style checkpoint."""
    from nstc.compress.importing import import_checkpoint

    bundle = import_checkpoint(checkpoint, output, name=name, style=style, credit=credit, vgg=vgg)
    say(f"wrote {bundle.path}")
