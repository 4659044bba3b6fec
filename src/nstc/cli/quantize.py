"""nstc quantize."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nstc.cli import options
from nstc.cli.output import say, say_json
from nstc.cli.signatures import Given, Placed, with_flags
from nstc.core.errors import NoGainError, OptionError
from nstc.core.graph_form import GraphForm
from nstc.core.recipe import QuantizeRecipe, load_recipe

if TYPE_CHECKING:
    from nstc.compress.quantization.summary import QuantizationReport


@with_flags
def quantize(
    model: Annotated[str, typer.Argument(help="Bundle, zoo name or ONNX file to quantize.")],
    output: options.Output,
    *,
    _mode: Placed = None,
    _bits: Placed = None,
    photos: options.PhotoSets = None,
    given: Given[QuantizeRecipe],
    recipe: options.Recipe = None,
    name: options.Name = None,
    flags: options.FormFlags,
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
    again: Annotated[
        bool, typer.Option("--again", help="Replace a file that the bundle holds already.")
    ] = False,
    allow_slower: Annotated[
        bool,
        typer.Option("--allow-slower", help="Exit 0 even if the file gives nothing over float."),
    ] = False,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON instead of text.")
    ] = False,
) -> None:
    """Make a file of fewer bits: faster, or smaller alone.

    A file that gives nothing over the float one is written and said to be so, and ends with an
    error, unless --allow-slower. An ONNX file made by others is quantized to an ONNX file.
    """
    report, made = _run(
        model, output, given.over(load_recipe(recipe).quantize), photos, name, flags.form, again
    )
    if json_output:
        say_json({"file" if report.is_foreign else "bundle": str(made), **report.to_dict()})
    else:
        for line in report.describe().splitlines():
            say(line)
        say(f"wrote {made}")
    if report.complaint is not None and not allow_slower:
        raise NoGainError(
            f"{report.complaint}: it was written all the same. Give --allow-slower if "
            "that is what you want."
        )


def _run(
    model: str,
    output: Path,
    settings: QuantizeRecipe,
    photos: list[Path] | None,
    name: str | None,
    form: GraphForm,
    again: bool,
) -> "tuple[QuantizationReport, Path]":
    """Quantize, and say what came of it and where it lies."""
    from nstc.cli.progress import Bar
    from nstc.compress.learning.photo_sets import photos_of
    from nstc.compress.quantization.foreign_models import is_foreign, quantize_file
    from nstc.compress.quantization.quantize_model import quantize

    with Bar() as bar:
        shared: dict[str, Any] = {
            "photos": photos_of(photos or []),
            "recipe": settings,
            "progress": bar,
        }
        if is_foreign(model):
            return quantize_file(Path(model), output, **shared, **form.told()), output
        if form.told():
            raise OptionError(
                f"{form.flags()} says what an ONNX file of others takes: a bundle says it itself."
            )
        bundle, report = quantize(model, output, **shared, name=name, again=again)
        return report, bundle.path
