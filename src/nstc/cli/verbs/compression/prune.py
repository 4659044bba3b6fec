"""nstc prune."""

import dataclasses
from typing import Annotated, Any

import typer

import nstc
from nstc.cli import options
from nstc.cli.output import Bar, say
from nstc.core.recipe import PruneRecipe, load_recipe
from nstc.core.recipe.recipes import GOALS


@options.with_flags
def prune(
    model: Annotated[str, typer.Argument(help="Bundle or zoo name to prune.")],
    output: options.Output,
    *,
    given: options.Given[PruneRecipe],
    photos: options.PhotoSets = None,
    recipe: options.Recipe = None,
    teacher: options.Teacher = None,
    name: options.Name = None,
    style: options.Style = None,
    foreign: options.TeacherFlags,
    _seed: options.Placed = None,
    from_float: bool = options.flag(
        False, "Prune the float weights of a quantized bundle; the result has no int8 file."
    ),
    resume: options.Resume = False,
) -> None:
    """Remove channels and blocks, then fine-tune by distillation."""
    from nstc.compress.learning.loop import CHECKPOINT_FILE, PLAN_FILE, note_what_is_resumed
    from nstc.compress.learning.photo_sets import photos_of

    settings = load_recipe(recipe)
    pruning = settings.prune
    if any(given.values[goal] is not None for goal in GOALS):  # which takes the recipe's place
        no_goal: dict[str, Any] = dict.fromkeys(GOALS)
        pruning = dataclasses.replace(pruning, **no_goal)
    with Bar() as bar:
        if resume:
            note_what_is_resumed(output, bar, (CHECKPOINT_FILE, PLAN_FILE))
        bundle = nstc.prune(
            model,
            output,
            photos=photos_of(photos or []),
            recipe=given.over(pruning),
            distillation=settings.distill,
            teacher=teacher,
            name=name,
            style=style,
            options=foreign.options(),
            vgg=foreign.vgg,
            from_float=from_float,
            resume=resume,
            progress=bar,
        )
    say(f"wrote {bundle.path}")
