"""nstc distill."""

from typing import Annotated

import typer

from nstc.cli import options
from nstc.cli.output import say
from nstc.core.graph_form import GraphForm


@options.with_graph_flags
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
        typer.Option(
            "--student",
            help="Size: nano, tiny, small. Or kind of blocks: separable, plain.",
            show_default="separable",
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option("--width", help="Channels of the trunk.", show_default="64, or the size's"),
    ] = None,
    blocks: Annotated[
        int | None,
        typer.Option("--blocks", help="Residual blocks.", show_default="6, or the size's"),
    ] = None,
    inner: Annotated[
        int | None,
        typer.Option("--inner", help="Channels inside a block.", show_default="usual for its kind"),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option("--scale", help="Trunk at 1/4 or 1/8 of the size.", show_default="4"),
    ] = None,
    norm: Annotated[
        str | None,
        typer.Option(
            "--norm", help="none, or instance: global and slow in int8.", show_default="none"
        ),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(
            "--head",
            help="Of the layer to pixels: plain, or separable for 1/8 of its cost.",
            show_default="plain, or the size's",
        ),
    ] = None,
    pixel_steps: Annotated[
        int | None,
        typer.Option("--pixel-steps", help="On pixels alone.", show_default="3000"),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", help="On style, content and steadiness too.", show_default="2500"),
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
    pixel_weight: Annotated[
        float | None,
        typer.Option(
            "--pixel-weight",
            help="On the pixels' difference to the teacher's picture.",
            show_default="0.5",
        ),
    ] = None,
    style_weight: Annotated[
        float | None,
        typer.Option(
            "--style-weight", help="On the style loss against the painting.", show_default="2.8"
        ),
    ] = None,
    content_weight: Annotated[
        float | None,
        typer.Option(
            "--content-weight",
            help="On the content loss against the photograph.",
            show_default="2.4",
        ),
    ] = None,
    checkerboard_weight: Annotated[
        float | None,
        typer.Option(
            "--checkerboard-weight",
            help="Against a grid.",
            show_default="0.05",
        ),
    ] = None,
    steadiness_weight: Annotated[
        float | None,
        typer.Option(
            "--steadiness-weight",
            help="Against flicker and frames.",
            show_default="1.5",
        ),
    ] = None,
    balance: Annotated[
        bool | None,
        typer.Option(
            "--balance/--no-balance",
            help="Correct the weights of style, content and steadiness so that all three come "
            "equally near to their goals.",
            show_default="yes",
        ),
    ] = None,
    style_goal: Annotated[
        float | None,
        typer.Option("--style-goal", help="The style ratio to reach.", show_default="1.15"),
    ] = None,
    content_goal: Annotated[
        float | None,
        typer.Option("--content-goal", help="The content ratio to reach.", show_default="1.1"),
    ] = None,
    flicker_goal: Annotated[
        float | None,
        typer.Option("--flicker-goal", help="The flicker ratio to reach.", show_default="1"),
    ] = None,
    quantize_aware: Annotated[
        bool | None,
        typer.Option(
            "--quantize-aware",
            help="Round in the second stage as the int8 file will; with --init that stage alone.",
            show_default="no",
        ),
    ] = None,
    float_share: Annotated[
        float | None,
        typer.Option(
            "--float-share",
            help="With --quantize-aware, the share of its steps before it rounds.",
            show_default="0",
        ),
    ] = None,
    init: Annotated[
        str | None, typer.Option("--init", help="Bundle of a student to start from.")
    ] = None,
    style: options.Style = None,
    credit: options.Credit = None,
    form: GraphForm = options.NO_FORM,
    trust: options.Trust = False,
    _max_ram: options.TrialRam = None,
    _timeout: options.TrialTime = None,
    key: options.Key = None,
    vgg: options.Vgg = "shipped",
    seed: options.Seed = None,
    resume: options.Resume = False,
) -> None:
    """Teach a small network to paint what a full-size one paints."""
    from nstc.cli.progress import Bar
    from nstc.compress.distillation import distill as run
    from nstc.compress.optimisation import note_what_is_resumed
    from nstc.compress.photo_sets import photos_of
    from nstc.compress.teachers import TeacherOptions
    from nstc.core.recipe import load_recipe, override

    settings = override(
        load_recipe(recipe).distill,
        student=student,
        width=width,
        blocks=blocks,
        inner=inner,
        scale=scale,
        norm=norm,
        head=head,
        pixel_steps=pixel_steps,
        steps=steps,
        size=size,
        perceptual_size=perceptual_size,
        crops=crops,
        batch=batch,
        perceptual_batch=perceptual_batch,
        pixel_weight=pixel_weight,
        style_weight=style_weight,
        content_weight=content_weight,
        checkerboard_weight=checkerboard_weight,
        steadiness_weight=steadiness_weight,
        balance=balance,
        style_goal=style_goal,
        content_goal=content_goal,
        flicker_goal=flicker_goal,
        quantize_aware=quantize_aware,
        float_share=float_share,
        seed=seed,
    )
    with Bar() as bar:
        if resume:
            note_what_is_resumed(output, bar)
        bundle = run(
            teacher,
            output,
            photos=photos_of(photos or []),
            recipe=settings,
            name=name,
            init=init,
            style=style,
            credit=credit,
            options=TeacherOptions(**form.told(), trust=trust, key=key),
            vgg=vgg,
            resume=resume,
            progress=bar,
        )
    say(f"wrote {bundle.path}")
