"""nstc distill."""

from typing import Annotated

import typer

from nstc.cli import options


def distill(
    teacher: Annotated[
        str,
        typer.Argument(help="Bundle, zoo name, checkpoint, or ONNX or TorchScript file."),
    ],
    output: options.Output,
    photos: options.PhotoSets = None,
    recipe: options.Recipe = None,
    name: options.Name = None,
    student: Annotated[
        str | None,
        typer.Option("--student", help="Family: separable or plain.", show_default="separable"),
    ] = None,
    width: Annotated[
        int | None, typer.Option("--width", help="Channels of the trunk.", show_default="64")
    ] = None,
    blocks: Annotated[
        int | None, typer.Option("--blocks", help="Residual blocks.", show_default="6")
    ] = None,
    pixel_steps: Annotated[
        int | None,
        typer.Option("--pixel-steps", help="On pixels alone.", show_default="3000"),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", help="With VGG features and Gram.", show_default="2500"),
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", help="Side of the crops in px.", show_default="256")
    ] = None,
    perceptual_size: Annotated[
        int | None,
        typer.Option(
            "--perceptual-size", help="Side of the part VGG looks at.", show_default="--size"
        ),
    ] = None,
    crops: Annotated[
        int | None, typer.Option("--crops", help="Crops of each photograph.", show_default="1")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", help="Crops a step.", show_default="4")
    ] = None,
    perceptual_batch: Annotated[
        int | None,
        typer.Option(
            "--perceptual-batch", help="Crops a step that VGG looks at.", show_default="1"
        ),
    ] = None,
    init: Annotated[
        str | None, typer.Option("--init", help="Bundle of a student to start from.")
    ] = None,
    style: options.Style = None,
    credit: options.Credit = None,
    layout: options.Layout = None,
    value_range: options.ValueRange = None,
    size_multiple: options.SizeMultiple = None,
    trust: options.Trust = False,
    vgg: options.Vgg = "shipped",
    seed: options.Seed = None,
    resume: options.Resume = False,
) -> None:
    """Teach a small network to paint what a full-size one paints."""
    from nstc.cli.progress import Bar
    from nstc.compress.distillation import distill as run
    from nstc.compress.photo_sets import photos_of
    from nstc.compress.teachers import TeacherOptions
    from nstc.core.recipe import load_recipe, override

    settings = override(
        load_recipe(recipe).distill,
        student=student,
        width=width,
        blocks=blocks,
        pixel_steps=pixel_steps,
        steps=steps,
        size=size,
        perceptual_size=perceptual_size,
        crops=crops,
        batch=batch,
        perceptual_batch=perceptual_batch,
        seed=seed,
    )
    with Bar() as bar:
        bundle = run(
            teacher,
            output,
            photos=photos_of(photos or []),
            recipe=settings,
            name=name,
            init=init,
            style=style,
            credit=credit,
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
