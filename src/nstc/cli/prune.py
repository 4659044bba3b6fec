"""nstc prune."""

from typing import Annotated

import typer

from nstc.cli import options


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
    round_to: Annotated[
        int | None,
        typer.Option("--round-to", help="Widths are multiples of it.", show_default="8"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Of fine-tuning.", show_default="500")
    ] = None,
    photos: options.PhotoSets = None,
    recipe: options.Recipe = None,
    teacher: options.Teacher = None,
    name: options.Name = None,
    layout: options.Layout = None,
    value_range: options.ValueRange = None,
    size_multiple: options.SizeMultiple = None,
    trust: options.Trust = False,
    vgg: options.Vgg = "shipped",
    seed: options.Seed = None,
    resume: options.Resume = False,
) -> None:
    """Remove whole channels, then fine-tune by distillation."""
    from nstc.cli.progress import Bar
    from nstc.compress.photo_sets import photos_of
    from nstc.compress.pruning import prune as run
    from nstc.compress.teachers import TeacherOptions
    from nstc.core.recipe import load_recipe, override

    settings = load_recipe(recipe)
    with Bar() as bar:
        bundle = run(
            model,
            output,
            photos=photos_of(photos or []),
            recipe=override(
                settings.prune,
                ratio=ratio,
                speedup=speedup,
                round_to=round_to,
                steps=steps,
                seed=seed,
            ),
            distillation=settings.distill,
            teacher=teacher,
            name=name,
            options=TeacherOptions(
                layout=layout,
                value_range=value_range,
                size_multiple=size_multiple,
                trust=trust,
            ),
            vgg=vgg,
            resume=resume,
            progress=bar,
        )
    typer.echo(f"wrote {bundle.path}")
