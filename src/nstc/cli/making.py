"""The verbs that make models: compress, train, import, distill, prune, quantize and export."""

from pathlib import Path
from typing import Annotated, Any

import typer

import nstc
from nstc.cli import options
from nstc.cli.options import Given, Placed, flag, with_flags
from nstc.cli.output import Bar, print_result, say, say_json
from nstc.core.errors import NoGainError, OptionError
from nstc.core.recipe import (
    DistillRecipe,
    PruneRecipe,
    QuantizeRecipe,
    TrainRecipe,
    load_recipe,
)


@with_flags
def compress(
    teacher: Annotated[str, typer.Argument(help="Bundle, zoo name, checkpoint or ONNX file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the stages' bundles and results.")
    ],
    *,
    preset: str = flag("full", "quick: minutes. full: some hours. restyle: from --init."),
    recipe: options.Recipe = None,
    photos: options.PhotoSets = None,
    name: options.Name = None,
    init: options.Init = None,
    style: options.Style = None,
    credit: options.Credit = None,
    foreign: options.BundledTeacherFlags,
    seed: int | None = flag(None, "Of all randomness.", shown="0"),
    budget: str | None = flag(
        None,
        "What the result must keep to, or the command fails: "
        '"style_ratio<=1.1, speedup>=50, bytes<=100KB".',
        metavar="LIMITS",
    ),
    json_output: bool = flag(False, "Print the results as JSON instead of a table.", "--json"),
) -> None:
    """Distill, prune, quantize, export and measure in one go. Run again to go on after a stop."""
    from nstc.benchmarks.gate.limits import parse_budget
    from nstc.compress.pipeline import NO_BUDGET
    from nstc.compress.pipeline import preset as preset_recipe
    from nstc.core.recipe import load_recipe, with_seed

    limits = NO_BUDGET if budget is None else parse_budget(budget)
    settings = load_recipe(recipe) if recipe else preset_recipe(preset)
    with Bar() as bar:
        made = nstc.compress_model(
            teacher,
            output,
            recipe=settings if seed is None else with_seed(settings, seed),
            photos=photos or [],
            name=name,
            init=init,
            style=style,
            credit=credit,
            options=foreign.options(),
            vgg=foreign.vgg,
            budget=limits,
            progress=bar,
        )
    if json_output:
        say_json(made.result.to_dict())
        return
    print_result(made.result, costs=False)
    say(f"the compressed model: {made.bundle.path}")
    say(f"side by side:         {made.comparison}")


@with_flags
def train(
    style: Annotated[Path, typer.Option(help="The painting to learn.")],
    output: options.Output,
    *,
    photos: options.PhotoSets = None,
    preset: str | None = flag(None, "draft: minutes. good: an hour. best: half a day."),
    recipe: options.Recipe = None,
    name: options.Name = None,
    credit: options.Credit = None,
    init: str | None = flag(None, "Bundle of a full-size network to start from."),
    given: Given[TrainRecipe],
    vgg: options.Vgg = "shipped",
    _seed: Placed = None,
    resume: options.Resume = False,
) -> None:
    """Train a full-size network from a painting and photographs."""
    from nstc.compress.learning.loop import note_what_is_resumed
    from nstc.compress.learning.photo_sets import photos_of
    from nstc.compress.learning.processes import leads_here
    from nstc.core.recipe.recipe_files import train_preset

    if preset is not None and recipe is not None:
        raise OptionError("--preset and --recipe were both given: choose one.")
    start = load_recipe(recipe) if preset is None else train_preset(preset)
    settings = given.over(start.train)
    with Bar() as bar:
        if resume and leads_here():
            note_what_is_resumed(output, bar)
        bundle = nstc.train(
            style,
            photos_of(photos or []),
            output,
            recipe=settings,
            name=name,
            credit=credit,
            init=init,
            vgg=vgg,
            resume=resume,
            progress=bar,
        )
    if leads_here():
        say(f"wrote {bundle.path}; previews are in {output}.training/previews")


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


