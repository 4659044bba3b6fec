"""nstc import."""

from pathlib import Path
from typing import Annotated

import typer

import nstc
from nstc.cli import options
from nstc.cli.output import Bar, say


def import_(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="State dict of pytorch/examples: a .pth, .model, .ckpt or .safetensors file."
        ),
    ],
    output: options.Output,
    name: options.Name = None,
    style: options.Style = None,
    credit: options.Credit = None,
    vgg: options.Vgg = "shipped",
    key: options.Key = None,
) -> None:
    """Make a bundle from a fast_neural_style checkpoint."""
    with Bar() as bar:
        bundle = nstc.import_checkpoint(
            checkpoint,
            output,
            name=name,
            style=style,
            credit=credit,
            vgg=vgg,
            key=key,
            progress=bar,
        )
    say(f"wrote {bundle.path}")
