"""nstc models, verify and import: the models that are there, whole or damaged, and of others."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nstc.cli import options
from nstc.cli.output import print_list, say, say_json

if TYPE_CHECKING:
    from nstc.runtime.verification import Verification


def models(
    sheet: Annotated[
        Path | None, typer.Option(help="A photograph, to see all of them on, side by side.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The picture that --sheet writes.")
    ] = None,
    json_output: options.Json = False,
) -> None:
    """List the models that ship with nstc."""
    from nstc.core.errors import OptionError
    from nstc.core.zoo_listing import basis, list_zoo

    if (sheet is None) != (output is None):
        raise OptionError("--sheet and --output go together: give the photograph and the picture.")
    if sheet is not None and output is not None:
        from nstc.runtime.stylizer import write_zoo_sheet

        names = write_zoo_sheet(sheet, output)
        if json_output:
            say_json({"output": str(output), "models": names})
        else:
            say(f"wrote {output}: {', '.join(names)}")
        return
    entries = list_zoo()
    if json_output:
        say_json([entry.to_dict() for entry in entries])
        return
    print_list(
        ("name", "stage", "style"),
        ("KB", "times faster", "style ratio"),
        (entry.cells() for entry in entries),
        sentences=("artifacts",),
    )
    for line in basis(entries):
        say(line)


def verify(
    models: Annotated[list[str], typer.Argument(help="Bundles or zoo names.", metavar="BUNDLE")],
    trust: options.TrustBundled = False,
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Write what each file paints here into the bundle first: its check vectors, which "
            "bundles from before they were kept lack.",
        ),
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print what was found as JSON.")
    ] = False,
) -> None:
    """Check a bundle's hashes, and what its files paint."""
    from nstc.runtime.verification import record as record_vectors
    from nstc.runtime.verification import verify as run

    checked = []
    for model in models:
        if record:
            record_vectors(model, trust=trust)
        found = run(model, trust=trust)
        checked.append(found)
        if not json_output:
            _print(found)
    if json_output:
        say_json([found.to_dict() for found in checked])
    errors = [error for found in checked for error in found.errors]
    if errors:
        more = f" ({len(errors) - 1} more above)" if len(errors) > 1 else ""
        raise type(errors[0])(f"{errors[0]}{more}")


def _print(found: "Verification") -> None:
    say(f"{found.model}: {found.summary}")
    rows = [(each.file, each.check, each.state, each.detail) for each in found.findings]
    print_list(("file", "check", "state"), (), rows, sentences=("found",))


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
    from nstc.compress.importing.import_model import import_checkpoint

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
