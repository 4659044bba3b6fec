"""nstc prune."""

from typing import Annotated

import typer

from nstc.cli import options
from nstc.cli.output import say
from nstc.core.graph_form import GraphForm


@options.with_graph_flags
def prune(
    model: Annotated[str, typer.Argument(help="Bundle or zoo name to prune.")],
    output: options.Output,
    ratio: Annotated[
        float | None,
        typer.Option("--ratio", help="Share of the channels to remove.", show_default="0.25"),
    ] = None,
    speedup: Annotated[
        float | None,
        typer.Option("--speedup", help="Instead: times fewer multiply-accumulates."),
    ] = None,
    target_macs: Annotated[
        str | None,
        typer.Option(
            "--target-macs", help="Instead: multiply-accumulates at 512x512, 400M or 10G."
        ),
    ] = None,
    target_latency: Annotated[
        str | None,
        typer.Option(
            "--target-latency",
            help="Instead: time of the float graph at 512x512, 8ms@cpu:1, measured.",
        ),
    ] = None,
    importance: Annotated[
        str | None,
        typer.Option(
            "--importance",
            help="What goes first: magnitude, group-norm, taylor or activation.",
            show_default="group-norm",
        ),
    ] = None,
    distribution: Annotated[
        str | None,
        typer.Option(
            "--distribution",
            help="What each layer loses: uniform, global or sensitivity.",
            show_default="uniform",
        ),
    ] = None,
    drop_blocks: Annotated[
        str | None,
        typer.Option(
            "--drop-blocks",
            help="Whole residual blocks to drop first, or auto: those cheaper than channels.",
            show_default="0",
        ),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option("--iterations", help="Turns, with fine-tuning after each.", show_default="1"),
    ] = None,
    round_to: Annotated[
        str | None,
        typer.Option(
            "--round-to",
            help="Widths are multiples of it; auto measures which are fastest.",
            show_default="8",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", help="Of fine-tuning, in all; 0 for none.", show_default="500"),
    ] = None,
    photos: options.PhotoSets = None,
    recipe: options.Recipe = None,
    teacher: options.Teacher = None,
    name: options.Name = None,
    form: GraphForm = options.NO_FORM,
    trust: options.Trust = False,
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
    key: options.Key = None,
    vgg: options.Vgg = "shipped",
    seed: options.Seed = None,
    from_float: Annotated[
        bool,
        typer.Option(
            "--from-float",
            help="Prune the float weights of a quantized bundle; its int8 file is left behind.",
        ),
    ] = False,
    resume: options.Resume = False,
) -> None:
    """Remove channels and blocks, then fine-tune by distillation."""
    from nstc.cli.progress import Bar
    from nstc.compress.optimisation import note_what_is_resumed
    from nstc.compress.photo_sets import photos_of
    from nstc.compress.pruning import prune as run
    from nstc.compress.teachers import TeacherOptions
    from nstc.core.recipe import load_recipe, override

    settings = load_recipe(recipe)
    with Bar() as bar:
        if resume:
            note_what_is_resumed(output, bar)
        bundle = run(
            model,
            output,
            photos=photos_of(photos or []),
            recipe=override(
                settings.prune,
                ratio=ratio,
                speedup=speedup,
                target_macs=target_macs,
                target_latency=target_latency,
                importance=importance,
                distribution=distribution,
                drop_blocks=options.number_or_word(drop_blocks),
                iterations=iterations,
                round_to=options.number_or_word(round_to),
                steps=steps,
                seed=seed,
            ),
            distillation=settings.distill,
            teacher=teacher,
            name=name,
            options=TeacherOptions(**form.told(), trust=trust, key=key),
            vgg=vgg,
            from_float=from_float,
            resume=resume,
            progress=bar,
        )
    say(f"wrote {bundle.path}")
