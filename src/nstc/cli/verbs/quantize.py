"""nstc quantize."""

from pathlib import Path
from typing import Annotated, Any

import typer

import nstc
from nstc.cli import options
from nstc.cli.options import Given, Placed, flag, with_flags
from nstc.cli.output import Bar, say, say_json
from nstc.core.errors import NoGainError, OptionError
from nstc.core.recipe import QuantizeRecipe, load_recipe


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
    again: bool = flag(False, "Replace a file that the bundle holds already."),
    allow_slower: bool = flag(False, "Exit 0 even if the file gives nothing over float."),
    json_output: bool = flag(False, "Print the report as JSON instead of text.", "--json"),
) -> None:
    """Make a file of fewer bits: faster, or smaller alone.

    A file that gives nothing over the float one is written and said to be so, and ends with an
    error, unless --allow-slower. An ONNX file made by others is quantized to an ONNX file.
    """
    from nstc.compress.learning.photo_sets import photos_of
    from nstc.compress.quantization.foreign_models import is_foreign, quantize_file

    settings, form = given.over(load_recipe(recipe).quantize), flags.form
    made = output
    with Bar() as bar:
        shared: Any = {"photos": photos_of(photos or []), "recipe": settings, "progress": bar}
        if is_foreign(model):
            report = quantize_file(Path(model), output, **shared, **form.keywords())
        elif form.keywords():
            raise OptionError(
                f"{form.flags()} says what an ONNX file of others takes: a bundle says it itself."
            )
        else:
            bundle, report = nstc.quantize(model, output, **shared, name=name, again=again)
            made = bundle.path
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
