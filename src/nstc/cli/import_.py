"""nstc import."""

from pathlib import Path
from typing import Annotated

import typer

from nstc.cli import options
from nstc.cli.output import say


def import_(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="State dict of pytorch/examples' network: .pth, .model, .ckpt or .safetensors."
        ),
    ],
    output: options.Output,
    name: options.Name = None,
    style: options.Style = None,
    credit: options.Credit = None,
    vgg: options.Vgg = "shipped",
    key: options.Key = None,
) -> None:
    """Make a bundle of a fast_neural_style checkpoint."""
    from nstc.cli.progress import Bar
    from nstc.compress.importing import import_checkpoint

    with Bar() as bar:
        bundle = import_checkpoint(
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