@with_flags
def distill(
    teacher: Annotated[
        str, typer.Argument(help="Bundle, zoo name, checkpoint, or ONNX or TorchScript file.")
    ],
    output: options.Output,
    *,
    photos: options.PhotoSets = None,
    recipe: options.Recipe = None,
    name: options.Name = None,
    given: Given[DistillRecipe],
    init: options.Init = None,
    style: options.Style = None,
    credit: options.Credit = None,
    foreign: options.TeacherFlags,
    _seed: Placed = None,
    resume: options.Resume = False,
) -> None:
    """Teach a small network to paint what a full-size one paints."""
    from nstc.compress.learning.loop import note_what_is_resumed
    from nstc.compress.learning.photo_sets import photos_of

    settings = given.over(load_recipe(recipe).distill)
    with Bar() as bar:
        if resume:
            note_what_is_resumed(output, bar)
        bundle = nstc.distill(
            teacher,
            output,
            photos=photos_of(photos or []),
            recipe=settings,
            name=name,
            init=init,
            style=style,
            credit=credit,
            options=foreign.options(),
            vgg=foreign.vgg,
            resume=resume,
            progress=bar,
        )
    say(f"wrote {bundle.path}")


@with_flags
def prune(
    model: Annotated[str, typer.Argument(help="Bundle or zoo name to prune.")],
    output: options.Output,
    *,
    given: Given[PruneRecipe],
    photos: options.PhotoSets = None,
    recipe: options.Recipe = None,
    teacher: options.Teacher = None,
    name: options.Name = None,
    foreign: options.TeacherFlags,
    _seed: Placed = None,
    from_float: bool = flag(
        False, "Prune the float weights of a quantized bundle; its int8 file is left behind."
    ),
    resume: options.Resume = False,
) -> None:
    """Remove channels and blocks, then fine-tune by distillation."""
    from nstc.compress.learning.loop import note_what_is_resumed
    from nstc.compress.learning.photo_sets import photos_of

    settings = load_recipe(recipe)
    with Bar() as bar:
        if resume:
            note_what_is_resumed(output, bar)
        bundle = nstc.prune(
            model,
            output,
            photos=photos_of(photos or []),
            recipe=given.over(settings.prune),
            distillation=settings.distill,
            teacher=teacher,
            name=name,
            options=foreign.options(),
            vgg=foreign.vgg,
            from_float=from_float,
            resume=resume,
            progress=bar,
        )
    say(f"wrote {bundle.path}")


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
            report = quantize_file(Path(model), output, **shared, **form.told())
        elif form.told():
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


@with_flags
def export(
    model: Annotated[str, typer.Argument(help="Bundle or zoo name to export.")],
    formats: str = flag(
        "onnx,torchscript",
        "Some of onnx, torchscript, executorch, executorch-int8, ort, tiles, with commas "
        "between; or folder, which a board runs by itself.",
        "--format",
    ),
    output: Path | None = flag(
        None, "Folder for the files. Default: into the bundle.", "--output", "-o", shown=False
    ),
    static: str | None = flag(
        None,
        "Fix ONNX files, int8 too, to one size, which phone delegates want: 512x512.",
        metavar="HEIGHTxWIDTH",
    ),
    photos: options.Photos = None,
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
) -> None:
    """Write files that run elsewhere, each compared with the network.

    That is model.onnx, model.ts, model.pte, or model.int8.pte, which photographs calibrate.
    ort is ONNX Runtime's own format: model.ort, and model.int8.ort of a quantized bundle. tiles is
    model.int8.tiles.onnx, which stylize --max-ram runs on pictures that don't fit.
    """
    from nstc.compress.export.export_model import parse_size

    with Bar() as bar:
        written = nstc.export(
            model,
            formats=[name.strip() for name in formats.split(",")],
            output=output,
            static=None if static is None else parse_size(static),
            photos=nstc.photos_in(photos or []),
            progress=bar,
        )
    for path in written:
        say(f"wrote {path}")
