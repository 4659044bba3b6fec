"""nstc quantize."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nstc.cli import options
from nstc.cli.output import say, say_json
from nstc.core.errors import NoGainError, OptionError
from nstc.core.graph_form import GraphForm


@options.with_graph_flags
def quantize(
    model: Annotated[str, typer.Argument(help="Bundle, zoo name or ONNX file to quantize.")],
    output: options.Output,
    mode: Annotated[
        str | None,
        typer.Option("--mode", help="static, dynamic, weights or fp16.", show_default="static"),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option("--bits", help="Of weights, in mode weights: 8 or 4.", show_default="8"),
    ] = None,
    photos: options.PhotoSets = None,
    calibration_photos: Annotated[
        int | None,
        typer.Option("--calibration-photos", help="How many to calibrate on.", show_default="24"),
    ] = None,
    calibration_size: Annotated[
        int | None,
        typer.Option("--calibration-size", help="Their side in px.", show_default="512"),
    ] = None,
    calibrator: Annotated[
        str | None,
        typer.Option(
            "--calibrator",
            help="How activations' ranges are chosen: min-max, percentile or mse.",
            show_default="percentile",
        ),
    ] = None,
    percentile: Annotated[
        float | None,
        typer.Option(
            "--percentile",
            help="Of an activation's values, how many its bytes hold; the rest saturates.",
            show_default="99.99",
        ),
    ] = None,
    per_channel: Annotated[
        bool | None,
        typer.Option(
            "--per-channel/--per-tensor",
            help="A scale for each filter of a layer, or one for all.",
            show_default="per-channel",
        ),
    ] = None,
    rounding: Annotated[
        str | None,
        typer.Option(
            "--rounding",
            help="Of weights: nearest, or adaptive, by what it does to photographs.",
            show_default="nearest",
        ),
    ] = None,
    quality_budget: Annotated[
        float | None,
        typer.Option(
            "--quality-budget",
            metavar="DB",
            help="Least PSNR to the float network; layers stay float until it is reached.",
            show_default=False,
        ),
    ] = None,
    recalibrate: Annotated[
        bool | None,
        typer.Option(
            "--recalibrate",
            help="Calibrate a student that was distilled quantize-aware as any other.",
            show_default="learned ranges, if there are",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            help="Side in px of the picture that the file is measured on.",
            show_default="512",
        ),
    ] = None,
    recipe: options.Recipe = None,
    name: options.Name = None,
    form: GraphForm = options.NO_FORM,
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
    again: Annotated[
        bool,
        typer.Option("--again", help="Replace a file that the bundle holds already."),
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
    from nstc.cli.progress import Bar
    from nstc.compress.foreign_quantization import is_foreign, quantize_file
    from nstc.compress.photo_sets import photos_of
    from nstc.compress.quantization import quantize as run
    from nstc.core.recipe import load_recipe, override

    settings = override(
        load_recipe(recipe).quantize,
        mode=mode,
        bits=bits,
        calibration_photos=calibration_photos,
        calibration_size=calibration_size,
        calibrator=calibrator,
        percentile=percentile,
        per_channel=per_channel,
        rounding=rounding,
        quality_budget=quality_budget,
        recalibrate=recalibrate,
        size=size,
    )
    with Bar() as bar:
        shared: dict[str, Any] = {"photos": photos_of(photos or []), "recipe": settings}
        if is_foreign(model):
            made = output
            report = quantize_file(Path(model), output, **shared, **form.told(), progress=bar)
        else:
            _refuse_probing(form)
            bundle, report = run(model, output, **shared, name=name, again=again, progress=bar)
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


def _refuse_probing(form: GraphForm) -> None:
    if form.told():
        raise OptionError(
            f"{form.flags()} says what an ONNX file of others takes: a bundle says it itself."
        )
