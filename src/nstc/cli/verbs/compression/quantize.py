"""nstc quantize."""

from typing import Annotated, Any

import typer

import nstc
from nstc.cli import options
from nstc.cli.output import Bar, say, say_json
from nstc.core.errors import NoGainError, OptionError
from nstc.core.model_names import local_path, shown_name
from nstc.core.recipe import QuantizeRecipe, load_recipe


@options.with_flags
def quantize(
    model: Annotated[str, typer.Argument(help="Bundle, zoo name or ONNX file to quantize.")],
    output: options.Output,
    *,
    _mode: options.Placed = None,
    _bits: options.Placed = None,
    photos: options.PhotoSets = None,
    given: options.Given[QuantizeRecipe],
    recipe: options.Recipe = None,
    name: options.Name = None,
    flags: options.FormFlags,
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
    again: bool = options.flag(False, "Replace a quantized file that the bundle already has."),
    allow_slower: bool = options.flag(
        False, "Exit 0 even if the file is neither faster nor smaller than float."
    ),
    json_output: bool = options.flag(False, "Print the report as JSON instead of text.", "--json"),
) -> None:
    """Write a file of fewer bits: int8 is faster, weights alone are smaller.

    A file that is neither faster nor smaller than the float one is written too, but ends with an
    error unless --allow-slower is given. An ONNX file made by others becomes an ONNX file.
    """
    from nstc.compress.learning.photo_sets import photos_of
    from nstc.compress.quantization.foreign_models import is_foreign, quantize_file

    settings, form = given.over(load_recipe(recipe).quantize), flags.form
    made, path = output, local_path(model)
    with Bar() as bar:
        shared: Any = {"photos": photos_of(photos or []), "recipe": settings, "progress": bar}
        if is_foreign(path):
            report = quantize_file(path, output, **shared, **form.keywords())
        elif form.keywords():
            raise OptionError(
                f"{form.flags()} describes an ONNX file made by others, and "
                f"{shown_name(model)} is a bundle: leave it out."
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
            f"{report.complaint}: it was written all the same. Give --allow-slower to accept it."
        )
